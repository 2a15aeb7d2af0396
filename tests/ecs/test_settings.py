"""The settings table: how text becomes settings, and what a deployer is told."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import fields, replace

import pytest

from airflow_wdl_ecs.ecs.settings import EcsSettings, describe_settings
from airflow_wdl_ecs.errors import SettingsError

COMPLETE = EcsSettings(
    cluster="c",
    workspace="s3://b/wdl",
    log_group="/wdl",
    subnets=("subnet-1",),
    task_role_arn="arn:aws:iam::1:role/t",
    execution_role_arn="arn:aws:iam::1:role/e",
)


def test_the_defaults_that_airflow_gives_as_text_are_read_as_what_they_are():
    shown = {info.name: info.default for info in describe_settings() if info.default is not None}
    assert shown["sensitive_inputs"] == "*password*, *secret*, *token*, *api_key*"
    assert EcsSettings.from_options(shown) == EcsSettings()


def test_options_are_read_by_their_kind():
    settings = EcsSettings.from_options(
        {
            "cluster": " genomics ",
            "subnets": "subnet-1, subnet-2",
            "security_groups": '["sg-1"]',
            "assign_public_ip": "Yes",
            "cpu": "0.5",
            "memory": "4096",
            "tags": "team=a, cost=1=2",
            "region": "",
            "not_ours": "x",
        }
    )
    assert settings.cluster == "genomics"
    assert settings.subnets == ("subnet-1", "subnet-2")
    assert settings.security_groups == ("sg-1",)
    assert settings.assign_public_ip is True
    assert (settings.cpu, settings.memory) == (0.5, 4096)
    assert settings.tags == {"team": "a", "cost": "1=2"}
    assert settings.region is None


def test_overrides_win_over_options():
    settings = EcsSettings.from_options({"cluster": "a", "subnets": "s-1"}, {"cluster": "b", "subnets": ["s-2"]})
    assert (settings.cluster, settings.subnets) == ("b", ("s-2",))


def test_every_unreadable_value_is_reported_at_once_with_its_name():
    with pytest.raises(SettingsError) as caught:
        EcsSettings.from_options({"cpu": "many", "assign_public_ip": "perhaps"}, {"clustr": "x", "tags": "oops"})
    text = str(caught.value)
    for part in ("AIRFLOW__WDL_ECS__CPU", "'many' is not a number", "true or false", "clustr; cluster?", "name=value"):
        assert part in text


def test_json_round_trip_keeps_what_was_set():
    settings = EcsSettings(cluster="c", subnets=("s",), tags={"a": "b"}, assign_public_ip=True, max_tasks=5)
    data = json.loads(json.dumps(settings.to_json()))
    assert EcsSettings.from_json(data) == settings
    assert "staging_image" not in data
    assert EcsSettings().to_json() == {}
    # What a DAG gives is laid over the deployment's settings, also where it is the default.
    assert EcsSettings(launch_type="FARGATE", subnets=()).to_json() == {"launch_type": "FARGATE", "subnets": []}
    assert EcsSettings.from_options({"launch_type": "EC2"}, {"launch_type": "FARGATE"}).launch_type == "FARGATE"
    assert pickle.loads(pickle.dumps(EcsSettings(cpu=2))).to_json() == {"cpu": 2}


def test_a_complete_deployment_passes():
    COMPLETE.check()
    replace(COMPLETE, launch_type="EC2", subnets=(), task_role_arn="", execution_role_arn="").check()
    replace(COMPLETE, capacity_providers=("FARGATE:1", "FARGATE_SPOT:3")).check()


def test_check_lists_everything_that_is_missing():
    with pytest.raises(SettingsError) as caught:
        EcsSettings().check()
    names = {problem.message.split()[0] for problem in caught.value.problems}
    assert names == {"cluster", "workspace", "log_group", "task_role_arn", "execution_role_arn", "subnets"}
    assert "AIRFLOW__WDL_ECS__CLUSTER" in str(caught.value)
    assert "EcsSettings(cluster=...)" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"workspace": "/data"}, "not an s3:// URI"),
        ({"launch_type": "MOON"}, "launch_type must be FARGATE or EC2"),
        ({"staging_tool": "rsync"}, "staging_tool must be aws or s5cmd"),
        ({"launch_type": "EC2", "assign_public_ip": True}, "for Fargate only"),
        ({"capacity_providers": ("FARGATE", "my-asg")}, "mix Fargate"),
        ({"launch_type": "EC2", "spot_capacity_providers": ("FARGATE_SPOT",)}, "mix Fargate"),
        ({"stop_timeout": 300}, "at most 120"),
        ({"container_root": "wdl"}, "absolute folder"),
        ({"memory": 0}, "memory must be more than 0"),
        ({"readable_prefixes": ("bucket",)}, "readable_prefixes"),
        ({"max_cpu": -1.0}, "max_cpu must be 0 or more"),
        ({"max_memory": 1024}, "memory is 2048, and max_memory is 1024"),
        ({"placement_strategies": ("random",)}, "placement_strategies is for EC2 only"),
        ({"placement_constraints": ("distinctInstance",)}, "placement_constraints is for EC2 only"),
        ({"launch_type": "EC2", "placement_strategies": ("binpack:disk",)}, "'binpack:disk' is none of random"),
        ({"launch_type": "EC2", "placement_strategies": ("pile",)}, "'pile' is none of random"),
        ({"ebs_role_arn": "a", "ebs_volume_type": "io2"}, "need ebs_iops"),
        ({"ebs_volume_type": "floppy"}, "ebs_volume_type must be gp2 or gp3"),
        ({"ebs_volume_type": "gp2", "ebs_throughput": 500}, "ebs_throughput is for gp3 only"),
        ({"ebs_volume_type": "st1", "ebs_iops": 500}, "ebs_iops is for gp3, io1 and io2"),
    ],
)
def test_contradictions_are_named(change, said):
    with pytest.raises(SettingsError, match=said):
        replace(COMPLETE, **change).check()


def test_every_setting_is_described():
    table = {info.name: info for info in describe_settings()}
    assert list(table) == [f.name for f in fields(EcsSettings)]
    assert all(info.help.endswith(".") for info in table.values())
    assert table["cpu"].type == "float"
    assert table["subnets"].default is None
    for info in table.values():
        if info.example:
            EcsSettings.from_options({info.name: info.example})


def test_importing_settings_imports_nothing_heavy():
    heavy = "{'boto3', 'botocore', 'airflow', 'WDL'}"
    code = f"import sys, airflow_wdl_ecs.ecs.settings; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
