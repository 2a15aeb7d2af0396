"""What is told of the memory and CPU that commands have used, and what is advised."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_wdl_ecs.attempts import Times
from airflow_wdl_ecs.report import ShardReport, call_report
from airflow_wdl_ecs.report_shards import shard_report
from airflow_wdl_ecs.usage import Usage
from airflow_wdl_ecs.usage_report import CallUsage

from .fabricated_run import T0, attempt

GIB = 1024**3


def run(
    used: float,
    cpu: float = 1.0,
    *,
    asked: tuple[float, float] = (8, 16),
    given: tuple[float, float] | None = None,
    seconds: float = 1000,
    **fields: Any,
) -> Any:
    """An attempt that used so many GiB and vCPUs of those that were asked for."""
    have = given or asked
    usage = Usage(int(used * GIB), "group", 0, cpu * seconds)
    return attempt(
        **{
            "usage": usage,
            "times": Times(command_started=T0, command_ended=T0 + seconds),
            "cpu_asked": asked[0],
            "memory_asked": int(asked[1] * 1024),
            "cpu": have[0],
            "memory_given": int(have[1] * 1024),
            "launch_type": "EC2",
            **fields,
        }
    )


def shard(*attempts: Any, key: str = "_") -> ShardReport:
    return shard_report("work", key, attempts, None, run_has_outputs=False)


def of_call(*shards: Any) -> CallUsage:
    """Of a call with shards of one attempt each, or of several."""
    reports = [shard(*(one if isinstance(one, tuple) else (one,)), key=str(at)) for at, one in enumerate(shards)]
    usage = call_report("work", "work", "work", reports, scattered=len(shards) > 1).usage
    assert usage is not None
    return usage


def told(**fields: Any) -> str:
    (report,) = shard(attempt(cpu_asked=2.0, memory_asked=4096, **fields)).attempts
    assert report.usage is not None
    return report.usage.in_words


def test_an_attempt_in_words() -> None:
    assert told(usage=Usage(2 * GIB + GIB // 8, "group", 4 * GIB, 22.0)) == (
        "2.1 GiB of 4 GiB memory at most, 4 GiB with the pages of files, 1.1 of 2 vCPU on average"
    )
    assert told(usage=Usage(300 * 1024**2, "processes", 0, 1.0)) == (
        "300 MiB of 4 GiB memory at most, 0.1 of 2 vCPU on average (measured by its processes)"
    )
    assert told(usage=Usage(cpu=3.0), times=Times()) == "3.0 s of CPU time"


def test_what_was_not_measured_is_not_told() -> None:
    assert shard(attempt()).attempts[0].usage is None
    assert call_report("work", "work", "work", [shard(attempt())], scattered=False).usage is None
    # The ledger of an earlier version does not say what was asked for.
    (report,) = shard(attempt(usage=Usage(GIB, "group", 0, 20.0))).attempts
    assert report.usage is not None
    assert report.usage.in_words == "1 GiB memory at most, 1.0 vCPU on average"


def test_a_call_is_told_over_all_of_its_shards() -> None:
    usage = of_call(run(1.0, 1.0), run(2.1, 3.0, seconds=3000), attempt(usage=None))
    assert (usage.shards, usage.memory_asked, usage.cpu_asked) == (2, (16384, 16384), (8, 8))
    assert usage.in_words == ("2.1 GiB of 16 GiB memory at most, 2.5 of 8 vCPU on average, 3.0 in the busiest shard")


@pytest.mark.parametrize(
    ("runs", "advice"),
    [
        # Far more than was used: with room for 30 %, rounded up.
        (
            [run(2.1, 1.1)] * 24,
            (
                "`cpu: 2` may be enough: 1.1 of 8 vCPU on average, 1.1 in the busiest shard",
                '`memory: "3 GiB"` would be enough: 2.1 GiB at most were used',
            ),
        ),
        # The shard that used most decides.
        ([run(2.1, 6.0), run(11.0, 6.5)], ()),
        ([run(5.0, 7.0)], ('`memory: "7 GiB"` would be enough: 5 GiB at most were used',)),
        # It would save too little.
        ([run(0.1, 0.1, asked=(1, 0.5))], ()),
        # A command that was over at once tells nothing.
        ([run(0.1, 0.1, seconds=2)], ()),
        # Nobody saw its memory.
        ([run(0, 7.0)], ()),
        # More than 90 % of what was given.
        ([run(15.1, 7.0)], ('`memory: "20 GiB"` would be safer: 94% of the memory given were used',)),
        ([run(15.1, 7.0, seconds=2)], ('`memory: "20 GiB"` would be safer: 94% of the memory given were used',)),
        ([run(15.1, 7.0, given=(8, 32))], ()),
        # Where the containers are not limited, as on the embedded ECS, it may be more.
        ([run(20.0, 7.0)], ('`memory: "28 GiB"` would be safer: 125% of the memory given were used',)),
    ],
)
def test_advice(runs: list[Any], advice: tuple[str, ...]) -> None:
    assert of_call(*runs).advice == advice


def test_what_ran_out_of_memory_is_to_ask_for_more_at_once() -> None:
    short = run(7.9, 7.0, asked=(8, 8), kind="out_of_memory")
    again = run(11.0, 7.0, asked=(8, 16), number=1)
    assert of_call((short, again), run(5.0, 7.0, asked=(8, 8))).advice == (
        '`memory: "15 GiB"` would spare attempts: 1 of 2 shards ran out of 8 GiB',
    )
    assert of_call((short,)).advice == ('`memory: "11 GiB"` would spare attempts: it ran out of 8 GiB',)


def test_an_attempt_that_was_killed_before_anything_was_kept_of_it_ran_out_of_memory_all_the_same() -> None:
    # Fargate has killed the whole task, so that there is no result, and no figures in it.
    killed = run(0, asked=(8, 8), kind="out_of_memory", usage=None)
    again = run(2.0, 7.0, asked=(8, 16), number=1)
    usage = of_call((killed, again))
    assert usage.advice == ('`memory: "11 GiB"` would spare attempts: it ran out of 8 GiB',)
    assert usage.memory_asked == (8192, 8192)
    assert usage.in_words.startswith("2 GiB of 8 GiB memory at most")
    # A shard of which nothing at all is known but that it ran out of memory counts for the others.
    usage = of_call(killed, run(2.0, 7.0, asked=(8, 8)))
    assert usage.advice == ('`memory: "11 GiB"` would spare attempts: 1 of 2 shards ran out of 8 GiB',)
    assert usage.shards == 1
    # Where nothing was measured, nobody may have wanted it to be.
    assert call_report("work", "work", "work", [shard(killed)], scattered=False).usage is None


def test_a_hit_of_the_call_cache_has_asked_for_nothing() -> None:
    hit = attempt(cached="s3://bucket/wdl/other/0/", cpu=0.0, memory_given=0, launch_type="")
    assert of_call((hit, run(5.0, 7.0, number=1))).advice == (
        '`memory: "7 GiB"` would be enough: 5 GiB at most were used',
    )


def test_where_the_shards_ask_for_different_amounts_no_number_is_advised() -> None:
    little, much = run(1.0, 7.0, asked=(8, 8)), run(6.0, 7.0, asked=(8, 32))
    assert of_call(little, much).advice == ("no shard used more than 19% of the memory that it asked for",)
    assert of_call(little, much).in_words.startswith("6 GiB of 8 GiB to 32 GiB memory at most")
    assert of_call(little, run(31.0, 7.0, asked=(8, 32))).advice == (
        "more `memory` would be safer: 97% of the memory given were used",
    )


def test_fargate_has_only_some_pairs_so_less_of_one_may_be_of_no_use() -> None:
    fargate = {"launch_type": "FARGATE"}
    # 8 vCPU come with 16 GiB at least; with 2 vCPU there can be 4.
    assert of_call(run(2.1, 7.0, **fargate)).advice == ()
    assert len(of_call(run(2.1, 1.1, **fargate)).advice) == 2
    # 1 vCPU comes with 2 GiB at least.
    assert of_call(run(0.2, 0.9, asked=(1, 2), **fargate)).advice == ()
    assert of_call(run(0.2, 0.9, asked=(1, 2))).advice == (
        '`memory: "512 MiB"` would be enough: 205 MiB at most were used',
    )
