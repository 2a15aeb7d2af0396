"""The words of ``run`` that become options of the DAG run: publishing, the call cache, tags (see ``..run_options``)."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from ..errors import InputsError, Problem
from ..run_options import CALL_CACHE, PUBLISH_MODE, PUBLISH_NAMES, PUBLISH_TO, TAGS, read_options
from .option import Option

PUBLISHING = (
    Option(
        "--publish-to",
        metavar="URI",
        help="publish the outputs to this prefix of the embedded S3, too, as s3://wdl/results/{run_id}/",
    ),
    Option(
        "--publish-name",
        metavar="OUTPUT=NAME",
        dest="publish_names",
        action="append",
        default=[],
        help="the name of an output's files there (may be repeated; * for all others)",
    ),
    Option("--publish-mode", choices=("copy", "link"), help="copy (the default), or link: write outputs.json alone"),
)
_CACHE_MODES = {"--cache": "on", "--no-cache": "off", "--refresh-cache": "refresh"}


class _CacheMode(argparse.Action):
    """What the flag means; ``store_const`` would do, but Airflow's command line knows no ``const``."""

    def __call__(
        self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: str | None = None
    ) -> None:
        setattr(namespace, self.dest, _CACHE_MODES[str(option_string)])


CACHING = tuple(
    Option(flag, dest="call_cache", action=_CacheMode, nargs=0, help=text)
    for flag, text in (
        ("--cache", "take the outputs of earlier calls with the same task, inputs and image, and keep new ones"),
        ("--no-cache", "run every call, and keep nothing for later runs (the default here)"),
        ("--refresh-cache", "run every call, and keep the outputs for later runs"),
    )
)
TAGGING = (
    Option(
        "--tag",
        metavar="KEY=VALUE",
        dest="tags",
        action="append",
        default=[],
        help="a tag for the run's ECS tasks (may be repeated)",
    ),
)
RUN_OPTIONS = (*PUBLISHING, *CACHING, *TAGGING)


def run_options(words: argparse.Namespace) -> dict[str, Any]:
    """The options of the DAG run, as its conf has them; what was not given is not there.

    :raises InputsError: with everything that is wrong with them.
    """
    names, wrong_names = _pairs(words.publish_names)
    tags, wrong_tags = _pairs(words.tags)
    wrong_names += [f"{output}={name}" for output, name in names.items() if not output or not name]
    given = {
        PUBLISH_TO: words.publish_to,
        PUBLISH_MODE: words.publish_mode,
        PUBLISH_NAMES: names,
        CALL_CACHE: words.call_cache,
        TAGS: tags,
    }
    given = {name: value for name, value in given.items() if value}
    how = "such as bam={input.sample}{suffix}"
    problems = [Problem(f"--publish-name {word}: expected OUTPUT=NAME, {how}") for word in wrong_names]
    problems += [Problem(f"--tag {word}: not KEY=VALUE") for word in wrong_tags]
    problems += read_options(given, {})[1]
    if not words.publish_to and (words.publish_names or words.publish_mode):
        problems.append(Problem("--publish-name and --publish-mode say how to publish: --publish-to has to say where"))
    if problems:
        local = words.publish_to and not words.publish_to.startswith("s3://")
        raise InputsError(problems, hint="-d DIR puts outputs into a folder of this machine" if local else None)
    return given


def _pairs(words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """KEY=VALUE words as a mapping, of the same key the last one; and the words that are none."""
    parts = [word.partition("=") for word in words]
    wrong = [word for word in words if "=" not in word]
    return {key.strip(): value.strip() for key, sign, value in parts if sign}, wrong
