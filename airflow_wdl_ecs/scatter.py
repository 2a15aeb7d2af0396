"""How the outermost scatter is divided among mapped task instances, and which shards one instance runs.

Airflow maps at most ``[core] max_map_length`` instances, and its scheduler stands still well before that; so a scatter
of more shards than `WIDEST` is divided into `CHUNKS` of consecutive shards, one mapped instance each. The division is
written once into the run's folder by the scatter's operator, and read by every instance: an instance must not depend
on a setting that changed while the run was under way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from .errors import AuthorError, WdlEcsError
from .plan import Shard
from .printable import printable
from .run import Run
from .sensitive import redact

WIDEST = 500
"""Shards of one scatter that have a mapped instance each, at most.

Airflow's scheduler hands all instances of a call over in one turn of its loop, in which it schedules nothing else and
does not say that it lives; after 30 s it counts as dead (``[scheduler] scheduler_health_check_threshold``). That turn
took it 3 s of CPU for 500 instances, 7 s for 1,000, 19 s for 2,000 and 86 s for 5,000 (``benchmarks/wide_scatter.py``,
Airflow 3.3.2); by the clock, with the database's part, 5, 12, 39 and 141 s, and on a busier machine four times as much.
So 500 are safe, and 1,000 are not.
"""

CHUNKS = 250
"""Mapped instances of a scatter of more shards, at most.

Where an instance is no longer one shard, more instances tell a person nothing more; and no shard begins before the
scheduler has handed over all of them: of 10,000 shards (``benchmarks/many_shards.py``) the last was started 11 s after
the moment that ECS's rates allow, with 500 instances 56 s.
"""


def chunk_size(shards: int, longest: int) -> int:
    """Shards per mapped instance.

    :param shards: how many there are. :param longest: how many instances Airflow maps at most.
    """
    if shards <= min(longest, WIDEST):
        return 1
    return -(-shards // max(1, min(longest, CHUNKS)))


def divide_scatter(run: Run, section: str, *, longest: int) -> list[str]:
    """Evaluate an outermost scatter's collection, write how it is divided, give a label for each mapped instance.

    A scatter whose surrounding condition is false has no instances.

    :param section: the scatter's section id. :param longest: how many instances Airflow maps at most.
    :raises EvaluationError: if the collection cannot be evaluated.
    """
    count = run.evaluation.shard_count(section, ()) or 0
    run.check_width(section, count)
    size = chunk_size(count, longest)
    # An instance of several shards has a label of its own, and so many labels would be read with every report.
    labels = [_label(run, section, (index,)) for index in range(count)] if size == 1 else []
    run.store.write_division(
        section, {"shards": count, "chunk": size, "labels": [printable(label) for label in labels]}
    )
    if size == 1:
        return distinct(labels)
    return [_chunk_label(first, min(first + size, count) - 1) for first in range(0, count, size)]


def distinct(labels: Sequence[str]) -> list[str]:
    """Labels of shards as a person can tell them apart: one that is no word, or not the only one, has its index first.

    What a page or a terminal would not print, or would act on, is escaped.
    """
    readable = [printable(label) for label in labels]
    often = Counter(readable)
    named = [
        label if often[label] == 1 and label and label[0] not in "{[" else f"{index}: {label}".strip()
        for index, label in enumerate(readable)
    ]
    # A value may look like the index of another.
    return named if len(set(named)) == len(named) else [f"{index}: {label}" for index, label in enumerate(readable)]


def label_of(run: Run, section: str, prefixes: Sequence[Shard]) -> str:
    """What a person calls the shards of a mapped instance: the scatter variable's value, or ``0-9`` of a chunk.

    It evaluates, so it blocks; a label that cannot be said is empty.
    """
    if len(prefixes) > 1:
        return _chunk_label(prefixes[0][0], prefixes[-1][0])
    try:
        return printable(_label(run, section, prefixes[0])) if prefixes else ""
    except WdlEcsError:
        return ""


def _chunk_label(first: int, last: int) -> str:
    return f"{first}-{last}" if first < last else str(first)


def _label(run: Run, section: str, shard: Shard) -> str:
    return str(redact(run.evaluation.shard_label(section, shard), run.secrets))


def map_index_prefixes(run: Run, section: str, map_index: int) -> Sequence[Shard]:
    """The outermost indices that a mapped instance runs, each as a shard prefix.

    :raises AuthorError: if the scatter's operator has not run.
    """
    division = run.store.read_division(section)
    if division is None:
        raise AuthorError(
            f"the shards of {section} are not known in {run.folder}",
            hint="clear the scatter's '.shards' task, so that it runs again",
        )
    first = map_index * division["chunk"]
    return [(index,) for index in range(first, min(first + division["chunk"], division["shards"]))]
