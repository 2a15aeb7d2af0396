"""The intermediate files of a run: which they are, what keeps a file, and how the others are deleted.

A run leaves its outputs among the files that its calls have handed to each other, in the folders of their attempts.
What nobody names any more can go: neither the run's own outputs, nor the inputs or outputs of any other run of the
workspace (which may have been given one, or have taken it over instead of running a call again). The records stay, and
the logs that are no larger than logs are; so a report tells afterwards what it told before. Nothing outside of the
run's folder is touched. Neither Airflow nor ECS is known here; everything blocks.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from .aws import aws_errors, patient, side_by_side
from .errors import AwsError, SettingsError, WdlEcsError
from .layout import Layout, folders_above, name_of, split_uri
from .plan import Plan
from .storage import OUTPUTS, REOPENED, RunStore

CLEANED = "cleaned.json"
"""What a run's folder has once its intermediate files were deleted."""

LARGEST_LOG = 1024 * 1024
"""Bytes of a stdout or stderr that stays as a log; one that has more is data."""

AT_ONCE = 1000
"""Objects that one DeleteObjects takes (Amazon S3 API reference)."""

WRITTEN = "written by expressions"
FETCHED = "fetched from the web"
_FOLDERS = {"files/": WRITTEN, "web/": FETCHED}
"""Folders of a run that hold files which are no call's, and what they are called."""

_OF_SHARD = re.compile(r"[^/]+/[^/]+/outputs\.json")
_OF_ATTEMPT = re.compile(r"calls/([^/]+)/[^/]+/[0-9]+/(.+)", re.DOTALL)
"""Of an object's path in a run's folder: the call, and the path in the attempt's folder."""

AskState = Callable[[str, str], str | None]
"""DAG id, run id -> the state of the DAG run in Airflow's words; None if it cannot be known, or there is none."""

ENDED = frozenset({"success", "failed"})


@dataclass(frozen=True)
class Group:
    """The files of one call, or of one other kind: how many, and how many bytes."""

    name: str
    files: int
    bytes: int


@dataclass(frozen=True)
class Cleaning:
    """What is to be deleted of a run, or was.

    :param groups: what it is, call by call. :param kept: the files that somebody names, likewise counted.
    :param uris: of what is to be deleted.
    """

    folder: str
    groups: tuple[Group, ...]
    kept: Group
    uris: tuple[str, ...] = field(default=(), repr=False)

    @property
    def files(self) -> int:
        """How many files."""
        return sum(group.files for group in self.groups)

    @property
    def bytes(self) -> int:
        """How many bytes."""
        return sum(group.bytes for group in self.groups)

    def to_json(self) -> dict[str, Any]:
        """It for programs."""
        groups = [vars(group) for group in self.groups]
        return {"folder": self.folder, "files": self.files, "bytes": self.bytes, "kept": vars(self.kept), "of": groups}


def clean_run(
    s3: Any, layout: Layout, ask: AskState, *, dry_run: bool = False, failed: bool = False, ended: bool = False
) -> Cleaning:
    """Delete the intermediate files of a run that has ended.

    :param s3: a boto3 S3 client. :param dry_run: only say what would be deleted.
    :param failed: also if the run has failed, or has no outputs, or calls were run again since it had its outputs; it
        cannot be taken up any more where it has failed then.
    :param ended: take it from the caller that the run has ended, if Airflow cannot say.
    :raises WdlEcsError: if there is no such run, it may still run, it has failed, or something cannot be deleted.
    """
    store = RunStore(s3, layout)
    about = store.get_json(layout.named("run.json"))
    if not isinstance(about, dict):
        raise WdlEcsError(
            f"there is no run in {layout.folder}",
            hint="check DAG_ID/RUN_ID and the workspace; a run of an operator on its own is named by --task",
        )
    state = ask(layout.dag_id, layout.run_id)
    _check_ended(layout, state, ended=ended)
    outputs = store.get_json(layout.named(OUTPUTS))
    if outputs is None:
        outputs = _outputs_of_one_call(store, store.plan(str(about["plan"])))
        reopened = False  # a call that is run again has no outputs until it has succeeded
    else:
        reopened = store.exists(layout.named(REOPENED))
    if not failed and (outputs is None or reopened or state == "failed"):
        raise WdlEcsError(_why_failed(layout, outputs, reopened=reopened), hint=_AS_FAILED)
    found = intermediates(store, named_in(outputs) | named_elsewhere(s3, layout))
    if not dry_run:
        delete(s3, store, found)
    return found


