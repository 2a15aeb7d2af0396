"""Publishes the outputs of a run that has ended well: copies, or links, in a place that the user names.

What is written there, ``outputs.json`` last, so that all is there if that is::

    <publish_to>/<name of each file>
                 manifest.json   every file: where it comes from, its size, ETag and checksum
                 checksums.txt   for ``sha256sum -c``
                 outputs.json    the outputs, files by their published URIs

A run's own folder keeps ``publishing.json``, what has been copied, by which a next try goes on, and at the end
``published.json``, where it all is. Everything here blocks; neither Airflow nor ECS is known.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import Any

from botocore.exceptions import ClientError

from .aws import aws_errors, error_code, patient
from .errors import EvaluationError, Problem, SettingsError
from .layout import split_uri
from .object_copies import Checksum, Copied, copy_objects, look, refused
from .publish_names import (
    CHECKSUMS,
    MANIFEST,
    OUTPUTS,
    Names,
    Placed,
    parse_template,
    place,
    read_names,
    values_of_run,
)
from .run import Run
from .sensitive import Log, redact
from .storage import PUBLISHED, RunStore

RECORD = "publishing.json"
"""In the run's folder: what has been copied."""
RECORD_EVERY = 10.0
"""Seconds between two records of what has been copied."""


_WHERE = "they are set in Airflow's section [wdl_ecs], by settings= of the DAG, or by the run (its form, or its conf)"


@dataclass(frozen=True)
class Publication:
    """Where and how a run publishes.

    :param folder: ``s3://.../``. :param mode: ``copy`` or ``link``.
    """

    folder: str
    mode: str
    names: Names = field(repr=False)

    @property
    def uri(self) -> str:
        """That of the published ``outputs.json``."""
        return f"{self.folder}{OUTPUTS}"


@dataclass(frozen=True)
class Published:
    """What has been published.

    :param files: how many, and :param size: bytes of them all.
    """

    folder: str
    mode: str
    files: int
    size: int

    def to_json(self) -> dict[str, Any]:
        """For people and programs."""
        return {
            "uri": f"{self.folder}{OUTPUTS}",
            "folder": self.folder,
            "mode": self.mode,
            "files": self.files,
            "bytes": self.size,
        }


def publication_of(run: Run, moment: datetime, *, strict: bool = True) -> Publication | None:
    """Where and how a run publishes, by its settings; None if it does not.

    :param moment: of the run, for the fields ``{date}`` and the like.
    :param strict: whether ``publish_names`` may name this workflow's outputs only.
    :raises SettingsError: naming everything that is wrong with ``publish_to``, ``publish_mode`` and ``publish_names``.
    """
    settings = run.settings
    if not settings.publish_to or settings.publish_mode == "none":
        return None
    moment = moment.astimezone(timezone.utc)
    values = values_of_run(
        run.plan,
        run.inputs,
        run.sensitive,
        dag_id=run.dag_id,
        run_id=run.run_id,
        group=run.scope or "",
        workflow=run.plan.name,
        date=f"{moment:%Y-%m-%d}",
        time=f"{moment:%H%M%S}",
        year=f"{moment:%Y}",
        month=f"{moment:%m}",
        day=f"{moment:%d}",
    )
    problems: list[Problem] = []
    folder = ""
    try:
        folder = _folder(settings.publish_to, values, of_group=run.scope is not None)
        problems += [Problem(text) for text in _misplaced(run, folder)]
    except ValueError as error:
        problems.append(Problem(f"publish_to: {settings.publish_to}: {error}"))
    names, wrong = read_names(run.plan, settings.publish_names, values, strict=strict)
    if problems or wrong:
        raise SettingsError(problems + wrong, hint=_WHERE)
    return Publication(folder, settings.publish_mode, names)


def _folder(text: str, values: Mapping[str, str], *, of_group: bool) -> str:
    """The folder that ``publish_to`` says.

    :param of_group: whether the run is one of several that a DAG run may have. Each has a folder of its own, then: what
        does not say where its ``{group}`` goes has it at the end.
    :raises ValueError: saying what is wrong with it.
    """
    bucket, _, rest = text.removeprefix("s3://").partition("/")
    if not text.startswith("s3://") or not bucket:
        raise ValueError("outputs are published to S3: s3://BUCKET/PREFIX/")
    if "{" in bucket or "}" in bucket:
        raise ValueError("the bucket cannot have fields")
    template = parse_template(rest, list(values))
    if of_group and "group" not in template.fields:
        template = parse_template(f"{rest}/{{group}}", list(values))
    path = template.filled(values)
    if {".", ".."} & set(path.split("/")):
        raise ValueError("it cannot have . or .. as a folder")
    return f"s3://{bucket}/{path}/" if path else f"s3://{bucket}/"


