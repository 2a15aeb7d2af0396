"""The tags of a run's ECS tasks, by which AWS's bills can be divided: which a task gets, and which ECS takes (pure).

A task has four of this package's own, which say what it runs (`identity_tags`), and those that people give: the
deployment and the DAG in the setting ``tags``, a run when it is started. Of the same key the nearer counts: the run's
before the DAG's before the deployment's. Keys of this package and of AWS are refused: a bill must not name another
run than the one that has made it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ..task import CallIdentity

OWN_PREFIX = "wdl:"
"""What the keys of this package's own tags begin with."""

MOST_TAGS = 50
"""Tags of a resource (Amazon ECS API reference, "RunTask", for all of these limits)."""

LONGEST_KEY = 128
LONGEST_VALUE = 256
"""Characters of a key, and of a value."""

PERMITTED = "letters, digits, spaces and + - = . _ : / @"

_AWS = "aws:"
"""What neither a key nor a value may begin with, in whatever case."""
_OF_VOLUMES = ("AmazonECSCreated", "AmazonECSManaged")
"""Keys that ECS gives to EBS volumes itself."""
_OWN_TAGS = 4


def identity_tags(identity: CallIdentity) -> dict[str, str]:
    """This package's own tags of a task; what ECS does not take in them is replaced by ``_``, or cut off."""
    shard = ".".join(map(str, identity.shard)) or "-"
    own = {"dag": identity.dag_id, "run": identity.run_id, "call": identity.call, "shard": shard}
    return {f"{OWN_PREFIX}{name}": _taken(value) for name, value in own.items()}


def problems_of(tags: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with tags that a person gives, one line each; nothing if ECS takes them all."""
    for key, value in tags.items():
        yield from _problems_of(key, value)
    most = MOST_TAGS - _OWN_TAGS
    if len(tags) > most:
        yield f"there are {len(tags)} tags, and a task takes {most} beside the {_OWN_TAGS} of this package"


def _problems_of(key: str, value: str) -> Iterator[str]:
    name = f"tag {key[:40]!r}"
    if not key.strip():
        yield "a tag has no key"
    if len(key) > LONGEST_KEY:
        yield f"{name}: its key has {len(key)} characters, and a key has {LONGEST_KEY} at most"
    if len(value) > LONGEST_VALUE:
        yield f"{name}: its value has {len(value)} characters, and a value has {LONGEST_VALUE} at most"
    for what, text in (("key", key), ("value", value)):
        wrong = sorted(set(text) - set(_permitted(text)))
        if wrong:
            yield f"{name}: its {what} has {' '.join(map(repr, wrong[:5]))}; permitted are {PERMITTED}"
        if text.lower().startswith(_AWS):
            yield f"{name}: its {what} begins with {_AWS}, which is for AWS's own"
    if key.lower().startswith(OWN_PREFIX):
        yield f"{name}: keys that begin with {OWN_PREFIX} are this package's own"
    if key in _OF_VOLUMES:
        yield f"{name}: ECS gives this tag to EBS volumes itself"


def as_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags in ECS's own shape."""
    return [{"key": key, "value": value} for key, value in tags.items()]


def _taken(text: str) -> str:
    """A text as the value of a tag."""
    permitted = set(_permitted(text))
    taken = "".join(char if char in permitted else "_" for char in text)[:LONGEST_VALUE]
    return taken.replace(":", "_", 1) if taken.lower().startswith(_AWS) else taken


def _permitted(text: str) -> Iterable[str]:
    return (char for char in text if char.isalnum() or char in " +-=._:/@")