_AS_FAILED = "with --failed it is cleaned all the same; then it has to start from its beginning"


def _why_failed(layout: Layout, outputs: Any, *, reopened: bool) -> str:
    """What to say of a run that counts as failed, so that its files are not deleted."""
    if outputs is None:
        why = "has no outputs: it has failed"
    elif reopened:
        why = "has outputs that are older than its calls: those were run again, and it has not ended since"
    else:
        why = "has failed, after it had its outputs"
    return f"run {layout.run_id} of {layout.dag_id} {why}, and can be taken up from what it has left"


def _outputs_of_one_call(store: RunStore, plan: Plan) -> Any:
    """The outputs of an operator on its own, which are those of its call; None if it has none, or is no such run."""
    if len(plan.calls) != 1 or len(plan.sections) != 1:
        return None
    return store.get_json(f"{store.layout.shard(plan.calls[0].id, ())}outputs.json")


def clean_finished(s3: Any, store: RunStore, outputs: Any) -> Cleaning:
    """Delete the intermediate files of a run whose outputs have just been evaluated, by whoever has done that.

    :raises WdlEcsError: if something cannot be deleted.
    """
    found = intermediates(store, named_in(outputs) | named_elsewhere(s3, store.layout))
    delete(s3, store, found)
    return found


def _check_ended(layout: Layout, state: str | None, *, ended: bool) -> None:
    who = f"run {layout.run_id} of {layout.dag_id}"
    if state is None and not ended:
        raise WdlEcsError(
            f"it is not known whether {who} has ended: Airflow knows no such run, or cannot be asked",
            hint="clean it where Airflow's database can be read, or say by --ended that nobody runs it any more",
        )
    if state is not None and state not in ENDED:
        raise WdlEcsError(f"{who} has not ended: it is {state}", hint="wait for its end, or stop it first")


def named_in(value: Any) -> set[str]:
    """Every URI in a JSON value."""
    return {text for text in _texts(value) if text.startswith("s3://")}


def intermediates(store: RunStore, named: Collection[str]) -> Cleaning:
    """The files of a run that are no records of it, and that nobody names.

    :param named: URIs of files, each of which is kept, and of folders, all of whose files are kept.
    """
    folder = store.layout.folder
    folders = {f"{uri.rstrip('/')}/" for uri in named}
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    uris: list[str] = []
    kept = kept_bytes = 0
    for uri, size in _candidates(store, folder):
        group = _group(uri[len(folder) :], size)
        if group is None:
            continue
        if uri in named or any(above in folders for above in folders_above(uri)):
            kept, kept_bytes = kept + 1, kept_bytes + size
            continue
        counts[group] += 1
        sizes[group] += size
        uris.append(uri)
    groups = tuple(Group(name, counts[name], sizes[name]) for name in counts)
    return Cleaning(folder, groups, Group("kept", kept, kept_bytes), tuple(uris))


def _candidates(store: RunStore, folder: str) -> Iterator[tuple[str, int]]:
    for part in ("calls/", *_FOLDERS):
        yield from store.list(f"{folder}{part}")


def _group(path: str, size: int) -> str | None:
    """To what the file belongs, if it is one that may go; None for a record or a log.

    :param path: in the run's folder.
    """
    for start, name in _FOLDERS.items():
        if path.startswith(start):
            return name
    matched = _OF_ATTEMPT.fullmatch(path)
    if matched is None:
        return None
    call, inner = name_of(matched[1]) or matched[1], matched[2]
    large_log = inner in ("stdout", "stderr") and size > LARGEST_LOG
    return call if inner.startswith("work/") or large_log else None


