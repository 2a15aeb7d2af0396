"""What the template makes, for every choice of its parameters; cfn-lint and checkov look at it in `make check`."""

from __future__ import annotations

import configparser
import itertools
import json
import re
from typing import Any

import pytest
import yaml

from airflow_wdl_ecs.cli import main
from airflow_wdl_ecs.ecs.settings import EcsSettings
from airflow_wdl_ecs.infrastructure import template

from .stack import Stack, load

GIVEN = {"VpcId": "vpc-0a1b2c3d", "SubnetIds": "subnet-0a1b2c3d,subnet-4e5f6a7b"}
CHOICES: list[dict[str, str]] = [
    GIVEN,
    {"InputBuckets": "arn:aws:s3:::reads,arn:aws:s3:::panels"},
    {"KmsKeyArn": "arn:aws:kms:us-east-1:123456789012:key/0123"},
    {"RunsKeptDays": "90"},
    {"AirflowPrincipalArn": "arn:aws:iam::123456789012:role/airflow"},
    {"Ec2MaxInstances": "4"},
    {"LetDoctorLook": "false"},
    {"MonthlyBudget": "100", "BudgetEmail": "who@example.org"},
    {"PublishBuckets": "arn:aws:s3:::results,arn:aws:s3:::archive"},
    {
        "FileSystemArn": "arn:aws:elasticfilesystem:us-east-1:123456789012:file-system/fs-0a1b2c3d",
        "FileSystemSecurityGroupId": "sg-0a1b2c3d",
    },
]


def settings(stack: Stack) -> dict[str, str]:
    parser = configparser.ConfigParser()
    parser.read_string(stack.outputs["Settings"])
    return dict(parser["wdl_ecs"])


def test_the_command_prints_the_template(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["infrastructure"]) == 0
    assert capsys.readouterr().out == template()
    # What CloudFormation takes in a request (CloudFormation user guide, "Quotas"), and it takes no aliases.
    assert len(template().encode()) < 51_200
    assert not [token for token in yaml.scan(template()) if isinstance(token, yaml.AliasToken)]


@pytest.mark.parametrize("chosen", list(itertools.product([False, True], repeat=len(CHOICES))))
def test_nothing_refers_to_what_is_not_made(chosen: tuple[bool, ...]) -> None:
    parameters = {name: value for on, some in zip(chosen, CHOICES, strict=True) if on for name, value in some.items()}
    stack = Stack(**parameters)
    makes = {about["Type"] for about in stack.resources.values()}
    assert ("AWS::EC2::Subnet" in makes) != chosen[0]
    assert ("AWS::AutoScaling::AutoScalingGroup" in makes) == chosen[5]
    assert ("DoctorPolicy" in stack.resources) != chosen[6]
    assert ("AWS::Budgets::Budget" in makes) == chosen[7]
    given = EcsSettings.from_options(settings(stack))
    given.check()
    assert "SettingsForEc2" not in stack.outputs or chosen[5]


def test_the_settings_are_those_of_what_is_made() -> None:
    made = EcsSettings.from_options(settings(Stack("genomics")))
    assert (made.cluster, made.workspace, made.log_group) == (
        "genomics",
        "s3://genomics-bucket/wdl",
        "/wdl/genomics",
    )
    assert len(made.subnets) == 2
    assert made.assign_public_ip
    given = EcsSettings.from_options(settings(Stack(**GIVEN)))
    assert given.subnets == ("subnet-0a1b2c3d", "subnet-4e5f6a7b")
    assert not given.assign_public_ip


def test_a_dag_can_run_on_the_ec2_instances() -> None:
    stack = Stack(Ec2MaxInstances="4")
    override = json.loads(stack.outputs["SettingsForEc2"])
    of_dag = EcsSettings.from_options(settings(stack), override)
    of_dag.check()
    assert not of_dag.fargate
    providers = stack.resources["CapacityProviders"]["Properties"]["CapacityProviders"]
    assert providers == ["FARGATE", "FARGATE_SPOT", *of_dag.providers]


def test_the_bucket_is_encrypted_private_and_kept() -> None:
    about = Stack().resources["Bucket"]
    assert about["DeletionPolicy"] == "Retain"
    assert set(about["Properties"]["PublicAccessBlockConfiguration"].values()) == {True}
    assert _encryption(Stack()) == {"SSEAlgorithm": "AES256"}
    key = "arn:aws:kms:us-east-1:123456789012:key/0123"
    assert _encryption(Stack(KmsKeyArn=key)) == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    assert [rule["Id"] for rule in _lifecycle(Stack())] == ["unfinished-uploads"]
    (deletes,) = _lifecycle(Stack(RunsKeptDays="90"))[1:]
    assert (deletes["Prefix"], deletes["ExpirationInDays"]) == ("wdl/runs/", "90")


def _encryption(stack: Stack) -> dict[str, Any]:
    (rule,) = stack.resources["Bucket"]["Properties"]["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    found: dict[str, Any] = rule["ServerSideEncryptionByDefault"]
    return found


def _lifecycle(stack: Stack) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stack.resources["Bucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    return found


def test_nothing_comes_into_the_network_of_the_tasks() -> None:
    (group,) = [about for about in Stack().resources.values() if about["Type"] == "AWS::EC2::SecurityGroup"]
    assert "SecurityGroupIngress" not in group["Properties"]
    ingress = [about for about in load()["Resources"].values() if "Ingress" in about["Type"]]
    # That of a shared file system lets tasks in, and is not theirs.
    assert [about["Properties"]["GroupId"] for about in ingress] == [{"Ref": "FileSystemSecurityGroupId"}]


def test_tasks_reach_and_mount_a_shared_file_system_if_it_is_given() -> None:
    def of(stack: Stack) -> tuple[int, list[str]]:
        reached = sum("2049" in json.dumps(about) for about in stack.resources.values())
        return reached, [s["Resource"] for s in stack.statements("TaskRole") if s["Sid"] == "MountFileSystem"]

    arn = CHOICES[-1]["FileSystemArn"]
    assert of(Stack()) == (0, [])
    assert of(Stack(**CHOICES[-1])) == (2, [arn])


def test_policies_have_room_for_many_buckets() -> None:
    names = ",".join(f"arn:aws:s3:::{'b' * 40}-{number:02}" for number in range(12))
    key = CHOICES[2]["KmsKeyArn"]
    stack = Stack("a-stack-with-a-name-of-some-length", InputBuckets=names, PublishBuckets=names, KmsKeyArn=key)
    # Characters of a managed policy, and of all policies in a role (IAM user guide, "IAM and AWS STS quotas").
    assert len(json.dumps(stack.statements("AirflowPolicy"), separators=(",", ":"))) < 6_144
    assert len(json.dumps(stack.statements("TaskRole"), separators=(",", ":"))) < 10_240


def test_every_statement_says_what_needs_it() -> None:
    lines = template().splitlines()
    statements = [number for number, line in enumerate(lines) if re.search(r"\bSid: ", line)]
    # The bucket's policy has one that needs no words.
    assert len(statements) > 20
    unexplained = []
    for number in statements:
        at = number
        while re.match(r" *- (\{?Sid: |!If$|Has\w+$)", lines[at]):
            at -= 1
        if not lines[at].lstrip().startswith("#"):
            unexplained.append(lines[number].strip())
    assert unexplained == ["- Sid: OnlyEncryptedConnections"]


def test_rules_that_are_not_followed_say_why() -> None:
    skipped = re.findall(r"checkov:skip=(\w+)(.*)", template())
    assert len(skipped) == 4
    assert [rule for rule, reason in skipped if len(reason.removeprefix(": ")) < 20] == []
