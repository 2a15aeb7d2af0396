"""What is believed of what a container says of its command's memory and CPU time."""

from __future__ import annotations

import pytest

from airflow_wdl_ecs.usage import Usage, read_usage

OWN, COMMANDS = "0m0.004s 0m0.006s", "1m2.500s 0m1.250s"


@pytest.mark.parametrize(
    ("text", "usage"),
    [
        (f"processes 1000;processes 5000;{OWN};{COMMANDS};", Usage(5000, "processes", 0, 63.75)),
        # A control group is exact about CPU time, also of processes that nobody waited for.
        (f"group 4096;{OWN};{COMMANDS};peak 8192;cpu_usec 70000000;", Usage(4096, "group", 8192, 70.0)),
        (f"group 4096;{OWN};{COMMANDS};peak 8192;cpu_nsec 70500000000;", Usage(4096, "group", 8192, 70.5)),
        # Another locale; a command that was over before anybody looked.
        ("0m0,004s 0m0,006s;0m1,500s 0m0,000s;", Usage(cpu=1.5)),
        # Everything was killed, or only the end has come.
        ("processes 1000;processes 50", Usage(1000, "processes")),
        ("sses 77;processes 1000", Usage(1000, "processes")),
        # The shell's own time is no command's.
        (f"processes 1000;{OWN};", Usage(1000, "processes")),
    ],
)
def test_what_is_noted_is_read(text: str, usage: Usage) -> None:
    assert read_usage(text) == usage


@pytest.mark.parametrize(
    "text",
    [
        "",
        ";;;",
        "memory 5",
        "processes",
        "processes -1",
        "processes 1e9",
        "processes 0",
        "processes ٣",
        "processes 99999999999999999999",
        "processes 9999999999999999999999999999",
        "group $(touch pwned)",
        "peak 70368744177665",
        "cpu_usec 99999999999999999999",
        "0m0.1s 0m0.1s;0m0.1s 0m0.1s",
        f"{OWN};9999999999m0.000s 0m0.000s;9m0.00s",
        "\ufffd\x00\x1b[2J",
        "x" * 100_000,
    ],
)
def test_what_cannot_be_true_is_not_believed(text: str) -> None:
    assert read_usage(text) is None


def test_rubbish_beside_it_does_not_spoil_what_is_noted() -> None:
    assert read_usage(f"\ufffd;group x;processes 5; {OWN};{COMMANDS};rm -rf /") == Usage(5, "processes", 0, 63.75)