def _misplaced(run: Run, folder: str) -> Iterator[str]:
    prefixes = [f"{prefix.rstrip('/')}/" for prefix in run.settings.publish_prefixes]
    if prefixes and not any(folder.startswith(prefix) for prefix in prefixes):
        yield f"runs may not publish to {folder}: the deployment's publish_prefixes are {', '.join(prefixes)}"
    workspace = f"{run.settings.workspace.rstrip('/')}/"
    if folder.startswith(workspace):
        yield (
            f"publish_to is {folder}, which is in the workspace {workspace}: that has the runs' own records; "
            "publish beside it"
        )


def check_bucket(run: Run, publication: Publication) -> None:
    """Find out before anything is launched whether the bucket is there; whether one may write is seen at the end.

    :raises SettingsError: if it is not.
    """
    _check_bucket(run.clients("s3"), publication.folder)


@patient
def _check_bucket(s3: Any, folder: str) -> None:
    bucket, prefix = split_uri(folder)
    try:
        with aws_errors("ListObjectsV2", folder):
            s3.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
    except SettingsError as error:
        # A role that writes there need not be allowed to look.
        if isinstance(error.__cause__, ClientError) and error_code(error.__cause__) == "NoSuchBucket":
            raise refused(error, "", folder) from error.__cause__


def publish(run: Run, publication: Publication, outputs: Mapping[str, Any], log: Log) -> Published:
    """Publish a run's outputs. To do it again writes the same; what has been copied and is there stays.

    What is on a shared file system is named in ``outputs.json`` by its path, and is not copied.

    :param outputs: as `run.finish_run` gives them.
    :raises SettingsError: if S3 refuses it, with the bucket, the key and what to do.
    :raises EvaluationError: if a file is not there, or is none that the run may read.
    """
    placed, files = place(
        run.plan,
        outputs,
        publication.names,
        publication.folder,
        run.secrets,
        stays=lambda path: run.mounted(path) is not None,
    )
    for file in files:
        _check_source(run.store, file)
    log.info("publishing %d outputs that are files or folders to %s", len(files), publication.folder)
    if publication.mode == "link":
        copies = _linked(run, [uri for file in files for uri in _files_of(run.store, file)])
        shown = outputs
    else:
        copies = _copied(run, publication, files)
        shown = placed
    published = Published(publication.folder, publication.mode, len(copies), sum(copy.size for copy in copies))
    store = _Written(run.store, publication.folder)
    store.put(MANIFEST, _json(redact(_manifest(run, publication, copies), run.secrets)))
    if publication.mode == "copy":
        store.put(CHECKSUMS, redact(checksums(publication.folder, copies), run.secrets).encode())
    named = {f"{run.plan.name}.{name}": value for name, value in shown.items()}
    store.put(OUTPUTS, _json(redact(named, run.secrets)))
    _Record(run.store, publication.folder).end(published, copies)
    log.info("published %d files, %d bytes; their outputs.json is %s", published.files, published.size, publication.uri)
    return published


def _check_source(store: RunStore, file: Placed) -> None:
    """What the run may not read is not copied for it with Airflow's role."""
    try:
        store.check_readable(file.source)
    except EvaluationError as error:
        raise EvaluationError(f"output {file.output}: {error.message}", hint=error.hint) from error


def _files_of(store: RunStore, file: Placed) -> list[str]:
    """The file, or those in the folder."""
    return [uri for uri, _ in store.list(file.source)] if file.directory else [file.source]