def _texts(value: Any) -> Iterator[str]:
    """Every text in a JSON value, keys of objects as well."""
    pending = [value]
    while pending:
        at = pending.pop()
        if isinstance(at, str):
            yield at
        elif isinstance(at, dict):
            yield from at
            pending.extend(at.values())
        elif isinstance(at, list):
            pending.extend(at)


def named_elsewhere(s3: Any, layout: Layout) -> set[str]:
    """What of a run's files the other runs of the workspace were given, or have given.

    Of one that has no outputs yet, or none since its calls were run again, it is also what its calls have given, since
    later calls of it may need that: a list of its files, and a request for each shard that has succeeded.
    """
    runs = f"{layout.workspace.rstrip('/')}/runs/"
    store = RunStore(s3, Layout(layout.workspace, "", ""), [runs])
    dags = list(store.folders(runs))
    found = side_by_side(lambda dag: [f"{runs}{dag}/{run}/" for run in store.folders(f"{runs}{dag}/")], dags)
    folders = [folder for some in found for folder in some]
    return set().union(*side_by_side(lambda other: _named_by(store, other, layout.folder), folders))


def _named_by(store: RunStore, folder: str, wanted: str) -> set[str]:
    """What of the run in the folder ``wanted`` the run in another folder names, and those of operators in it."""

    def named(uri: str) -> set[str]:
        data = store.get(uri)
        if data is None or mark not in data:
            return set()
        return {text for text in _texts(json.loads(data)) if text.startswith(wanted)}

    mark = "/".join(wanted.split("/")[-4:]).encode()  # of the names of its DAG and run, which are ASCII in a key
    there = store.names(folder)
    found: set[str] = set()
    if "tasks/" in there:
        tasks = store.folders(f"{folder}tasks/")
        found = found.union(*(_named_by(store, f"{folder}tasks/{task}/", wanted) for task in tasks))
    if folder == wanted:
        return found
    for name in {"inputs.json", OUTPUTS} & set(there):
        found |= named(f"{folder}{name}")
    if "calls/" in there and (OUTPUTS not in there or REOPENED in there):
        calls = f"{folder}calls/"
        shards = [uri for uri, _ in store.list(calls) if _OF_SHARD.fullmatch(uri[len(calls) :])]
        found = found.union(*map(named, shards))
    return found


def delete(s3: Any, store: RunStore, found: Cleaning) -> None:
    """Delete what was found, and leave word of it in the run's folder before.

    :raises WdlEcsError: if something cannot be deleted; what is left is found when the run is cleaned again.
    """
    if not found.uris:
        return
    word = {"at": time.time(), "files": found.files, "bytes": found.bytes}
    store.put_json(store.layout.named(CLEANED), word)
    bucket = split_uri(found.folder)[0]
    keys = [split_uri(uri)[1] for uri in found.uris]
    batches = [keys[at : at + AT_ONCE] for at in range(0, len(keys), AT_ONCE)]
    side_by_side(lambda batch: _delete(s3, bucket, batch), batches)


@patient
def _delete(s3: Any, bucket: str, keys: Sequence[str]) -> None:
    with aws_errors("DeleteObjects", f"s3://{bucket}/{keys[0]}"):
        answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True})
    refused = answer.get("Errors") or ()
    if refused:
        first = refused[0]
        code, uri = str(first.get("Code", "")), f"s3://{bucket}/{first.get('Key')}"
        said = (
            f"AWS refused DeleteObjects {uri}: {code}: {first.get('Message', '')} ({len(refused)} of {len(keys)} files)"
        )
        if code == "AccessDenied":
            raise SettingsError(
                said, hint="the role or user of the AWS connection needs s3:DeleteObject for the runs of the workspace"
            )
        raise AwsError(said, code=code, operation="DeleteObjects")


def hint_if_cleaned(store: RunStore) -> str:
    """What to say where a file of a run is missing: that it was deleted, if it was; else nothing."""
    if store.get_json(store.layout.named(CLEANED)) is None:
        return ""
    return (
        "the intermediate files of this run were deleted; clear all of its tasks, so that it starts from its beginning"
    )
