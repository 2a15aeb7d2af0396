"""`airflow-wdl-ecs doctor` may ask what it asks by Airflow's policy and its own, and its own allows nothing else.

An installation as the stack makes it is examined on the embedded AWS, with a real task; every call is recorded.
"""

from __future__ import annotations

import configparser
import json
import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import boto3
import pytest

import airflow_wdl_ecs
from airflow_wdl_ecs.doctor.account import Identity
from airflow_wdl_ecs.doctor.deployment import Deployment, deployment_checks
from airflow_wdl_ecs.doctor.findings import Finding, examine
from airflow_wdl_ecs.doctor.trial import Trial
from airflow_wdl_ecs.ecs.settings import EcsSettings
from airflow_wdl_ecs.local.endpoint import Endpoint

from ..direct import embedded_settings
from .calls import named_in, requests_of
from .policies import Request, refused, unneeded
from .stack import ACCOUNT, REGION, Stack

NAME = "doctor"
AIRFLOW = Identity(ACCOUNT, f"arn:aws:sts::{ACCOUNT}:assumed-role/{NAME}-airflowrole/session")
EBS_ROLE = f"arn:aws:iam::{ACCOUNT}:role/{NAME}-volumes"
SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:pull-a1b2c3"
CODE = Path(airflow_wdl_ecs.__file__).parent / "doctor"