def _copied(run: Run, publication: Publication, files: Sequence[Placed]) -> list[Copied]:
    wanted: dict[str, str] = {}
    workspace = f"{run.settings.workspace.rstrip('/')}/"
    for file in files:
        for uri in _files_of(run.store, file):
            within = uri.removeprefix(file.source) if file.directory else ""
            target = f"{publication.folder}{redact('/'.join(filter(None, (file.name, within))), run.secrets)}"
            if target.startswith(workspace) or wanted.setdefault(target, uri) != uri:
                raise EvaluationError(
                    f"output {file.output} cannot be published as {target}",
                    hint="the workspace has the runs' own records, and other files keep their names; "
                    "change publish_to or publish_names",
                )
    record = _Record(run.store, publication.folder)
    return copy_objects(run.clients("s3"), wanted, record.read(), record.add)


def _linked(run: Run, uris: Sequence[str]) -> list[Copied]:
    facts = look(run.clients("s3"), list(dict.fromkeys(uris)))
    return [Copied(of.uri, of.etag, of.uri, of.size, of.etag, of.checksum) for of in facts]


def _manifest(run: Run, publication: Publication, copies: Sequence[Copied]) -> dict[str, Any]:
    return {
        "workflow": run.plan.name,
        "plan": run.plan.digest,
        "dag_id": run.dag_id,
        "run_id": run.run_id,
        "mode": publication.mode,
        "files": [
            {
                "uri": copy.target,
                **({"source": copy.source} if copy.source != copy.target else {}),
                "size": copy.size,
                "etag": copy.etag,
                "checksum": _checksum_json(copy.checksum),
            }
            for copy in copies
        ],
    }


def _checksum_json(checksum: Checksum | None) -> dict[str, Any] | None:
    if checksum is None:
        return None
    return {name: value for name, value in asdict(checksum).items() if value is not None}


def checksums(folder: str, copies: Sequence[Copied]) -> str:
    """A file for ``sha256sum -c`` in a folder with the files; what that cannot check stands in comments."""
    lines = []
    for copy in copies:
        name = copy.target.removeprefix(folder)
        escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
        found = copy.checksum
        if found and found.algorithm == "SHA256" and found.of == "object":
            lines.append(f"{'' if escaped == name else chr(92)}{found.value}  {escaped}\n")
        else:
            what = f"{found.algorithm} of its {found.parts} parts is {found.value}" if found else f"ETag is {copy.etag}"
            lines.append(f"# {escaped}: its {what}\n")
    return "".join(lines)


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


class _Written:
    """Writes what is published from here; a refusal says what it takes."""

    def __init__(self, store: RunStore, folder: str) -> None:
        self._store = store
        self._folder = folder

    def put(self, name: str, data: bytes) -> None:
        uri = f"{self._folder}{name}"
        kind = "application/json" if name.endswith(".json") else "text/plain; charset=utf-8"
        try:
            self._store.put(uri, data, kind)
        except SettingsError as error:
            raise refused(error, "", uri) from error.__cause__


class _Record:
    """What has been copied for a run, in its folder; it counts for one place."""

    def __init__(self, store: RunStore, folder: str) -> None:
        self._store = store
        self._folder = folder
        self._uri = store.layout.named(RECORD)
        self._copies: dict[str, Copied] = {}
        self._lock = threading.Lock()
        self._written = time.monotonic()

    def read(self) -> dict[str, Copied]:
        """Target -> what an earlier try has copied there."""
        told = self._store.get_json(self._uri) or {}
        if told.get("folder") == self._folder:
            self._copies = {copy.target: copy for copy in map(_copied_from, told["copies"])}
        return dict(self._copies)

    def add(self, copy: Copied) -> None:
        """Take note of a copy; now and then it is written down."""
        with self._lock:
            self._copies[copy.target] = copy
            if time.monotonic() - self._written < RECORD_EVERY:
                return
            self._written = time.monotonic()
            copies = list(self._copies.values())
        self._put(copies)

    def end(self, published: Published, copies: Sequence[Copied]) -> None:
        """Write down that everything has been published."""
        self._put(copies)
        self._store.put_json(self._store.layout.named(PUBLISHED), published.to_json())

    def _put(self, copies: Sequence[Copied]) -> None:
        self._store.put_json(self._uri, {"folder": self._folder, "copies": [asdict(copy) for copy in copies]})


def _copied_from(told: Mapping[str, Any]) -> Copied:
    checksum = told["checksum"]
    return Copied(**{**told, "checksum": None if checksum is None else Checksum(**checksum)})
