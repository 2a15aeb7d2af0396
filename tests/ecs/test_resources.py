"""Runtime sections as sizes and policies: tables from the WDL specification, Cromwell's forms and Fargate's sizes."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_wdl_ecs.ecs.attributes import Policy, ignored_attributes, mount_points, policy_of, resources_of
from airflow_wdl_ecs.ecs.resources import (
    TaskSize,
    describe,
    fargate_pair,
    more_memory,
    rounding,
    size_of,
    with_time_limit,
)
from airflow_wdl_ecs.ecs.settings import EcsSettings
from airflow_wdl_ecs.errors import EvaluationError
from airflow_wdl_ecs.task import Resources

FARGATE = EcsSettings()
EC2 = EcsSettings(launch_type="EC2")


@pytest.mark.parametrize(
    ("memory", "mebibytes"),
    [
        ("2 GiB", 2048),
        ("2GiB", 2048),
        ("2 GB", 1908),
        ("1.5 Gi", 1536),
        ("512 MB", 489),
        ("512 MiB", 512),
        ("4G", 3815),
        (2147483648, 2048),
        ("2147483648", 2048),
        ("1048577", 2),
        ("1 B", 1),
        ("1 TiB", 1048576),
    ],
)
def test_memory_with_every_unit(memory, mebibytes):
    # Rounded up: a task must not get less than it asked for.
    assert resources_of({"memory": memory}).memory == mebibytes


@pytest.mark.parametrize(
    ("disks", "gibibytes"),
    [
        (100, 100),
        ("100", 100),
        ("100 GiB", 100),
        ("2048 MiB", 2),
        ("/mnt/data 10 GiB", 10),
        ("/mnt/data 10", 10),
        (["/mnt/a 10", "20 GiB"], 30),
        ("local-disk 100 SSD", 100),
        ("local-disk 100 HDD, /mnt/x 50 SSD", 150),
        ("local-disk 375 LOCAL", 375),
        ("1 TiB", 1024),
    ],
)
def test_disks_in_the_forms_of_the_specification_and_of_cromwell(disks, gibibytes):
    assert resources_of({"disks": disks}).disk == gibibytes * 1024


def test_other_attributes():
    assert resources_of({"cpu": "2"}).cpu == 2
    assert resources_of({"cpu": 0.5}).cpu == 0.5
    assert resources_of({"disk": "50 GiB", "bootDiskSizeGb": 10}).disk == 60 * 1024
    assert resources_of({"gpu": True}).gpu == 1
    assert resources_of({"gpu": False}).gpu == 0
    assert resources_of({"gpuCount": 2, "gpuType": "nvidia"}) == Resources(gpu=2, gpu_type="nvidia")
    assert resources_of({"acceleratorCount": "2", "acceleratorType": "t4"}) == Resources(gpu=2, gpu_type="t4")
    assert resources_of({"gpuType": "t4"}).gpu == 1, "as with Cromwell"
    assert resources_of({"gpuType": "t4", "gpu": False}).gpu == 0
    assert resources_of({"gpuType": "t4", "gpuCount": 0}).gpu == 0
    assert resources_of({"docker": "x", "cpu": None, "memory": None, "disks": None}) == Resources()


@pytest.mark.parametrize(
    "runtime", [{"memory": "lots"}, {"cpu": "many"}, {"disks": "big disk"}, {"memory": True}, {"gpuCount": "x"}]
)
def test_what_cannot_be_read_names_its_attribute(runtime):
    with pytest.raises(EvaluationError, match=next(iter(runtime))):
        resources_of(runtime)


def test_a_policy_that_cannot_be_read_names_its_attribute():
    with pytest.raises(EvaluationError, match="maxRetries"):
        policy_of({"maxRetries": "x"})


@pytest.mark.parametrize(
    ("runtime", "success"),
    [
        ({}, (0,)),
        ({"return_codes": "*"}, None),
        ({"returnCodes": 3}, (3,)),
        ({"returnCodes": [0, 5]}, (0, 5)),
        ({"continueOnReturnCode": True}, None),
        ({"continueOnReturnCode": False}, (0,)),
        ({"continueOnReturnCode": [0, 1]}, (0, 1)),
        ({"continueOnReturnCode": "true"}, None),
    ],
)
def test_exit_codes_of_success(runtime, success):
    assert policy_of(runtime).success == success


def test_retries():
    assert policy_of({"maxRetries": 2, "preemptible": "3"}) == Policy((0,), 2, 3)
    assert policy_of({"max_retries": 1, "preemptible": True}) == Policy((0,), 1, 1)
    assert Policy(None).succeeded(77)
    assert not Policy(None).succeeded(-1), "a command that was stopped, and left no exit code"
    assert not Policy((0, 2)).succeeded(1)


def test_attributes_of_other_engines_are_named():
    assert ignored_attributes({"cpu": 1, "zones": "us", "docker": "x", "dx_timeout": "1H"}) == ("zones", "dx_timeout")


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        (Resources(), TaskSize(1024, 2048)),
        (Resources(cpu=0.25, memory=256), TaskSize(256, 512)),
        (Resources(cpu=1, memory=1024), TaskSize(1024, 2048)),
        (Resources(cpu=1, memory=2049), TaskSize(1024, 3072)),
        (Resources(cpu=1, memory=9000), TaskSize(2048, 9216)),
        (Resources(cpu=3, memory=1024), TaskSize(4096, 8192)),
        (Resources(cpu=8, memory=17000), TaskSize(8192, 20480)),
        (Resources(cpu=1, memory=120000), TaskSize(16384, 122880)),
        (Resources(cpu=16, memory=33000), TaskSize(16384, 40960)),
        (Resources(disk=10 * 1024), TaskSize(1024, 2048)),
        (Resources(disk=20 * 1024 + 1), TaskSize(1024, 2048, 21)),
        (Resources(disk=200 * 1024), TaskSize(1024, 2048, 200)),
    ],
)
def test_fargate_gives_the_smallest_size_that_is_enough(asked, given):
    assert size_of(asked, FARGATE) == given


@pytest.mark.parametrize(
    "asked", [Resources(cpu=17), Resources(memory=130000), Resources(disk=201 * 1024), Resources(gpu=1)]
)
def test_what_fargate_does_not_have(asked):
    with pytest.raises(EvaluationError, match="Fargate") as caught:
        size_of(asked, FARGATE)
    assert "EC2" in caught.value.hint


def test_ec2_gives_what_is_asked_for():
    assert size_of(Resources(cpu=3, memory=1000, disk=999999, gpu=2), EC2) == TaskSize(3072, 1000, None, 2)
    assert size_of(Resources(cpu=0.01, memory=1), EC2) == TaskSize(128, 6)


@given(st.integers(1, 16384), st.integers(1, 122880))
def test_a_fargate_size_is_never_less_than_asked(cpu, memory):
    pair = fargate_pair(cpu, memory)
    assert pair is not None
    assert pair[0] >= cpu
    assert pair[1] >= memory


def test_more_memory_after_too_little():
    assert more_memory(2048, Policy(memory_factor=1.5), FARGATE) == 3072
    assert more_memory(100000, Policy(), FARGATE) == 122880
    assert more_memory(100000, Policy(), EC2) == 200000
    assert more_memory(2048, Policy(memory_factor=1.0), EC2) == 2048


def test_more_memory_has_a_limit():
    limited = replace(EC2, out_of_memory_limit=6000)
    assert [more_memory(given, Policy(), limited) for given in (2048, 4096, 6000, 8000)] == [4096, 6000, 6000, 8000]


@pytest.mark.parametrize("name", ["max_memory", "maxMemory"])
def test_a_task_says_up_to_where_its_memory_grows(name):
    policy = policy_of({name: "6000 MiB", "memory_retry_multiplier": 1e300})
    assert [more_memory(given, policy, EC2) for given in (2048, 6000, 8000)] == [6000, 6000, 8000]
    assert more_memory(2048, policy, replace(EC2, out_of_memory_limit=5000)) == 5000
    assert policy_of({name: 1024 * 1024 * 1024}).memory_limit == 1024
    assert ignored_attributes({name: 2}) == ()
    assert more_memory(2048, policy_of({"memory_retry_multiplier": 1e308}), EC2) == 64 * 1024 * 1024
    with pytest.raises(EvaluationError, match=f"{name}: 'much' is not a quantity"):
        policy_of({name: "much"})


@pytest.mark.parametrize("value", ["inf", "nan", "1e999", float("inf"), 10**400])
@pytest.mark.parametrize("name", ["cpu", "memory", "disks", "bootDiskSizeGb", "gpuCount"])
def test_what_is_no_finite_number_names_its_attribute(name, value):
    with pytest.raises(EvaluationError, match=name):
        resources_of({name: value})


@pytest.mark.parametrize("name", ["memory_retry_multiplier", "memoryRetryMultiplier"])
def test_a_task_says_by_how_much_its_memory_grows(name):
    assert policy_of({name: 1.25}).memory_factor == 1.25
    assert policy_of({name: "3"}).memory_factor == 3
    assert ignored_attributes({name: 2}) == ()
    with pytest.raises(EvaluationError, match=f"{name} is to be 1 or more"):
        policy_of({name: 0.5})


def test_what_is_given_beyond_what_was_asked_is_explained():
    def why(settings, **asked):
        return rounding(Resources(**asked), size_of(Resources(**asked), settings), settings)

    assert why(FARGATE, cpu=1, memory=2048) == ""
    assert why(FARGATE, cpu=1, memory=9000) == "Fargate gives 2 vCPU with 4096 to 16384 MiB"
    assert why(FARGATE, cpu=0.1, memory=512) == "Fargate gives 0.25 vCPU with 512 to 2048 MiB"
    assert why(FARGATE, cpu=1, memory=2048, disk=5 * 1024) == "20 GiB of disk are there in any case"
    assert why(EC2, cpu=1, memory=2048, disk=5 * 1024) == "the disk is the EC2 instance's own"
    assert why(EC2, cpu=0.05, memory=64) == "ECS takes no less than 0.125 vCPU and 6 MiB"
    assert why(EC2, cpu=3, memory=5000) == ""


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (90, 5400),
        ("90", 5400),
        (0.5, 30),
        ("2h 30m", 9000),
        ("90 min", 5400),
        ("1 day", 86400),
        ("45s", 45),
        ("02:30", 9000),
        ("02:30:00", 9000),
        ("1-02:30:00", 95400),
        (0, 0),
        (-5, 0),
        (1e300, 366 * 86400),
    ],
)
@pytest.mark.parametrize("name", ["time_minutes", "timeMinutes", "maxTime"])
def test_how_long_a_command_may_take(name, given, seconds):
    policy = policy_of({name: given})
    assert (policy.time_limit, policy.time_source) == (seconds, name if seconds else "")
    assert ignored_attributes({name: given}) == ()


@pytest.mark.parametrize("given", ["long", True, [1], "nan", "1:2:3:4"])
def test_a_time_that_cannot_be_read_names_its_attribute(given):
    with pytest.raises(EvaluationError, match="time_minutes"):
        policy_of({"time_minutes": given})


@pytest.mark.parametrize(
    ("settings", "runtime", "limit"),
    [
        ({}, {}, (0, "")),
        ({}, {"time_minutes": 5}, (300, "time_minutes")),
        ({"time_limit": 10}, {}, (600, "the setting time_limit")),
        ({"time_limit": 10}, {"time_minutes": 60}, (3600, "time_minutes")),
        ({"max_time": 30}, {"time_minutes": 60}, (1800, "the setting max_time")),
        ({"max_time": 30}, {}, (1800, "the setting max_time")),
        ({"max_time": 30}, {"time_minutes": 5}, (300, "time_minutes")),
        ({"time_limits": False}, {"time_minutes": 5}, (0, "")),
        ({"time_limits": False, "max_time": 30}, {"time_minutes": 5}, (1800, "the setting max_time")),
    ],
)
def test_whose_time_limit_holds(settings, runtime, limit):
    policy = with_time_limit(policy_of(runtime), replace(EC2, **settings))
    assert (policy.time_limit, policy.time_source) == limit


EBS = replace(EC2, ebs_role_arn="arn:aws:iam::1:role/infrastructure")
EBS_FARGATE = replace(FARGATE, ebs_role_arn="arn:aws:iam::1:role/infrastructure")


@pytest.mark.parametrize(
    ("gibibytes", "settings", "disk", "ebs"),
    [
        (100, EBS, None, 100),
        (0, EBS, None, 0),
        (0, replace(EBS, disk=50), None, 50),
        (99, replace(EBS, ebs_from=100), None, 0),
        (100, replace(EBS, ebs_from=100), None, 100),
        (100, replace(EBS, ebs_volume_type="st1"), None, 125),
        (200, EBS_FARGATE, 200, 0),
        (201, EBS_FARGATE, None, 201),
        (100, replace(EBS_FARGATE, ebs_from=50), None, 100),
        (100, EC2, None, 0),
    ],
)
def test_large_disks_are_volumes_where_ecs_may_make_them(gibibytes, settings, disk, ebs):
    size = size_of(Resources(disk=gibibytes * 1024), settings)
    assert (size.disk, size.ebs) == (disk, ebs)


def test_a_volume_that_is_larger_than_was_asked_for_is_explained():
    settings = replace(EBS, ebs_volume_type="st1")
    asked = Resources(cpu=1, memory=2048, disk=100 * 1024)
    size = size_of(asked, settings)
    assert str(size) == "1 vCPU, 2048 MiB, 125 GiB EBS volume"
    assert rounding(asked, size, settings) == "an EBS volume of the type st1 has 125 GiB at least"
    assert rounding(replace(asked, disk=200 * 1024), replace(size, ebs=200), settings) == ""


@pytest.mark.parametrize(
    ("asked", "settings", "said", "hint"),
    [
        (Resources(cpu=8), replace(EC2, max_cpu=4), "8 vCPU, and this deployment gives 4 at most", "max_cpu"),
        (Resources(memory=9000), replace(FARGATE, max_memory=8192), "9000 MiB of memory", "max_memory"),
        (Resources(disk=300 * 1024), replace(EC2, max_disk=200), "300 GiB of disk", "max_disk"),
        (Resources(gpu=8), replace(EC2, max_gpu=4), "8 GPUs", "max_gpu"),
        (Resources(cpu=193), EC2, "193 vCPU, and ECS gives 192 at most", "ask for less"),
        (Resources(disk=16385 * 1024), EBS, "16385 GiB of disk, and an EBS volume has 16384", "disks"),
        (Resources(disk=201 * 1024), FARGATE, "Fargate gives 200 at most", "ebs_role_arn"),
        (Resources(gpu=1, gpu_type="abacus"), EC2, "of the type abacus", "nvidia-tesla-t4.*gpu_types"),
    ],
)
def test_what_cannot_be_met_says_what_could(asked, settings, said, hint):
    with pytest.raises(EvaluationError, match=said) as caught:
        size_of(asked, settings)
    assert re.search(hint, caught.value.hint)


def test_the_limits_themselves_are_given():
    limited = replace(EC2, max_cpu=4, max_memory=8192, max_disk=200, max_gpu=1)
    asked = Resources(cpu=4, memory=8192, disk=200 * 1024, gpu=1)
    assert size_of(asked, limited) == TaskSize(4096, 8192, gpu=1)
    assert more_memory(8000, Policy(), limited) == 8192
    assert more_memory(8192, Policy(), limited) == 8192


def test_a_type_of_gpu_is_one_of_instances():
    def given(settings, **asked):
        return size_of(Resources(**asked), settings).instances

    assert given(EC2, gpu=1, gpu_type="nvidia-tesla-t4") == ("g4dn.*",)
    assert given(EC2, gpu=1, gpu_type="nvidia-tesla-t4-a10g") == ("g4dn.*", "g5.*")
    assert given(EC2, gpu=1) == ()
    assert given(EC2, gpu_type="nvidia-tesla-t4") == (), "no GPU was asked for"
    mapped = replace(EC2, gpu_types={"nvidia-tesla-p100": "g5.* | g6.*", "nvidia-tesla-t4": "*"})
    assert given(mapped, gpu=1, gpu_type="nvidia-tesla-p100") == ("g5.*", "g6.*")
    assert given(mapped, gpu=1, gpu_type="nvidia-tesla-t4") == ()
    size = size_of(Resources(cpu=1, memory=2048, gpu=2, gpu_type="nvidia-tesla-p100"), mapped)
    assert str(size) == "1 vCPU, 2048 MiB, 2 GPU on g5.* or g6.*"
    assert describe(Resources(gpu=2, gpu_type="t4")) == "default vCPU, default memory, 2 GPU (t4)"


@pytest.mark.parametrize(
    ("disks", "points"),
    [
        ("local-disk 100 SSD", ()),
        ("local-disk 100 SSD, /mnt/x 50 SSD", ("/mnt/x",)),
        (["/mnt/a 10 GiB", "20 GiB", "/mnt/b"], ("/mnt/a", "/mnt/b")),
        (100, ()),
        (None, ()),
    ],
)
def test_mount_points_of_disks(disks, points):
    assert mount_points({"disks": disks}) == points