@dataclass
class _Account:
    """The embedded AWS; the calls of its clients are recorded."""

    endpoint: Endpoint
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def admin(self, service: str) -> Any:
        """A client whose calls are not recorded."""
        return boto3.client(
            service,
            endpoint_url=self.endpoint.url,
            region_name=self.endpoint.region,
            aws_access_key_id=self.endpoint.access_key,
            aws_secret_access_key=self.endpoint.secret_key,
        )

    def client(self, service: str) -> Any:
        """A client whose calls are."""
        made = self.admin(service)
        made.meta.events.register("provide-client-params", self._record)
        return made

    def _record(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        self.calls.append((f"{model.service_model.service_name}:{model.name}", dict(params)))

    def asked(self) -> list[Request]:
        """What the calls since the last time ask of IAM."""
        calls, self.calls = self.calls, []
        return [request for name, arguments in calls for request in requests_of(name, arguments)]

    def network(self) -> tuple[str, list[str], str]:
        """A VPC, a subnet with a way to the internet and one without, and a security group."""
        ec2 = self.admin("ec2")
        vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
        blocks = ("10.9.0.0/24", "10.9.1.0/24")
        subnets = [ec2.create_subnet(VpcId=vpc, CidrBlock=block)["Subnet"]["SubnetId"] for block in blocks]
        gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
        table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
        ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
        ec2.associate_route_table(RouteTableId=table, SubnetId=subnets[0])
        group = ec2.create_security_group(GroupName="tasks", Description="tasks", VpcId=vpc)["GroupId"]
        return vpc, subnets, group

    def make(self, stack: Stack, settings: EcsSettings) -> None:
        """What the stack makes, as far as it is examined."""
        self.admin("s3").create_bucket(Bucket=stack.outputs["Bucket"])
        self.admin("logs").create_log_group(logGroupName=settings.log_group)
        self.admin("ecs").create_cluster(clusterName=settings.cluster)
        for role, service in (("TaskRole", "ecs-tasks"), ("ExecutionRole", "ecs-tasks"), ("AirflowRole", "ec2")):
            statement = {
                "Effect": "Allow",
                "Principal": {"Service": f"{service}.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
            policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
            self.admin("iam").create_role(RoleName=stack.resolve({"Ref": role}), AssumeRolePolicyDocument=policy)


@dataclass(frozen=True)
class Examined:
    """What examinations have asked.

    :param fargate: that of the stack's settings, with a task.
    :param ec2: that of its settings for EC2, with a placement constraint.
    :param more: that of settings that name what the stack does not make.
    """

    stack: Stack
    findings: list[Finding]
    fargate: list[Request]
    ec2: list[Request]
    more: list[Request]


@pytest.fixture(scope="module")
def examined(embedded_aws: Endpoint) -> Examined:
    account = _Account(embedded_aws)
    vpc, subnets, group = account.network()
    stack = Stack(NAME, VpcId=vpc, SubnetIds=",".join(subnets), AssignPublicIp="true", Ec2MaxInstances="4")
    parser = configparser.ConfigParser()
    parser.read_string(stack.outputs["Settings"])
    given = {**parser["wdl_ecs"], "launch_type": "FARGATE", "security_groups": group, "spot_capacity_providers": ""}
    settings = embedded_settings(embedded_aws, **given)
    account.make(stack, settings)

    def examine_by(settings: EcsSettings, task: Trial | None = None, **known: Any) -> list[Finding]:
        deployment = Deployment(settings, account.client)
        deployment.__dict__.update(identity=AIRFLOW, **known)
        return list(examine(deployment_checks(deployment, task)))

    task = Trial(settings, account.client, logging.getLogger(__name__))
    findings = examine_by(settings, task)
    fargate = account.asked()
    on_ec2 = EcsSettings.from_json({**settings.to_json(), **json.loads(stack.outputs["SettingsForEc2"])})
    on_ec2 = replace(on_ec2, placement_constraints=("attribute:ecs.instance-type =~ r6i.*",))
    cluster = {"status": "ACTIVE", "capacityProviders": on_ec2.providers, "registeredContainerInstancesCount": 1}
    account.admin("ecs").create_capacity_provider(
        name=on_ec2.providers[0], autoScalingGroupProvider={"autoScalingGroupArn": "arn:aws:autoscaling:group"}
    )
    examine_by(on_ec2, cluster=cluster)
    ec2 = account.asked()
    examine_by(replace(settings, ebs_role_arn=EBS_ROLE, registry_credentials={"registry.example.org": SECRET}))
    return Examined(stack, findings, fargate, ec2, account.asked())


pytestmark = pytest.mark.local


def test_the_whole_installation_was_examined(examined: Examined) -> None:
    # One of the subnets has no way out, so that its VPC is asked for endpoints.
    assert {found.check for found in examined.findings if found.verdict == "problem"} == {"network"}
    assert (examined.findings[-1].check, examined.findings[-1].verdict) == ("task", "ok")


def test_the_doctor_may_ask_what_it_asks_and_nothing_else(examined: Examined) -> None:
    own = examined.stack.statements("DoctorPolicy")
    asked = examined.fargate + examined.ec2
    assert refused(examined.stack.statements("AirflowPolicy") + own, asked) == []
    assert unneeded(own, asked) == []


def test_a_run_needs_nothing_of_it_and_it_changes_nothing(examined: Examined) -> None:
    actions = [action for statement in examined.stack.statements("DoctorPolicy") for action in _listed(statement)]
    assert [a for a in actions if not a.split(":")[1].startswith(("Describe", "Get", "List", "Simulate"))] == []
    # What is written and run, the bucket and the logs are a matter of Airflow's own policy.
    alone = refused(examined.stack.statements("AirflowPolicy"), examined.fargate + examined.ec2)
    assert {line.split(": ")[1].split(" ")[0] for line in alone} == set(actions)


def _listed(statement: dict[str, Any]) -> list[str]:
    actions = statement["Action"]
    return actions if isinstance(actions, list) else [actions]


def test_what_the_stack_does_not_make_is_asked_for_besides(examined: Examined) -> None:
    statements = [
        statement for name in ("AirflowPolicy", "DoctorPolicy") for statement in examined.stack.statements(name)
    ]
    assert refused(statements, examined.more) == [
        f"iam:GetRole: iam:GetRole on {EBS_ROLE} ()",
        f"secretsmanager:DescribeSecret: secretsmanager:DescribeSecret on {SECRET} ()",
    ]


def test_every_call_in_the_doctors_code_was_recorded(examined: Examined) -> None:
    code = "\n".join(path.read_text() for path in CODE.glob("*.py"))
    named = named_in(code, ("s3", "ecs", "logs", "iam", "ec2", "secretsmanager"))
    assert {"ecs:DescribeClusters", "iam:SimulatePrincipalPolicy", "ec2:DescribeSubnets"} < named
    assert named <= {request.call for request in examined.fargate + examined.ec2 + examined.more}


def test_without_the_parameter_there_is_no_such_policy() -> None:
    stack = Stack(LetDoctorLook="false")
    assert "DoctorPolicy" not in stack.resources
    assert "DoctorPolicyArn" not in stack.outputs
