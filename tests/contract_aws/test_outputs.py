"""What the template's stack says of itself is what the contract takes."""

from __future__ import annotations

import shlex

import boto3
import pytest
from botocore.stub import Stubber

from ..infrastructure.stack import Stack
from . import outputs
from .costs import Budget
from .target import aws_target, given


def described(**parameters: str) -> list[dict[str, str]]:
    return [{"OutputKey": name, "OutputValue": value} for name, value in Stack(**parameters).outputs.items()]


@pytest.mark.parametrize(
    "parameters",
    [{}, {"VpcId": "vpc-01234567", "SubnetIds": "subnet-01234567,subnet-89abcdef", "AssignPublicIp": "true"}],
)
def test_the_outputs_of_the_template_are_a_target(parameters):
    lines = outputs.exports(described(**parameters))
    environment = dict(shlex.split(line)[1].split("=", 1) for line in lines)
    target = aws_target({**environment, "AWS_CONTRACT": "1", "AWS_CONTRACT_LIMIT_USD": "2"}, Budget(1, "us-east-1"))
    settings = target.settings
    assert settings.region == "us-east-1"
    assert len(settings.subnets) == 2
    assert settings.assign_public_ip
    assert settings.workspace.endswith("/wdl")
    assert settings.spot_capacity_providers == ("FARGATE_SPOT",)
    assert set(given(environment)) >= {"cluster", "log_group", "task_role_arn", "execution_role_arn"}


def test_the_command(monkeypatch, capsys):
    client = boto3.client("cloudformation", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    monkeypatch.setattr(boto3, "client", lambda service: client)
    with Stubber(client) as stub:
        stack = {"StackName": "wdl", "CreationTime": 0, "StackStatus": "CREATE_COMPLETE"}
        stub.add_response("describe_stacks", {"Stacks": [{**stack, "Outputs": described()}]}, {"StackName": "wdl"})
        assert outputs.main(["wdl"]) == 0
        assert "export AWS_CONTRACT_CLUSTER=" in capsys.readouterr().out
        stub.add_response("describe_stacks", {"Stacks": [stack]}, {"StackName": "other"})
        assert outputs.main(["other"]) == 1
        assert "no output Settings" in capsys.readouterr().err
        stub.add_client_error("describe_stacks", "ValidationError", "Stack with id none does not exist")
        assert outputs.main(["none"]) == 1
        assert "does not exist" in capsys.readouterr().err
    assert outputs.main([]) == 2
