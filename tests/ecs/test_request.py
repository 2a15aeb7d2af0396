"""Requests to ECS: checked against botocore's own model of the API, and in what tells them apart."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace

import botocore.loaders
import botocore.model
import botocore.validate
import pytest

from airflow_wdl_ecs.ecs.request import (
    MOST_OVERRIDES,
    SCRIPT_VARIABLE,
    attempt_prefix,
    client_token,
    log_stream,
    may_travel,
    run_task,
    started_by,
    task_definition,
)
from airflow_wdl_ecs.ecs.resources import TaskSize
from airflow_wdl_ecs.ecs.staging import END
from airflow_wdl_ecs.task import CallIdentity, StageIn, TaskRequest

from .test_settings import COMPLETE

SETTINGS = replace(
    COMPLETE,
    region="eu-west-1",
    security_groups=("sg-1",),
    tags={"team": "a"},
    spot_capacity_providers=("FARGATE_SPOT",),
)
IDENTITY = CallIdentity("d", "r", "align.sort", (0, 3), 2)
REQUEST = TaskRequest(IDENTITY, 1, "ubuntu:22.04", "echo hi", "/wdl/abc-1", "s3://b/p/1/")
MODEL = botocore.model.ServiceModel(botocore.loaders.Loader().load_service_model("ecs", "service-2"))


def problems(operation: str, arguments: dict) -> str:
    shape = MODEL.operation_model(operation).input_shape
    return botocore.validate.ParamValidator().validate(arguments, shape).generate_report()


def containers(definition) -> dict[str, dict]:
    return {container["name"]: container for container in definition.arguments["containerDefinitions"]}


@pytest.mark.parametrize(
    "settings",
    [
        SETTINGS,
        replace(SETTINGS, launch_type="EC2", spot_capacity_providers=(), subnets=()),
        replace(SETTINGS, capacity_providers=("FARGATE:1:2", "FARGATE_SPOT:4")),
        replace(SETTINGS, staging_tool="s5cmd", cpu_architecture="ARM64"),
        replace(SETTINGS, registry_credentials={"docker.io": "arn:aws:secretsmanager:eu-west-1:1:secret:x"}),
        replace(
            SETTINGS,
            launch_type="EC2",
            spot_capacity_providers=(),
            placement_constraints=("distinctInstance", "attribute:ecs.instance-type =~ r6i.*"),
            placement_strategies=("spread:attribute:ecs.availability-zone", "binpack:memory", "random"),
        ),
        replace(
            SETTINGS,
            mounts={
                "/refs": "efs://fs-0a1b2c3d/genomes?iam=true",
                "/panels": "efs://fs-0a1b2c3d?access_point=fsap-0a1b2c3d",
                "/plain": "efs://fs-4e5f6a7b?tls=false&write=true",
            },
        ),
        replace(
            SETTINGS,
            launch_type="EC2",
            spot_capacity_providers=(),
            mounts={"/scratch": "host:///mnt/fsx?write=true"},
        ),
        replace(SETTINGS, ebs_role_arn="arn:aws:iam::1:role/i", ebs_kms_key="k", ebs_iops=6000, ebs_throughput=500),
    ],
)
def test_requests_are_what_the_api_takes(settings):
    assert problems("RegisterTaskDefinition", dict(task_definition("i", settings, gpu=1, ebs=True).arguments)) == ""
    for size in (TaskSize(1024, 2048, 50), TaskSize(1024, 2048, gpu=1, ebs=500, instances=("g5.*",))):
        assert problems("RunTask", run_task(REQUEST, size, settings, definition="f:1")) == ""


def test_the_command_alone_sees_shared_file_systems():
    mounts = {"/refs/": "efs://fs-0a1b2c3d/genomes", "/scratch": "host:///mnt/fsx?write=true"}
    definition = task_definition("i", replace(SETTINGS, launch_type="EC2", spot_capacity_providers=(), mounts=mounts))
    found = containers(definition)
    assert found["command"]["mountPoints"][1:] == [
        {"sourceVolume": "shared-0", "containerPath": "/refs", "readOnly": True},
        {"sourceVolume": "shared-1", "containerPath": "/scratch", "readOnly": False},
    ]
    assert [len(found[name]["mountPoints"]) for name in ("stage-in", "stage-out")] == [1, 1]
    assert definition.arguments["volumes"][1:] == [
        {
            "name": "shared-0",
            "efsVolumeConfiguration": {
                "fileSystemId": "fs-0a1b2c3d",
                "rootDirectory": "/genomes",
                "transitEncryption": "ENABLED",
            },
        },
        {"name": "shared-1", "host": {"sourcePath": "/mnt/fsx"}},
    ]
    assert definition.family != task_definition("i", replace(SETTINGS, mounts={})).family


def test_the_three_containers_hang_together_as_ecs_demands():
    found = containers(task_definition("ubuntu:22.04", SETTINGS))
    assert list(found) == ["stage-in", "command", "stage-out"]
    # SUCCESS and COMPLETE are refused for a dependency on an essential container.
    assert [c["essential"] for c in found.values()] == [False, False, True]
    assert found["command"]["dependsOn"] == [{"containerName": "stage-in", "condition": "SUCCESS"}]
    assert found["stage-out"]["dependsOn"] == [{"containerName": "command", "condition": "COMPLETE"}]
    assert found["command"]["entryPoint"] == ["bash"]
    assert found["command"]["image"] == "ubuntu:22.04"
    assert {c["mountPoints"][0]["containerPath"] for c in found.values()} == {"/wdl"}
    # startTimeout would bound the whole run of a dependency.
    assert not any("startTimeout" in c for c in found.values())
    assert found["command"]["logConfiguration"]["options"]["awslogs-region"] == "eu-west-1"


def test_definitions_are_the_same_exactly_for_equal_content():
    family = task_definition("a", SETTINGS).family
    assert family == task_definition("a", replace(SETTINGS, cluster="other", poll_fastest=9)).family
    others = [
        task_definition("b", SETTINGS),
        task_definition("a", SETTINGS, gpu=1),
        task_definition("a", SETTINGS, ebs=True),
        task_definition("a", replace(SETTINGS, registry_credentials={"docker.io": "x"})),
        task_definition("a", replace(SETTINGS, task_role_arn="arn:aws:iam::1:role/x")),
        task_definition("a", replace(SETTINGS, staging_tool="s5cmd")),
        task_definition("a", replace(SETTINGS, container_root="/scratch")),
        task_definition("a", replace(SETTINGS, stop_timeout=60)),
    ]
    assert len({family, *(other.family for other in others)}) == 9
    assert len(family) <= 255


def test_what_differs_per_attempt_is_in_the_overrides_and_is_short():
    inputs = tuple(StageIn(f"s3://b/{n}", f"/wdl/abc-1/inputs/{n}") for n in range(1000))
    request = replace(REQUEST, command="x" * 20_000, inputs=inputs, environment={"A": "y" * 20_000})
    arguments = run_task(request, TaskSize(2048, 5120, 50), SETTINGS, definition="f:1")
    overrides = arguments["overrides"]
    assert len(str(overrides)) < 8192
    assert (overrides["cpu"], overrides["memory"]) == ("2048", "5120")
    assert overrides["ephemeralStorage"] == {"sizeInGiB": 50}
    command = next(c for c in overrides["containerOverrides"] if c["name"] == "command")
    assert command == {"name": "command", "command": ["/wdl/abc-1/run.sh"]}
    assert "ephemeralStorage" not in run_task(request, TaskSize(1024, 2048), SETTINGS, definition="f")["overrides"]


def test_where_a_task_runs():
    def ask(settings, spot=False):
        return run_task(REQUEST, TaskSize(1024, 2048), settings, definition="f", spot=spot)

    assert ask(SETTINGS)["launchType"] == "FARGATE"
    assert ask(SETTINGS, spot=True)["capacityProviderStrategy"] == [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]
    strategy = replace(SETTINGS, capacity_providers=("FARGATE:1:2", "FARGATE_SPOT:4"), spot_capacity_providers=())
    assert ask(strategy, spot=True)["capacityProviderStrategy"] == [
        {"capacityProvider": "FARGATE", "weight": 1, "base": 2},
        {"capacityProvider": "FARGATE_SPOT", "weight": 4},
    ]
    assert "launchType" not in ask(strategy)
    assert ask(SETTINGS)["networkConfiguration"]["awsvpcConfiguration"] == {
        "subnets": ["subnet-1"],
        "securityGroups": ["sg-1"],
        "assignPublicIp": "DISABLED",
    }
    ec2 = replace(SETTINGS, launch_type="EC2", subnets=(), spot_capacity_providers=())
    assert "networkConfiguration" not in ask(ec2)
    assert task_definition("i", ec2).arguments["networkMode"] == "bridge"


def test_tokens_tell_attempts_apart_and_callers_do_not():
    tokens = {
        client_token(REQUEST),
        client_token(replace(REQUEST, attempt=2)),
        client_token(REQUEST, scope="t"),
        *(
            client_token(replace(REQUEST, identity=replace(IDENTITY, **change)))
            for change in ({"shard": (0,)}, {"shard": (3, 0)}, {"run_id": "r2"}, {"call": "align"})
        ),
    }
    assert len(tokens) == 7
    assert all(len(token) <= 64 for token in tokens)
    assert client_token(REQUEST) == client_token(replace(REQUEST, command="other"))
    # A try whose host died before it could record the attempt has started it for the next one.
    assert client_token(REQUEST) == client_token(replace(REQUEST, identity=replace(IDENTITY, try_number=3)))
    assert started_by("d", "r", "c") != started_by("d", "r", "c", "scope")
    assert len(started_by("d" * 300, "r", "c")) <= 128


def test_a_described_task_says_which_attempt_it_is():
    overrides = run_task(REQUEST, TaskSize(1024, 2048), SETTINGS, definition="f")["overrides"]
    assert attempt_prefix({"overrides": overrides}) == "s3://b/p/1/"
    assert attempt_prefix({"overrides": {}}) is None
    assert log_stream("arn:aws:ecs:eu-west-1:1:task/c/abc") == "wdl/command/abc"


def test_tags_take_only_what_aws_takes():
    request = replace(REQUEST, identity=replace(IDENTITY, run_id="a|b" + "é" * 300))
    tags = run_task(request, TaskSize(1024, 2048), SETTINGS, definition="f")["tags"]
    run = next(tag["value"] for tag in tags if tag["key"] == "wdl:run")
    assert run.startswith("a_bé")
    assert len(run) == 256


def test_a_task_has_its_own_tags_and_those_of_its_definition_and_no_key_twice():
    run_tags = {"project": "p17", "team": "b"}
    settings = replace(SETTINGS, tags={"team": "a", "cost-centre": "42"}, ebs_role_arn="arn:aws:iam::1:role/i")

    def tags_of(tags):
        arguments = run_task(REQUEST, TaskSize(1024, 2048, ebs=500), settings, definition="f", tags=tags)
        assert (arguments["propagateTags"], arguments["enableECSManagedTags"]) == ("TASK_DEFINITION", True)
        defined = task_definition("i", settings, tags=tags).arguments.get("tags", [])
        volume = arguments["volumeConfigurations"][0]["managedEBSVolume"]["tagSpecifications"][0]["tags"]
        return [{tag["key"]: tag["value"] for tag in tags} for tags in (defined, arguments["tags"], volume)]

    identity = {"wdl:dag": "d", "wdl:run": "r", "wdl:call": "align.sort", "wdl:shard": "0.3"}
    assert tags_of({}) == [settings.tags, identity, {**settings.tags, **identity}]
    assert tags_of(run_tags) == [
        {"cost-centre": "42"},
        {**run_tags, **identity},
        {"cost-centre": "42", **run_tags, **identity},
    ]
    untagged = task_definition("i", replace(settings, tags={}))
    assert "tags" not in untagged.arguments
    assert task_definition("i", replace(settings, tags={}), tags=run_tags) == untagged, "runs share definitions"


def test_scripts_travel_with_the_request_as_far_as_ecs_takes_them():
    size, scripts = TaskSize(1024, 2048), {"stage-in": "é" * 900, "stage-out": "'" * 900}
    assert may_travel(REQUEST, size, scripts)
    overrides = run_task(REQUEST, size, SETTINGS, definition="f", scripts=scripts)["overrides"]
    assert len(json.dumps(overrides)) <= MOST_OVERRIDES
    given = {
        container["name"]: variable["value"]
        for container in overrides["containerOverrides"]
        for variable in container.get("environment", ())
        if variable["name"] == SCRIPT_VARIABLE
    }
    assert given == scripts
    assert not may_travel(REQUEST, size, {**scripts, "stage-in": "é" * 1300}), "six characters of JSON each"


@pytest.mark.parametrize("stage", ["stage-in", "stage-out"])
@pytest.mark.parametrize("tool", ["aws", "s5cmd"])
def test_a_stage_runs_the_script_that_it_is_given(stage, tool):
    boot = containers(task_definition("i", replace(SETTINGS, staging_tool=tool)))[stage]["command"]
    script = f"declare -F again put_file run_stage >/dev/null && echo ran >&2\nexit 3\n{END}\n"
    environment = {"PATH": os.environ["PATH"], "WDL_STAGE_SCRIPT": script}
    done = subprocess.run(["bash", *boot], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (3, "ran\n")


@pytest.mark.parametrize("stage", ["stage-in", "stage-out"])
@pytest.mark.parametrize("tool", ["aws", "s5cmd"])
@pytest.mark.parametrize(
    ("answers", "code", "said"),
    [
        ("whole", 3, "ran"),
        ("half none whole", 3, "ran"),
        ("none half " * 9, 1, "the script of this stage did not arrive"),
    ],
)
def test_a_stage_runs_its_script_whole_or_not_at_all(tmp_path, tool, stage, answers, code, said):
    script = f"echo ran >&2\nexit 3\n{END}\n"
    (tmp_path / "whole").write_text(script)
    (tmp_path / "half").write_text(script[:-6])
    (tmp_path / "answers").write_text("\n".join(answers.split()) + "\n")
    stub = '#!/bin/bash\ncd "$STUBS"; { read -r answer; rest=$(cat); } <answers; echo "$rest" >answers; cat "$answer"\n'
    for name, text in ((tool, stub), ("sleep", "#!/bin/bash\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    boot = containers(task_definition("i", replace(SETTINGS, staging_tool=tool)))[stage]["command"]
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "STUBS": str(tmp_path), "WDL_STAGE_SCRIPT": "s3://b/x"}
    done = subprocess.run(["bash", *boot], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (code, said)


def test_a_large_disk_is_a_volume_that_ecs_makes_and_deletes():
    settings = replace(SETTINGS, ebs_role_arn="arn:aws:iam::1:role/i", ebs_throughput=500)
    assert task_definition("i", settings, ebs=True).arguments["volumes"] == [
        {"name": "wdl", "configuredAtLaunch": True}
    ]
    assert task_definition("i", settings).arguments["volumes"] == [{"name": "wdl", "host": {}}]
    arguments = run_task(REQUEST, TaskSize(1024, 2048, ebs=500), settings, definition="f")
    (configuration,) = arguments["volumeConfigurations"]
    volume = configuration["managedEBSVolume"]
    assert configuration["name"] == "wdl"
    assert (volume["sizeInGiB"], volume["roleArn"], volume["throughput"]) == (500, "arn:aws:iam::1:role/i", 500)
    assert volume["terminationPolicy"] == {"deleteOnTermination": True}
    assert {"key": "wdl:dag", "value": "d"} in volume["tagSpecifications"][0]["tags"]
    assert not {"iops", "kmsKeyId"} & set(volume)
    assert "ephemeralStorage" not in arguments["overrides"]
    assert "volumeConfigurations" not in run_task(REQUEST, TaskSize(1024, 2048), settings, definition="f")


def test_where_on_ec2_a_task_is_put():
    settings = replace(
        SETTINGS,
        launch_type="EC2",
        spot_capacity_providers=(),
        placement_constraints=("distinctInstance", "attribute:team == a"),
        placement_strategies=("spread : attribute:ecs.availability-zone", "random"),
    )
    arguments = run_task(REQUEST, TaskSize(1024, 2048, instances=("g4dn.*", "g5.*")), settings, definition="f")
    assert arguments["placementConstraints"] == [
        {"type": "distinctInstance"},
        {"type": "memberOf", "expression": "attribute:team == a"},
        {
            "type": "memberOf",
            "expression": "attribute:ecs.instance-type =~ g4dn.* or attribute:ecs.instance-type =~ g5.*",
        },
    ]
    assert arguments["placementStrategy"] == [
        {"type": "spread", "field": "attribute:ecs.availability-zone"},
        {"type": "random"},
    ]
    plain = run_task(REQUEST, TaskSize(1024, 2048), SETTINGS, definition="f")
    assert not {"placementConstraints", "placementStrategy"} & set(plain)


def test_private_images_are_pulled_with_their_credentials():
    settings = replace(SETTINGS, registry_credentials={"registry.example.org": "arn:secret"})
    found = containers(task_definition("registry.example.org/a:1", settings))
    assert found["command"]["repositoryCredentials"] == {"credentialsParameter": "arn:secret"}
    assert "repositoryCredentials" not in found["stage-in"]
    own = replace(settings, staging_image="registry.example.org/aws-cli:2")
    assert "repositoryCredentials" in containers(task_definition("ubuntu", own))["stage-out"]
