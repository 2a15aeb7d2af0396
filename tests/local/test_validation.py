"""What RegisterTaskDefinition and RunTask reject, without a server."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from airflow_wdl_ecs.local.validation import (
    ApiError,
    check_overrides,
    check_run_task,
    check_task_definition,
    check_volumes,
    cpu_units,
    memory_mib,
)

GOOD: dict[str, Any] = {
    "family": "f",
    "requiresCompatibilities": ["FARGATE"],
    "networkMode": "awsvpc",
    "cpu": "256",
    "memory": "512",
    "volumes": [{"name": "v"}],
    "containerDefinitions": [
        {"name": "a", "image": "i", "essential": False, "mountPoints": [{"sourceVolume": "v", "containerPath": "/v"}]},
        {"name": "b", "image": "i", "dependsOn": [{"containerName": "a", "condition": "SUCCESS"}]},
    ],
}


def log(**options: str) -> dict[str, Any]:
    return {"logDriver": "awslogs", "options": {name.replace("_", "-"): value for name, value in options.items()}}


def of(index: int, **more: Any) -> Callable[[dict[str, Any]], None]:
    return lambda request: request["containerDefinitions"][index].update(more)


def top(**more: Any) -> Callable[[dict[str, Any]], None]:
    return lambda request: request.update(more)


def efs(**more: Any) -> Callable[[dict[str, Any]], None]:
    return top(volumes=[{"name": "v", "efsVolumeConfiguration": {"fileSystemId": "fs-1", **more}}])


def test_a_good_definition_passes() -> None:
    check_task_definition(GOOD)


def test_task_level_memory_alone_is_enough_on_ec2_too() -> None:
    check_task_definition({**GOOD, "requiresCompatibilities": ["EC2"], "networkMode": "bridge", "cpu": None})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (top(family=""), "Family"),
        (top(containerDefinitions=[]), "empty"),
        (of(1, name="a"), "unique"),
        (of(0, image=""), "image"),
        (of(1, dependsOn=[{"containerName": "x", "condition": "START"}]), "does not exist"),
        (of(1, dependsOn=[{"containerName": "a", "condition": "HEALTHY"}]), "HEALTHY"),
        (of(0, dependsOn=[{"containerName": "b", "condition": "START"}]), "cycle"),
        (of(0, dependsOn=[{"containerName": "b", "condition": "SUCCESS"}]), "essential"),
        (of(0, essential=True), "essential container 'a'"),
        (of(1, essential=False), "at least one essential"),
        (of(0, mountPoints=[{"sourceVolume": "w", "containerPath": "/v"}]), "Unknown volume 'w'"),
        (of(0, mountPoints=[{"sourceVolume": "v", "containerPath": "v"}]), "absolute"),
        (of(0, stopTimeout=121), "stopTimeout"),
        (of(0, privileged=True), "privileged"),
        (of(0, secrets=[{"name": "s", "valueFrom": "x"}]), "secrets"),
        (of(0, logConfiguration=log(awslogs_group="g", awslogs_region="r")), "awslogs-stream-prefix"),
        (of(0, logConfiguration={"logDriver": "splunk"}), "awslogs"),
        (top(cpu=None), "cpu"),
        (top(memory=None), "memory"),
        (top(memory="4096"), "No Fargate configuration"),
        (top(cpu="300"), "No Fargate configuration"),
        (top(networkMode="bridge"), "awsvpc"),
        (top(ephemeralStorage={"sizeInGiB": 20}), "Ephemeral storage"),
        (top(volumes=[{"name": "v"}, {"name": "v"}]), "unique"),
        (top(volumes=[{"name": "v", "configuredAtLaunch": True, "host": {"sourcePath": "/x"}}]), "together with host"),
        (top(volumes=[{"name": n, "configuredAtLaunch": True} for n in "vw"]), "Only one volume"),
        (
            top(volumes=[{"name": "v", "efsVolumeConfiguration": {"fileSystemId": "x"}}]),
            "EFS file system id is invalid",
        ),
        (efs(authorizationConfig={"iam": "ENABLED"}), "transit encryption must be enabled"),
        (efs(authorizationConfig={"accessPointId": "fsap-1"}, rootDirectory="/a"), "rootDirectory must be omitted"),
        (top(volumes=[{"name": "v", "dockerVolumeConfiguration": {"scope": "task"}}]), "no dockerVolumeConfiguration"),
    ],
)
def test_a_bad_definition_is_rejected(change: Callable[[dict[str, Any]], None], message: str) -> None:
    request = copy.deepcopy(GOOD)
    change(request)
    with pytest.raises(ApiError, match=message) as error:
        check_task_definition(request)
    assert error.value.status == 400


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"count": 11}, "count"),
        ({"count": 0}, "count"),
        ({"startedBy": "x" * 129}, "startedBy"),
        ({"overrides": {"containerOverrides": [{"name": "a", "command": ["x" * 8192]}]}}, "8192"),
        ({"launchType": "FARGATE", "capacityProviderStrategy": [{"capacityProvider": "FARGATE"}]}, "launch type"),
        ({"clientToken": "x" * 65}, "clientToken"),
        ({"tags": [{"key": str(i), "value": ""} for i in range(51)]}, "tags"),
        ({"tags": [{"key": "a", "value": "1"}, {"key": "a", "value": "2"}]}, "Duplicate tag keys"),
        ({"tags": [{"key": "a", "value": "R&D"}]}, "not permitted"),
        ({"tags": [{"key": "k" * 129, "value": ""}]}, "too long"),
        ({"tags": [{"key": "AWS:x", "value": ""}]}, "must not begin with aws:"),
        ({"propagateTags": "SERVICE"}, "propagateTags"),
        ({"overrides": {"ephemeralStorage": {"sizeInGiB": 201}}}, "Ephemeral storage"),
        ({"launchType": "FARGATE", "placementStrategy": [{"type": "random"}]}, "not supported with FARGATE"),
        (
            {
                "capacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT"}],
                "placementConstraints": [{"type": "distinctInstance"}],
            },
            "not supported with FARGATE",
        ),
        ({"placementConstraints": [{"type": "memberOf"}]}, "expression"),
        ({"placementConstraints": [{"type": "near"}]}, "Unknown placement constraint"),
        ({"placementStrategy": [{"type": "pile"}]}, "Unknown placement strategy"),
        ({"placementStrategy": [{"type": "random"}] * 6}, "At most"),
    ],
)
def test_a_bad_run_task_is_rejected(request_: dict[str, Any], message: str) -> None:
    with pytest.raises(ApiError, match=message):
        check_run_task(request_)


def test_the_limits_themselves_are_allowed() -> None:
    check_run_task({"count": 10, "startedBy": "x" * 128, "clientToken": "x" * 64})
    check_run_task({"placementStrategy": [{"type": "spread", "field": "host"}] * 5, "launchType": "EC2"})


VOLUME = {"roleArn": "arn:aws:iam::1:role/i", "sizeInGiB": 16384}
LATE = [{"name": "v", "configuredAtLaunch": True}, {"name": "w", "host": {}}]


def test_a_volume_that_is_configured_at_launch_is() -> None:
    check_volumes({"volumeConfigurations": [{"name": "v", "managedEBSVolume": VOLUME}]}, LATE)
    check_volumes({}, [{"name": "w", "host": {}}])


@pytest.mark.parametrize(
    ("configurations", "message"),
    [
        ([], "names none"),
        ([{"name": "w", "managedEBSVolume": VOLUME}], "names"),
        ([{"name": "v"}], "roleArn"),
        ([{"name": "v", "managedEBSVolume": {**VOLUME, "sizeInGiB": 16385}}], "1 to 16384 GiB"),
        ([{"name": "v", "managedEBSVolume": {**VOLUME, "volumeType": "st1", "sizeInGiB": 100}}], "125 to"),
        ([{"name": "v", "managedEBSVolume": {**VOLUME, "volumeType": "io2"}}], "iops"),
    ],
)
def test_a_volume_that_is_not_as_it_was_announced(configurations: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ApiError, match=message):
        check_volumes({"volumeConfigurations": configurations}, LATE)


def test_an_override_of_an_unknown_container_is_rejected() -> None:
    check_overrides(["a"], {"containerOverrides": [{"name": "a"}]})
    with pytest.raises(ApiError, match="container named b"):
        check_overrides(["a"], {"containerOverrides": [{"name": "b"}]})


@pytest.mark.parametrize(("text", "units"), [("256", 256), ("1 vCPU", 1024), (".5 vCPU", 512), (2048, 2048)])
def test_cpu_units(text: str, units: int) -> None:
    assert cpu_units(text) == units


@pytest.mark.parametrize(("text", "mib"), [("512", 512), ("2 GB", 2048), ("0.5GB", 512)])
def test_memory(text: str, mib: int) -> None:
    assert memory_mib(text) == mib


@pytest.mark.parametrize("size", [cpu_units, memory_mib])
def test_a_size_that_is_none(size: Callable[[str], int]) -> None:
    with pytest.raises(ApiError, match="Invalid"):
        size("much")
