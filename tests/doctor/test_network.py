"""The subnets' way out, on moto's EC2."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from airflow_wdl_ecs.doctor import network
from airflow_wdl_ecs.doctor.findings import Finding
from airflow_wdl_ecs.ecs.settings import EcsSettings

from ..fake_aws import FakeEcs

REGION = "eu-west-1"
PRIVATE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/aws-cli:2"
PUBLIC = "public.ecr.aws/aws-cli/aws-cli:2"


class Vpc:
    """A VPC with one subnet, whose route table is its VPC's main one."""

    def __init__(self) -> None:
        self.ec2 = boto3.client("ec2", REGION)
        self.id = self.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        self.subnet = self.add_subnet("10.0.0.0/24")
        here = [{"Name": "vpc-id", "Values": [self.id]}]
        self.main = self.ec2.describe_route_tables(Filters=here)["RouteTables"][0]["RouteTableId"]

    def add_subnet(self, block: str) -> str:
        return str(self.ec2.create_subnet(VpcId=self.id, CidrBlock=block)["Subnet"]["SubnetId"])

    def internet_gateway(self) -> str:
        gateway = self.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        self.ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=self.id)
        return str(gateway)

    def route(self, table: str | None = None, **to: str) -> None:
        self.ec2.create_route(RouteTableId=table or self.main, DestinationCidrBlock="0.0.0.0/0", **to)

    def endpoint(self, service: str, *tables: str) -> None:
        name = f"com.amazonaws.{REGION}.{service}"
        if tables or service == "s3":
            given = {"VpcEndpointType": "Gateway", "RouteTableIds": list(tables)}
        else:
            given = {"VpcEndpointType": "Interface", "SubnetIds": [self.subnet]}
        self.ec2.create_vpc_endpoint(VpcId=self.id, ServiceName=name, **given)

    def looked(self, *images: str, **settings: Any) -> list[Finding]:
        chosen = EcsSettings(**{"subnets": (self.subnet,), **settings})
        return list(network.way_out(chosen, lambda service: self.ec2, images))

    def verdict(self, *images: str, **settings: Any) -> tuple[str, str]:
        (found,) = self.looked(*images, **settings)
        assert bool(found.mend) == (found.verdict == "problem")
        return found.verdict, found.found


@pytest.fixture
def vpc(monkeypatch: pytest.MonkeyPatch) -> Iterator[Vpc]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        yield Vpc()


def test_a_nat_gateway(vpc: Vpc) -> None:
    address = vpc.ec2.allocate_address(Domain="vpc")["AllocationId"]
    made = vpc.ec2.create_nat_gateway(SubnetId=vpc.subnet, AllocationId=address)
    gateway = made["NatGateway"]["NatGatewayId"]
    vpc.route(NatGatewayId=gateway)
    assert vpc.verdict(PUBLIC) == ("ok", f"{vpc.subnet}: out by {gateway}")


def test_an_internet_gateway_needs_public_addresses(vpc: Vpc) -> None:
    vpc.route(GatewayId=vpc.internet_gateway())
    assert vpc.verdict(assign_public_ip=True)[0] == "ok"
    assert vpc.verdict()[0] == "problem"
    assert "assign_public_ip" in vpc.looked()[0].mend
    assert "tasks on EC2 get no public address" in vpc.looked(launch_type="EC2")[0].mend


def test_a_subnets_own_route_table_is_asked_before_the_main_one(vpc: Vpc) -> None:
    vpc.route(GatewayId=vpc.internet_gateway())
    own = vpc.ec2.create_route_table(VpcId=vpc.id)["RouteTable"]["RouteTableId"]
    vpc.ec2.associate_route_table(RouteTableId=own, SubnetId=vpc.subnet)
    other = vpc.add_subnet("10.0.1.0/24")
    found = vpc.looked(subnets=(vpc.subnet, other), assign_public_ip=True)
    assert {f.found.partition(":")[0]: f.verdict for f in found} == {vpc.subnet: "problem", other: "ok"}


def test_without_any_way_out(vpc: Vpc) -> None:
    verdict, found = vpc.verdict()
    assert verdict == "problem"
    assert "no VPC endpoint for ecr.api, ecr.dkr, logs, s3" in found


def test_vpc_endpoints_are_a_way_out_for_images_of_ecr(vpc: Vpc) -> None:
    for service in ("ecr.api", "ecr.dkr", "logs"):
        vpc.endpoint(service)
    assert "no VPC endpoint for s3" in vpc.verdict(PRIVATE)[1]
    vpc.endpoint("s3", vpc.main)
    assert vpc.verdict(PRIVATE)[0] == "ok"
    verdict, found = vpc.verdict(PRIVATE, PUBLIC)
    assert verdict == "problem"
    assert f"from where {PUBLIC} would come" in found


