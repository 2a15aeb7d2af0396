"""What a DAG run may say of itself besides the workflow's inputs: its call cache, its tags, where it publishes.

All of it is in one table, `OPTIONS`. An option is a key of the DAG run's conf and, mostly, a field of the trigger form.
Its name has a dash, which no name in WDL has, so that it is in no input's way. A DAG file imports this module, so it
imports nothing heavy; Airflow's context is a mapping here.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .ecs.tags import problems_of
from .errors import Problem
from .input_form import Schema, optional_choice

CALL_CACHE = "call-cache"
TAGS = "wdl-tags"
PUBLISH_TO = "publish-to"
PUBLISH_MODE = "publish-mode"
PUBLISH_NAMES = "publish-names"
SECTION = "This run"
"""Where the trigger form has them all."""

_EMPTY: tuple[Any, ...] = (None, "", {})
"""What the form sends for a field that nobody filled in."""
_LONGEST_VALUE = 100
_CACHES = {
    "on": "on: take the outputs of earlier calls",
    "off": "off: run every call",
    "refresh": "refresh: run every call, and keep the outputs for later runs",
}
_MODES = {
    "copy": "copy: copies of the files",
    "link": "link: only what says where the files are",
    "none": "none: publish nothing",
}
_TEXTS: Schema = {"type": ["null", "object"], "additionalProperties": {"type": ["string", "number"]}}


def _choice(choices: Iterable[str]) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if not isinstance(value, str) or value not in choices:
            raise ValueError
        return value

    return read


def _prefix(value: Any) -> str:
    text = value.strip() if isinstance(value, str) else ""
    if not text.removeprefix("s3://").split("/")[0] or not text.startswith("s3://"):
        raise ValueError
    return text


def _texts(value: Any) -> dict[str, str]:
    """An object of texts; a number is its text."""
    if not isinstance(value, Mapping):
        raise ValueError
    if any(isinstance(item, bool) or not isinstance(item, (str, int, float)) for item in value.values()):
        raise ValueError
    return {str(key): str(item) for key, item in value.items()}


@dataclass(frozen=True)
class RunOption:
    """One thing that a run may say of itself.

    :param name: the key of the conf. :param setting: the setting in whose place it is.
    :param title: of the form's field; :param text: below it, where ``{publish_to}`` is that setting of the DAG.
    :param schema: JSON schema of the field's values. :param wanted: the same, in words.
    :param read: the value as the run keeps it; raises ValueError if it is none.
    :param publishes: whether it is about publishing: then the form has it only where the DAG publishes, and it does not
        hold for workflows that are task groups of a DAG, which would all publish in one place.
    """

    name: str
    setting: str
    title: str
    text: str
    schema: Schema
    wanted: str
    read: Callable[[Any], Any]
    publishes: bool = False


OPTIONS = (
    RunOption(
        CALL_CACHE,
        "call_cache",
        "Call cache",
        "Whether calls take the outputs of earlier ones instead of running; if empty, as the DAG's settings say.",
        optional_choice(_CACHES),
        "on, off or refresh",
        _choice(_CACHES),
    ),
    RunOption(
        TAGS,
        "tags",
        "Tags",
        "Tags for the ECS tasks of this run, by which AWS's bills can be divided: an object such as "
        '`{"project": "p17"}`. They are laid over those of the deployment and of the DAG.',
        _TEXTS,
        'an object of texts, such as {"project": "p17"}',
        _texts,
    ),
    RunOption(
        PUBLISH_TO,
        "publish_to",
        "Publish to",
        "Where the outputs are published when the run has ended well; if empty: {publish_to}",
        {"type": ["null", "string"]},
        "an S3 prefix, s3://BUCKET/PREFIX/",
        _prefix,
        publishes=True,
    ),
    RunOption(
        PUBLISH_MODE,
        "publish_mode",
        "Publish how",
        "Whether the outputs are copied there; if empty, as the DAG's settings say.",
        optional_choice(_MODES),
        "copy, link or none",
        _choice(_MODES),
        publishes=True,
    ),
    RunOption(
        PUBLISH_NAMES,
        "publish_names",
        "Publish under names",
        'Names of the files there, by output: an object such as `{"bam": "{input.sample}{suffix}"}`; if empty, as the '
        "DAG's settings say.",
        _TEXTS,
        'an object of texts, such as {"bam": "{name}"}',
        _texts,
        publishes=True,
    ),
)
NAMES = frozenset(option.name for option in OPTIONS)


@dataclass(frozen=True)
class RunOptions:
    """The options of one run, as `read_options` has checked them.

    :param given: option -> value, as JSON; what was not given is not there.
    """

    given: Mapping[str, Any] = field(default_factory=dict)

    @property
    def call_cache(self) -> str:
        """What the run says of the call cache: ``on``, ``off`` or ``refresh``; empty if nothing."""
        return str(self.given.get(CALL_CACHE, ""))

    @property
    def tags(self) -> Mapping[str, str]:
        """The tags that were given to this run alone."""
        tags: Mapping[str, str] = self.given.get(TAGS, {})
        return tags

    @property
    def publish_settings(self) -> dict[str, Any]:
        """The settings of publishing that the run overrides, by the settings' names."""
        return {o.setting: self.given[o.name] for o in OPTIONS if o.publishes and o.name in self.given}


