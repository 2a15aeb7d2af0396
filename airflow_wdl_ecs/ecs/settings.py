"""`EcsSettings`: everything that a deployment may set, in one table.

Each field of the dataclass carries its help, an example and how it is read from text, so that Airflow's ``[wdl_ecs]``
section, the provider metadata and the documentation come from one place. This module knows neither Airflow nor AWS
clients; it says whether settings are complete, not whether what they name exists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from difflib import get_close_matches
from typing import Any

from ..errors import Problem, SettingsError
from .mounts import wrong_mounts
from .publish_settings import PublishSettings
from .setting import SECTION, TYPES, how_to_set, read, setting
from .tags import problems_of

CALL_CACHE_MODES = ("off", "on", "refresh")
"""What the setting ``call_cache`` may be, and what a run may ask for."""

__all__ = ["CALL_CACHE_MODES", "SECTION", "EcsSettings", "SettingInfo", "describe_settings", "how_to_set"]


_LAID_OVER = frozenset({"tags"})
"""Settings whose overrides leave what they do not name."""


@dataclass(frozen=True)
class SettingInfo:
    """A setting as documentation and provider metadata show it.

    :param type: ``string``, ``integer``, ``float`` or ``boolean``. :param default: as text; None if there is none.
    """

    name: str
    type: str
    help: str
    default: str | None
    example: str | None
    choices: tuple[str, ...]


@dataclass(frozen=True)
class EcsSettings(PublishSettings):
    """Where and how a deployment runs the ECS tasks of its calls."""

    tags: Mapping[str, str] = setting(
        {},
        "pairs",
        "Tags of the ECS tasks, their EBS volumes and task definitions, by which costs can be divided. A DAG's own are "
        "laid over the deployment's, key by key.",
        example="team=genomics, cost-centre=42",
    )
    prices_file: str = setting(
        "",
        "text",
        "Prices with which reports say what tasks have cost: a JSON file, by its absolute path or its s3:// URI; empty "
        "for the list prices that come with the package.",
        example="s3://my-bucket/wdl/prices.json",
    )
    readable_prefixes: tuple[str, ...] = setting(
        (),
        "list",
        "S3 prefixes that expressions (read_lines, size ...) may read besides the run's own folder and its inputs.",
        example="s3://references/, s3://panels/v2/",
    )
    input_prefixes: tuple[str, ...] = setting(
        (),
        "list",
        "S3 prefixes from which runs may take files, besides the workspace; empty for all that the roles may read. "
        "It holds for inputs that a person gives, for URIs in the WDL and for those that expressions compose. Prefixes "
        "of http(s) URLs, too: where a public address will not do, it has to be named here.",
        example="s3://incoming/, s3://references/hg38/",
    )
    sensitive_inputs: tuple[str, ...] = setting(
        ("*password*", "*secret*", "*token*", "*api_key*"),
        "list",
        "Patterns of the names of String inputs that logs, XComs and pages show as ***; "
        "`parameter_meta { x: { sensitive: true } }` says it of any input. "
        "The value itself is in the run's folder in S3, in the command, and in the DAG run's conf.",
        example="*password*, *token*, license_key",
    )
    call_cache: str = setting(
        "off",
        "text",
        "Whether a call whose task, inputs and image are those of an earlier call takes that one's outputs instead of "
        "running; `refresh` runs every call and keeps its outputs for later ones. A run may say otherwise.",
        example="on",
        choices=CALL_CACHE_MODES,
    )
    call_cache_prefix: str = setting(
        "",
        "text",
        "Where the call cache keeps what refers to outputs, shared by all runs and DAGs that have the same; empty for "
        "`cache/` in the workspace.",
        example="s3://my-bucket/wdl-cache",
    )
    call_cache_tags: bool = setting(
        True,
        "flag",
        "Let an image whose digest is not known count by its tag in the call cache; false to run every such call.",
        example="false",
    )
    xcom_max_bytes: int = setting(
        65_536,
        "integer",
        "Bytes of JSON that an XCom has at most; of larger values it says where in the run's folder they are. 0 for no "
        "limit. An XCom backend of the deployment's own gets all values as they are.",
        example="0",
    )
    intermediate_files: str = setting(
        "keep",
        "text",
        "What becomes of the files that calls have handed to each other when a run has succeeded: delete, or keep them "
        "until somebody cleans the run. Its outputs, records and logs stay.",
        example="delete",
        choices=("keep", "delete"),
    )
    max_shards: int = setting(
        100_000,
        "integer",
        "Shards of one call in a run; a wider scatter fails before any of them starts.",
        example="5000",
    )
    max_tasks: int = setting(
        1000, "integer", "ECS tasks in flight on the cluster, per Airflow process; 0 for no limit.", example="200"
    )
    max_tasks_per_run: int = setting(0, "integer", "ECS tasks in flight per run; 0 for no limit.", example="100")
    max_tasks_per_call: int = setting(
        0, "integer", "ECS tasks in flight per task instance of a call; 0 for no limit.", example="20"
    )
    poll_fastest: float = setting(
        1.0, "number", "Seconds between two looks at a task that has just started.", example="2"
    )
    poll_slowest: float = setting(
        15.0, "number", "Seconds between two looks at a task that has run for long.", example="30"
    )
    live_logs: bool = setting(
        True,
        "flag",
        "Repeat what a running command writes to CloudWatch Logs in the log of its task instance.",
        example="false",
    )
    live_logs_interval: float = setting(
        2.0,
        "number",
        "Seconds between two looks at the log of a running command, at the least; fewer while it is silent.",
        example="10",
    )
    live_logs_lines: int = setting(
        1000, "integer", "Lines of a command's log that are repeated; 0 for no limit.", example="100"
    )
    stop_timeout: int = setting(
        30, "integer", "Seconds that a command has between SIGTERM and SIGKILL; 120 at most on Fargate.", example="120"
    )
    capacity_timeout: float = setting(
        3600.0, "number", "Seconds to go on asking when ECS has no capacity for a task.", example="86400"
    )
    spot_capacity_timeout: float = setting(
        300.0,
        "number",
        "Seconds to go on asking when there is no Spot capacity for a preemptible task, before on-demand capacity is "
        "asked for.",
        example="0",
    )
    infrastructure_retries: int = setting(
        3,
        "integer",
        "Fresh attempts after a failure that is not the command's (host lost, image not pulled, staging failed).",
        example="5",
    )
    out_of_memory_retries: int = setting(
        1,
        "integer",
        "Fresh attempts, each with more memory, after a task ran out of it; `maxRetries` if that is more.",
        example="3",
    )
    out_of_memory_factor: float = setting(
        2.0,
        "number",
        "By how much the memory grows after a task ran out of it; a task may say `memory_retry_multiplier` instead.",
        example="1.5",
    )
    out_of_memory_limit: int = setting(
        0,
        "integer",
        "MiB of memory beyond which a task that ran out of it gets no more; 0 for all that Fargate has.",
        example="65536",
    )

    def __new__(cls, *args: Any, **given: Any) -> EcsSettings:
        """Remember which settings were given: a DAG's override counts even where it equals the default."""
        settings = super().__new__(cls)
        names = [f.name for f in fields(cls)]
        object.__setattr__(settings, "_given", frozenset([*names[: len(args)], *given]))
        return settings

    @classmethod
    def from_options(cls, options: Mapping[str, str], overrides: Mapping[str, Any] | None = None) -> EcsSettings:
        """Settings from the text of a configuration section, with explicit values laid over it.

        An empty text leaves the default, and an option that is no setting is left alone (the section holds others).
        Tags are laid over each other one by one, so that a DAG's do not take away the deployment's.

        :param options: option name -> text; a list is separated by commas or is a JSON list.
        :param overrides: setting name -> value, or text as in ``options``.
        :raises SettingsError: for a value that cannot be read, or an override that is no setting.
        """
        kinds = {f.name: f for f in fields(cls)}
        problems: list[Problem] = []
        found: dict[str, Any] = {}
        texts = {name: text for name, text in options.items() if name in kinds and text.strip()}
        for name, value in [*texts.items(), *(overrides or {}).items()]:
            if name not in kinds:
                near = get_close_matches(name, kinds, 1)
                problems.append(Problem(f"there is no setting {name}" + (f"; {near[0]}?" if near else "")))
                continue
            try:
                understood = read(value, kinds[name].metadata["kind"])
                found[name] = {**found.get(name, {}), **understood} if name in _LAID_OVER else understood
            except ValueError as error:
                problems.append(Problem(f"{how_to_set(name)}: {error}"))
        if problems:
            raise SettingsError(problems)
        return cls(**found)

    def to_json(self) -> dict[str, Any]:
        """The settings that were given explicitly, as small JSON; `from_json` reads it back."""
        given = {f.name: getattr(self, f.name) for f in fields(self) if f.name in self.__dict__["_given"]}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in given.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EcsSettings:
        """Read what `to_json` gave; raises SettingsError as `from_options` does."""
        return cls.from_options({}, data)

    def with_defaults_for(self, region: str) -> EcsSettings:
        """These settings with the region that the AWS client has settled on."""
        return self if self.region else replace(self, region=region)

    @property
    def providers(self) -> tuple[str, ...]:
        """The names of every capacity provider that may be used."""
        return tuple(text.split(":")[0].strip() for text in self.capacity_providers + self.spot_capacity_providers)

    @property
    def fargate(self) -> bool:
        """Whether tasks run on Fargate, which has its own rules for sizes, disks and networks."""
        if self.capacity_providers:
            return self.capacity_providers[0].startswith("FARGATE")
        return self.launch_type == "FARGATE"

    def check(self) -> None:
        """Check that the settings are complete and do not contradict each other.

        :raises SettingsError: listing every setting that is missing or wrong, and how to set it.
        """
        problems = [Problem(text) for text in _problems(self)]
        if problems:
            raise SettingsError(problems)


