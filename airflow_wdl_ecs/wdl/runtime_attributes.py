"""A task's evaluated ``requirements``, ``hints`` and ``runtime`` attributes, and what ``task`` says of them.

Attributes are merged in this order, the later over the earlier: hints, the ``requirements`` or ``runtime`` section,
the run's overrides. An attribute keeps the name that it is written with; an override also replaces the attribute's
other name (``docker`` is ``container``, ``maxRetries`` is ``max_retries``, ``returnCodes`` is ``return_codes``).
The hints ``gpu``, ``fpga`` and ``disks`` only describe the requirements of these names and are left out, but for a
number of GPUs, which is ``gpuCount`` where the requirement asks for any.

What an attribute means to ECS is decided elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..errors import EvaluationError
from .stdlib import bytes_in
from .values import JSON

_OTHER_NAME = {
    first: second
    for pair in (("docker", "container"), ("maxRetries", "max_retries"), ("returnCodes", "return_codes"))
    for first, second in (pair, pair[::-1])
}
_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([A-Za-z]*)\s*")
_DEFAULT_MEMORY = 2 * 1024**3
_DEFAULT_DISK = 1024**3


def merged(
    hints: Mapping[str, JSON], requirements: Mapping[str, JSON], overrides: Mapping[str, JSON]
) -> dict[str, JSON]:
    """The attributes as one mapping; see the module's text."""
    kept = {name: value for name, value in hints.items() if name not in ("gpu", "fpga", "disks")}
    found = {**kept, **requirements, **overrides}
    count = hints.get("gpu")
    if found.get("gpu") is True and isinstance(count, int) and count is not True:
        found.setdefault("gpuCount", count)
    return found


def is_overridden(name: str, overrides: Mapping[str, JSON]) -> bool:
    """Whether an attribute gets its value from the run, under its own or its other name."""
    return name in overrides or _OTHER_NAME.get(name) in overrides


def images(runtime: Mapping[str, JSON]) -> tuple[str, ...]:
    """The container images that the task accepts, best first: ``container``, or ``docker``, a string or an array.

    ``*`` (any environment) names no image, and the scheme ``docker://`` is dropped.
    """
    found = runtime.get("container") or runtime.get("docker") or []
    names = found if isinstance(found, list) else [found]
    return tuple(str(name).removeprefix("docker://") for name in names if name not in ("*", "", None))


def byte_size(value: JSON, default_unit: str = "B") -> int:
    """Bytes in a quantity such as ``2 GiB`` or 1024.

    :raises EvaluationError: if it is not one.
    """
    matched = _SIZE.fullmatch(str(value))
    if matched is None:
        raise EvaluationError(f"{value!r} is not an amount of storage", hint="Write it like '4 GiB'.")
    return int(float(matched.group(1)) * bytes_in(matched.group(2) or default_unit))


def task_variable(runtime: Mapping[str, JSON]) -> dict[str, Any]:
    """The members of ``task`` that come from the attributes; what was not asked for has the specification's default.

    See "Runtime Access to Requirements, Hints, and Metadata": the requested value stands for the actual one.
    """
    chosen = images(runtime)
    gpus = runtime.get("gpuCount") or (1 if runtime.get("gpu") is True else 0)
    return {
        "container": chosen[0] if chosen else None,
        "cpu": float(runtime.get("cpu") or 1),
        "memory": byte_size(runtime.get("memory") or _DEFAULT_MEMORY),
        "gpu": ["gpu"] * int(gpus),
        "fpga": [],
        "disks": _disks(runtime.get("disks")),
        "end_time": None,
    }


def _disks(value: JSON) -> dict[str, int]:
    """Mount point -> bytes; the execution directory's own disk is ``/``."""
    found: dict[str, int] = {}
    for text in value if isinstance(value, list) else [value]:
        if text is None:
            found["/"] = _DEFAULT_DISK
            continue
        # "local-disk 10 SSD" is how Cromwell writes it: a name for the working disk and, last, its kind
        words = [word for word in str(text).replace(",", " ").split() if word.upper() not in ("SSD", "HDD", "LOCAL")]
        mount = words.pop(0) if words and words[0].startswith("/") else "/"
        if words and words[0] == "local-disk":
            words.pop(0)
        found[mount] = found.get(mount, 0) + (byte_size(" ".join(words), "GiB") if words else _DEFAULT_DISK)
    return found
