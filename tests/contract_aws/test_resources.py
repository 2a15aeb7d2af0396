"""What a task's runtime attributes and the settings ask for is what DescribeTasks says that it has got."""

from __future__ import annotations

from typing import Any

import pytest

from .costs import planned
from .target import Target

pytestmark = [pytest.mark.contract, pytest.mark.local, pytest.mark.timeout(1200)]

TASK = """
version 1.1
task machine {
  command <<< uname -m >>>
  output { String machine = read_string(stdout()) }
  runtime { RUNTIME }
}
"""


async def machine(target: Target, runtime: str, **settings: Any) -> tuple[str, dict[str, Any]]:
    """What the command says of its machine, and what ECS says of the task."""
    found = await target.run(TASK.replace("RUNTIME", runtime), **settings)
    return found["machine"], target.describe(target.started[-1].arn)


@pytest.mark.parametrize(
    ("runtime", "cpu", "memory", "disk"),
    [
        pytest.param('cpu: 0.25  memory: "512 MiB"', "256", "512", None, marks=planned(1)),
        # The smallest sizes of Fargate that are enough.
        pytest.param('cpu: 0.3  memory: "700 MiB"', "512", "1024", None, marks=planned(1, cpu=512, memory=1024)),
        pytest.param(
            'cpu: 0.5  memory: "3 GiB"  disks: "local-disk 30 SSD"',
            "512",
            "3072",
            30,
            marks=planned(1, cpu=512, memory=3072, disk=30),
        ),
        pytest.param('cpu: 1  memory: "2 GB"', "1024", "2048", None, marks=planned(1, cpu=1024, memory=2048)),
    ],
)
async def test_sizes(target: Target, runtime: str, cpu: str, memory: str, disk: int | None) -> None:
    _, described = await machine(target, runtime)
    assert (described["cpu"], described["memory"]) == (cpu, memory)
    assert described["ephemeralStorage"]["sizeInGiB"] == (disk or 20)
    assert described["launchType"] == "FARGATE"


@planned(1)
async def test_arm(target: Target) -> None:
    said, described = await machine(target, "cpu: 0.25", cpu_architecture="ARM64")
    assert {"name": "ecs.cpu-architecture", "value": "arm64"} in described["attributes"]
    if target.embedded is None:
        assert said == "aarch64"


@planned(1)
async def test_x86(target: Target) -> None:
    _, described = await machine(target, "cpu: 0.25", cpu_architecture="X86_64")
    assert {"name": "ecs.cpu-architecture", "value": "x86_64"} in described["attributes"]


@planned(2)
async def test_preemptible_tasks_run_on_spot(target: Target) -> None:
    _, described = await machine(
        target, "preemptible: 1  maxRetries: 1", spot_capacity_providers=["FARGATE_SPOT"], spot_capacity_timeout=60
    )
    if target.embedded is None and described["capacityProviderName"] != "FARGATE_SPOT":
        pytest.skip("there is no Spot capacity at present, and on-demand capacity was taken")
    assert described["capacityProviderName"] == "FARGATE_SPOT"
