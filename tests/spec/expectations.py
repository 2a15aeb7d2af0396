"""What is known of the examples that do not pass: ``expectations.json`` beside this file.

An example that is not listed passes. The record says exactly where a listed one fails (the stage, or the outputs that
differ), so that it is noticed when it begins to fail elsewhere, or begins to pass.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from .examples import Example

FILE = Path(__file__).with_name("expectations.json")

CAUSES: Mapping[str, str] = {
    "example": "the example contradicts the specification's text, its own data or itself",
    "parser": "miniwdl's parser or type checker does not accept what the specification allows",
    "design": "the provider does not do it, see its reason",
    "machine": "it needs what is not on the machine that runs the tests",
}
"""Why an example does not pass: key in the record -> in words."""


@dataclass(frozen=True)
class Expectation:
    """Why an example does not pass.

    :param cause: key of `CAUSES`; those of ``machine`` are not run.
    :param at: where it fails: ``compile``, ``inputs``, ``run``, ``success`` (it had to fail), ``exit code``, or the
        names of the outputs that differ.
    """

    cause: str
    reason: str
    at: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.cause not in CAUSES:
            raise ValueError(f"{self.cause!r} is none of {', '.join(CAUSES)}")
        if bool(self.at) == (self.cause == "machine"):
            raise ValueError("'at' says where an example fails; one that is not run has none, any other needs it")

    @property
    def runs(self) -> bool:
        """Whether the example is run."""
        return self.cause != "machine"


@dataclass(frozen=True)
class Expectations:
    """The record: version -> name of an example -> why it does not pass."""

    by_version: Mapping[str, Mapping[str, Expectation]]

    def of(self, example: Example) -> Expectation | None:
        """Why the example does not pass; None if it does."""
        return self.by_version.get(example.version, {}).get(example.name)

    def unknown(self, version: str, names: set[str]) -> set[str]:
        """The recorded names that are no example of the version."""
        return set(self.by_version.get(version, {})) - names


def read_expectations(path: Path = FILE) -> Expectations:
    """Read the record.

    :raises msgspec.ValidationError: if it is not of the form above.
    """
    return Expectations(msgspec.convert(json.loads(path.read_text()), dict[str, dict[str, Expectation]]))