def describe_settings() -> tuple[SettingInfo, ...]:
    """Every setting, in order, for documentation and provider metadata."""
    return tuple(_info(f) for f in fields(EcsSettings))


def _info(f: Any) -> SettingInfo:
    kind, default = f.metadata["kind"], _default(f)
    integral = {"integer": "integer", "number": "float"}
    shown = None if default in (None, "", (), {}) else _as_option(default)
    return SettingInfo(
        name=f.name,
        type=TYPES.get(kind) or integral[kind],
        help=f.metadata["help"],
        default=shown,
        example=f.metadata["example"],
        choices=f.metadata["choices"],
    )


def _as_option(default: Any) -> str:
    """A default as text that `EcsSettings.from_options` reads: Airflow gives it back where nobody sets the option."""
    return ", ".join(default) if isinstance(default, tuple) else str(default)


def _default(f: Any) -> Any:
    return f.default if f.default is not MISSING else f.default_factory()


def _problems(s: EcsSettings) -> Iterator[str]:
    required = ["cluster", "workspace", "log_group"]
    required += ["task_role_arn", "execution_role_arn", "subnets"] if s.fargate else []
    for name in required:
        if not getattr(s, name):
            example = EcsSettings.__dataclass_fields__[name].metadata["example"]
            yield f"{name} is not set: set {how_to_set(name)}, for example to {example}"
    for f in fields(s):
        if f.metadata["choices"] and getattr(s, f.name) not in f.metadata["choices"]:
            wanted = " or ".join(f.metadata["choices"])
            yield f"{f.name} must be {wanted}, not {getattr(s, f.name)!r}; set {how_to_set(f.name)}"
    positive = ("max_shards", "cpu", "memory", "poll_fastest", "poll_slowest", "live_logs_interval", "stop_timeout")
    for name in (*positive, "out_of_memory_factor"):
        if getattr(s, name) <= 0:
            yield f"{name} must be more than 0, not {getattr(s, name)}; set {how_to_set(name)}"
    for name in ("time_limit", "max_cpu", "max_memory", "max_disk", "max_gpu", "max_time", "ebs_from"):
        if getattr(s, name) < 0:
            yield f"{name} must be 0 or more, not {getattr(s, name)}; set {how_to_set(name)}"
    for name in ("cpu", "memory", "disk"):
        most = getattr(s, f"max_{name}")
        if 0 < most < getattr(s, name):
            yield f"{name} is {getattr(s, name)}, and max_{name} is {most}; set {how_to_set(name)}"
    yield from _wrong_places(s)
    yield from _wrong_mounts(s)
    yield from _contradictions(s)