def form_fields(publish_to: str) -> dict[str, tuple[str, Schema]]:
    """The fields of the trigger form: option -> text below it, and JSON schema; none of them has a value at first.

    :param publish_to: where the DAG publishes; empty if it does not.
    """
    offered = (option for option in OPTIONS if publish_to or not option.publishes)
    return {
        option.name: (
            option.text.replace("{publish_to}", publish_to),
            {**option.schema, "title": option.title, "section": SECTION},
        )
        for option in offered
    }


def given_options(context: Mapping[str, Any], scope: str | None = None) -> dict[str, Any]:
    """The options that a DAG run was given, unchecked: in its conf, or else in a param of its DAG.

    :param scope: of a workflow that is only a part of its DAG (see ``run.begin_run``).
    """
    conf = getattr(context.get("dag_run"), "conf", None) or {}
    params = context.get("params") or {}
    found: dict[str, Any] = {}
    for option in OPTIONS:
        values = [value for where in (conf, params) if (value := where.get(option.name)) not in _EMPTY]
        if values and not (option.publishes and scope is not None):
            found[option.name] = values[0]
    return found


def read_options(given: Mapping[str, Any], tags: Mapping[str, str]) -> tuple[RunOptions, list[Problem]]:
    """Check what a run was given.

    :param given: option -> value as JSON. :param tags: those of the settings, over which the run's are laid.
    :return: the options, and everything that is wrong with them.
    """
    read: dict[str, Any] = {}
    problems = [Problem(text) for text in unknown_options(set(given) - NAMES)]
    for option in OPTIONS:
        if option.name in given:
            try:
                read[option.name] = option.read(given[option.name])
            except ValueError:
                problems.append(Problem(f"{option.name} is {_shown(given[option.name])}, not {option.wanted}"))
    if TAGS in read:
        problems += [Problem(text) for text in problems_of({**tags, **read[TAGS]})]
    return RunOptions(read), problems


def unknown_options(names: Iterable[str]) -> list[str]:
    """What is wrong with these names, which are no option's, one line each."""
    said = []
    for name in sorted(names):
        close = difflib.get_close_matches(name, sorted(NAMES), n=1)
        said.append(f"unknown option {_shown(name, quoted=False)}{f'; did you mean {close[0]}?' if close else ''}")
    return said


def meant_as_options(names: Iterable[str]) -> set[str]:
    """Those of a run's names that can only be an option misspelt: they have a dash, and no dot of a WDL name."""
    return {name for name in names if "-" in name and "." not in name and not name.startswith("#")} - NAMES


def _shown(value: Any, *, quoted: bool = True) -> str:
    text = repr(value) if quoted or not str(value).isprintable() else str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."
