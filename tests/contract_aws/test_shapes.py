"""Every form that the package's requests to ECS take is one that botocore's model of ECS takes."""

from __future__ import annotations

import pytest

from airflow_wdl_ecs.ecs.request import run_task, task_definition
from airflow_wdl_ecs.ecs.resources import TaskSize
from airflow_wdl_ecs.ecs.settings import EcsSettings
from airflow_wdl_ecs.task import CallIdentity, TaskRequest

from .shapes import problems

BASE = {
    "region": "eu-west-1",
    "cluster": "wdl",
    "workspace": "s3://bucket/wdl",
    "log_group": "/wdl",
    "tags": {"team": "genomics + more"},
}
FARGATE = {
    "subnets": ["subnet-1", "subnet-2"],
    "security_groups": ["sg-1"],
    "task_role_arn": "arn:aws:iam::123456789012:role/task",
    "execution_role_arn": "arn:aws:iam::123456789012:role/execution",
}
EC2 = {
    "launch_type": "EC2",
    "placement_constraints": ["distinctInstance", "attribute:ecs.instance-type =~ m7.*"],
    "placement_strategies": ["spread:attribute:ecs.availability-zone", "binpack:memory", "random"],
}
EBS = {"ebs_role_arn": "arn:aws:iam::123456789012:role/ebs", "ebs_volume_type": "gp3", "ebs_iops": 4000}
FORMS = {
    "fargate": (FARGATE, TaskSize(256, 512)),
    "fargate with a disk": (FARGATE, TaskSize(1024, 8192, disk=100)),
    "arm": ({**FARGATE, "cpu_architecture": "ARM64"}, TaskSize(256, 512)),
    "a public address": ({**FARGATE, "assign_public_ip": True}, TaskSize(256, 512)),
    "capacity providers": ({**FARGATE, "capacity_providers": ["FARGATE:1:2", "FARGATE_SPOT:4"]}, TaskSize(256, 512)),
    "spot": ({**FARGATE, "spot_capacity_providers": ["FARGATE_SPOT"]}, TaskSize(256, 512)),
    "a volume": ({**FARGATE, **EBS, "ebs_throughput": 500}, TaskSize(256, 512, ebs=500)),
    "ec2": (EC2, TaskSize(128, 6)),
    "gpus": (EC2, TaskSize(4096, 16384, gpu=2, instances=("g5.*", "g6.*"))),
    "credentials": (
        {**FARGATE, "registry_credentials": {"docker.io": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:hub"}},
        TaskSize(256, 512),
    ),
}


def request() -> TaskRequest:
    return TaskRequest(
        identity=CallIdentity("dag", "run", "align.sort", (3,), 2),
        attempt=0,
        image="ubuntu:24.04",
        command="true",
        folder="/wdl/0123",
        prefix="s3://bucket/wdl/runs/dag/run/calls/align.sort/3/0/",
    )


@pytest.mark.parametrize(("options", "size"), FORMS.values(), ids=FORMS)
def test_the_package_asks_in_ecs_own_terms(options, size):
    settings = EcsSettings.from_options({}, {**BASE, **options})
    settings.check()
    definition = task_definition("ubuntu:24.04", settings, gpu=size.gpu, ebs=bool(size.ebs))
    assert problems("ecs", "RegisterTaskDefinition", definition.arguments) == []
    for spot in (False, True):
        asked = run_task(request(), size, settings, definition="wdl-0:1", spot=spot, scripts={"stage-in": "true"})
        assert problems("ecs", "RunTask", asked) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"launchType": "FARGATTE"}, "is none of"),
        ({"cluster": 7}, "Invalid type"),
        ({"overrides": {"cpus": "256"}}, "cpus"),
        ({"tags": [{"key": "a" * 129, "value": "b"}]}, "129 characters"),
        ({"tags": [{"key": "a?", "value": "b"}]}, "does not match"),
        ({"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["a"], "assignPublicIp": "YES"}}}, "is none of"),
    ],
)
def test_what_ecs_would_refuse_is_seen(wrong, said):
    (found,) = problems("ecs", "RunTask", {"taskDefinition": "a", **wrong})
    assert said in found