def _wrong_places(s: EcsSettings) -> Iterator[str]:
    if s.workspace and not (s.workspace.startswith("s3://") and s.workspace[5:].split("/")[0]):
        yield f"workspace is not an s3:// URI: {s.workspace!r}; set {how_to_set('workspace')}"
    if not s.container_root.startswith("/") or s.container_root.rstrip("/") == "":
        yield f"container_root must be an absolute folder, not {s.container_root!r}; set {how_to_set('container_root')}"
    for name in ("readable_prefixes", "input_prefixes", "publish_prefixes", "call_cache_prefix"):
        given = getattr(s, name)
        web = ("http://", "https://") if name == "input_prefixes" else ()
        for prefix in (given,) if given and isinstance(given, str) else given:
            if not prefix.startswith(("s3://", *web)) or prefix == "s3://":
                yield f"{name}: {prefix!r} is not an s3:// prefix; set {how_to_set(name)}"

    yield from (f"tags: {problem}; set {how_to_set('tags')}" for problem in problems_of(s.tags))
    if s.prices_file and not s.prices_file.startswith(("/", "s3://")):
        yield (
            f"prices_file must be an absolute path or an s3:// URI, not {s.prices_file!r}; "
            f"set {how_to_set('prices_file')}"
        )


def _wrong_mounts(s: EcsSettings) -> Iterator[str]:
    found = wrong_mounts(s.mounts, container_root=s.container_root, fargate=s.fargate, task_role=bool(s.task_role_arn))
    yield from (f"mounts: {text}; set {how_to_set('mounts')}" for text in found)