def test_a_gateway_endpoint_of_another_route_table_is_none(vpc: Vpc) -> None:
    other = vpc.ec2.create_route_table(VpcId=vpc.id)["RouteTable"]["RouteTableId"]
    vpc.endpoint("s3", other)
    assert vpc.verdict(PUBLIC, launch_type="EC2")[0] == "problem"
    vpc.endpoint("s3", vpc.main)
    # On EC2 it is the instance that pulls images and writes logs.
    assert vpc.verdict(PUBLIC, launch_type="EC2")[0] == "ok"


class Told:
    """An EC2 that is told what to say; moto has no route that leads nowhere, and no subnet that is full."""

    def __init__(self, subnets: dict[str, Any], pages: list[dict[str, Any]]) -> None:
        self.subnets = subnets
        self.pages = pages

    def describe_subnets(self, **_: Any) -> dict[str, Any]:
        return self.subnets

    def get_paginator(self, name: str) -> Told:
        return self

    def paginate(self, **_: Any) -> list[dict[str, Any]]:
        return self.pages


def test_a_route_that_leads_nowhere() -> None:
    route = {"DestinationCidrBlock": "0.0.0.0/0", "NatGatewayId": "nat-1", "State": "blackhole"}
    subnet = {"SubnetId": "subnet-1", "VpcId": "vpc-1", "AvailableIpAddressCount": 0}
    tables = [{"RouteTables": [{"Routes": [route], "Associations": [{"Main": True}]}]}]
    ec2 = Told({"Subnets": [subnet]}, tables)
    found = list(network.way_out(EcsSettings(subnets=("subnet-1",)), lambda service: ec2, ()))
    assert [f.verdict for f in found] == ["problem", "problem"]
    assert "no free address" in found[0].found
    assert "leads nowhere" in found[1].found


@pytest.mark.parametrize(
    ("prefix", "image"),
    [
        ("com.amazonaws.eu-west-1", PRIVATE),
        ("com.amazonaws.eu-west-1", "123456789012.dkr-ecr.eu-west-1.on.aws/aws-cli:2"),
        ("com.amazonaws.us-gov-west-1", "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com/aws-cli:2"),
        ("cn.com.amazonaws.cn-north-1", "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/aws-cli:2"),
    ],
)
def test_endpoints_and_images_of_every_partition(prefix: str, image: str) -> None:
    subnet = {"SubnetId": "subnet-1", "VpcId": "vpc-1", "AvailableIpAddressCount": 9}
    table = {"RouteTableId": "rtb-1", "Routes": [], "Associations": [{"Main": True}]}
    endpoints = [{"ServiceName": f"{prefix}.{service}"} for service in network.ON_FARGATE]
    endpoints.append({"ServiceName": "com.amazonaws.vpce.eu-west-1.vpce-svc-0a1b2c3d"})
    ec2 = Told({"Subnets": [subnet]}, [{"RouteTables": [table], "VpcEndpoints": endpoints}])
    found = list(network.way_out(EcsSettings(subnets=("subnet-1",)), lambda service: ec2, (image,)))
    assert [(f.verdict, f.mend) for f in found] == [("ok", "")]


def test_subnets_that_are_not_there(vpc: Vpc) -> None:
    verdict, found = vpc.verdict(subnets=("subnet-0a1b2c3d",))
    assert verdict == "problem"
    assert "subnet-0a1b2c3d" in found


def test_subnets_of_two_vpcs(vpc: Vpc) -> None:
    verdict, found = vpc.verdict(subnets=(vpc.subnet, Vpc().subnet))
    assert verdict == "problem"
    assert "2 VPCs" in found


def test_security_groups(vpc: Vpc) -> None:
    vpc.route(GatewayId=vpc.internet_gateway())

    def looked(group: str) -> list[Finding]:
        return vpc.looked(security_groups=(group,), assign_public_ip=True)

    group = vpc.ec2.create_security_group(GroupName="a", Description="a", VpcId=vpc.id)["GroupId"]
    assert [f.verdict for f in looked(group)] == ["ok"]
    (everything,) = vpc.ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissionsEgress"]
    vpc.ec2.revoke_security_group_egress(GroupId=group, IpPermissions=[everything])
    assert "no rule lets tasks out to port 443" in looked(group)[0].found
    https = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    vpc.ec2.authorize_security_group_egress(GroupId=group, IpPermissions=[https])
    assert [f.verdict for f in looked(group)] == ["ok"]
    foreign = vpc.ec2.create_security_group(GroupName="b", Description="b", VpcId=Vpc().id)["GroupId"]
    assert f"{foreign}: not of {vpc.id}" in looked(foreign)[0].found
    (absent, *_) = looked("sg-0a1b2c3d")
    assert absent.verdict == "problem"
    assert "[wdl_ecs] security_groups" in absent.mend


def test_without_subnets() -> None:
    assert [f.verdict for f in network.way_out(EcsSettings(launch_type="EC2"), FakeEcs, ())] == ["ok"]
    assert [f.verdict for f in network.way_out(EcsSettings(), FakeEcs, ())] == ["skipped"]