def _contradictions(s: EcsSettings) -> Iterator[str]:
    yield from _wrong_placement(s)
    if s.ebs_volume_type in ("io1", "io2") and s.ebs_role_arn and not s.ebs_iops:
        yield f"volumes of the type {s.ebs_volume_type} need ebs_iops; set {how_to_set('ebs_iops')}"
    if s.ebs_throughput and s.ebs_volume_type != "gp3":
        yield f"ebs_throughput is for gp3 only, not for {s.ebs_volume_type}; set {how_to_set('ebs_throughput')} to 0"
    if s.ebs_iops and s.ebs_volume_type not in ("gp3", "io1", "io2"):
        yield f"ebs_iops is for gp3, io1 and io2, not for {s.ebs_volume_type}; set {how_to_set('ebs_iops')} to 0"
    if len({name.startswith("FARGATE") for name in s.providers} | {s.fargate}) > 1:
        yield (
            "capacity_providers, spot_capacity_providers and launch_type mix Fargate with others; "
            "an ECS task is for the one or the other"
        )
    if s.assign_public_ip and not s.fargate:
        yield f"assign_public_ip is for Fargate only; set {how_to_set('assign_public_ip')} to false"
    if s.fargate and s.stop_timeout > 120:
        yield f"stop_timeout is at most 120 seconds on Fargate, not {s.stop_timeout}; set {how_to_set('stop_timeout')}"


def _wrong_placement(s: EcsSettings) -> Iterator[str]:
    for name in ("placement_constraints", "placement_strategies"):
        if s.fargate and getattr(s, name):
            yield f"{name} is for EC2 only; set {how_to_set(name)} to nothing for Fargate"
    for text in s.placement_strategies:
        kind, _, by = (part.strip() for part in text.partition(":"))
        fits = by in ("cpu", "memory") if kind == "binpack" else bool(by) if kind == "spread" else not by
        if kind not in ("random", "spread", "binpack") or not fits:
            yield (
                f"placement_strategies: {text!r} is none of random, binpack:cpu, binpack:memory and spread:FIELD; "
                f"set {how_to_set('placement_strategies')}"
            )
