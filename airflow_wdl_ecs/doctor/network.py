"""Whether the tasks' subnets have a way out: to the registries of their images, to S3, and to CloudWatch Logs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..aws import Clients, aws_errors, error_code
from ..ecs.images import IN_ECR
from ..ecs.settings import EcsSettings, how_to_set
from ..errors import WdlEcsError
from .findings import Finding, ok, problem, skipped

_OF_SERVICE = re.compile(r"amazonaws\.[a-z0-9-]+\.(.+)")
"""Of the name of an endpoint's service, which begins with ``com.`` or ``cn.com.``: the part after the region."""
ON_FARGATE = ("ecr.api", "ecr.dkr", "logs", "s3")
"""The services that a task on Fargate talks to from its own network interface."""
ON_EC2 = ("s3",)
"""Those on EC2, where the instance pulls the images and writes the logs."""
_GATEWAYS = ("NatGatewayId", "TransitGatewayId", "VpcPeeringConnectionId", "NetworkInterfaceId", "InstanceId")
Json = Mapping[str, Any]


def way_out(settings: EcsSettings, clients: Clients, images: Sequence[str]) -> Iterator[Finding]:
    """Whether the subnets and security groups are there, and let tasks out.

    :param images: that tasks are to have.
    """
    if not settings.subnets:
        none = "the settings name no subnets"
        yield skipped(none) if settings.fargate else ok(f"{none}: tasks use the network of their instances")
        return
    ec2 = clients("ec2")
    try:
        with aws_errors("DescribeSubnets", ", ".join(settings.subnets)):
            subnets = ec2.describe_subnets(SubnetIds=list(settings.subnets))["Subnets"]
    except WdlEcsError as error:
        if error.__cause__ is not None and error_code(error.__cause__).startswith("InvalidSubnet"):
            yield problem(error.message, f"set {how_to_set('subnets')}")
            return
        raise
    vpcs = sorted({subnet["VpcId"] for subnet in subnets})
    if len(vpcs) > 1:
        yield problem(
            f"the subnets are of {len(vpcs)} VPCs: {', '.join(vpcs)}", f"set {how_to_set('subnets')} to those of one"
        )
        return
    yield from _security_groups(settings, ec2, vpcs[0])
    yield from _addresses(subnets)
    yield from _routes(settings, ec2, subnets, vpcs[0], images)


def _addresses(subnets: Sequence[Json]) -> Iterator[Finding]:
    free = sum(subnet["AvailableIpAddressCount"] for subnet in subnets)
    if not free:
        yield problem("the subnets have no free address", f"name more, or larger ones: {how_to_set('subnets')}")


def _security_groups(settings: EcsSettings, ec2: Any, vpc: str) -> Iterator[Finding]:
    names = list(settings.security_groups)
    if not names:
        return
    mend = f"set {how_to_set('security_groups')}"
    try:
        with aws_errors("DescribeSecurityGroups", ", ".join(names)):
            groups = ec2.describe_security_groups(GroupIds=names)["SecurityGroups"]
    except WdlEcsError as error:
        if error.__cause__ is not None and error_code(error.__cause__).startswith("InvalidGroup"):
            yield problem(error.message, mend)
            return
        raise
    foreign = [group["GroupId"] for group in groups if group["VpcId"] != vpc]
    if foreign:
        yield problem(f"{', '.join(foreign)}: not of {vpc}, as the subnets are", mend)
    elif not any(_lets_https_out(rule) for group in groups for rule in group.get("IpPermissionsEgress", [])):
        yield problem(f"{', '.join(names)}: no rule lets tasks out to port 443", "allow outbound TCP to port 443")


def _lets_https_out(rule: Json) -> bool:
    return rule["IpProtocol"] == "-1" or (
        rule["IpProtocol"] in ("tcp", "6") and rule.get("FromPort", 0) <= 443 <= rule.get("ToPort", 65535)
    )


def _routes(
    settings: EcsSettings, ec2: Any, subnets: Sequence[Json], vpc: str, images: Sequence[str]
) -> Iterator[Finding]:
    here = [{"Name": "vpc-id", "Values": [vpc]}]
    with aws_errors("DescribeRouteTables", vpc):
        pages = ec2.get_paginator("describe_route_tables").paginate(Filters=here)
        tables = [table for page in pages for table in page["RouteTables"]]
    endpoints: list[Json] | None = None
    for subnet in subnets:
        name = subnet["SubnetId"]
        table = table_of(name, tables)
        default = next((r for r in table.get("Routes", []) if r.get("DestinationCidrBlock") == "0.0.0.0/0"), None)
        if default is not None:
            yield _by_default_route(settings, name, default)
            continue
        if endpoints is None:
            with aws_errors("DescribeVpcEndpoints", vpc):
                pages = ec2.get_paginator("describe_vpc_endpoints").paginate(Filters=here)
                endpoints = [endpoint for page in pages for endpoint in page["VpcEndpoints"]]
        yield _by_endpoints(settings, name, str(table.get("RouteTableId", "")), endpoints, images)


def table_of(subnet: str, tables: Sequence[Json]) -> Json:
    """The route table of a subnet: its own, or else its VPC's main one; empty if neither is told."""

    def associated(table: Json, **what: Any) -> bool:
        return any(what.items() <= association.items() for association in table.get("Associations", []))

    own = [table for table in tables if associated(table, SubnetId=subnet)]
    return next(iter(own or [table for table in tables if associated(table, Main=True)]), {})


def _by_default_route(settings: EcsSettings, subnet: str, route: Json) -> Finding:
    if route.get("State") == "blackhole":
        return problem(f"{subnet}: its route to the internet leads nowhere", "its gateway is gone: route to another")
    gateway = str(route.get("GatewayId", ""))
    if gateway.startswith("igw-"):
        if settings.fargate and settings.assign_public_ip:
            return ok(f"{subnet}: out by the internet gateway {gateway}, with public addresses")
        mend = f"set {how_to_set('assign_public_ip')} to true, or name subnets behind a NAT gateway"
        if not settings.fargate:
            mend = "tasks on EC2 get no public address: name subnets behind a NAT gateway, or none at all"
        return problem(f"{subnet}: out by the internet gateway {gateway}, for which tasks have no public address", mend)
    by = next((str(route[name]) for name in _GATEWAYS if route.get(name)), gateway or "a route of its own")
    return ok(f"{subnet}: out by {by}")


def _by_endpoints(
    settings: EcsSettings, subnet: str, table: str, endpoints: Sequence[Json], images: Sequence[str]
) -> Finding:
    """What a subnet without a way to the internet reaches by VPC endpoints."""
    reached = {
        service[1]
        for endpoint in endpoints
        if (service := _OF_SERVICE.search(str(endpoint["ServiceName"])))
        and str(endpoint.get("State", "available")).lower() == "available"
        and (endpoint.get("VpcEndpointType") != "Gateway" or table in endpoint.get("RouteTableIds", []))
    }
    needed = ON_FARGATE if settings.fargate else ON_EC2
    missing = [name for name in needed if name not in reached]
    if missing:
        return problem(
            f"{subnet}: no way to the internet, and no VPC endpoint for {', '.join(missing)}",
            "route it to a NAT gateway, or add the endpoints"
            + (" (or an internet gateway with assign_public_ip)" if settings.fargate else ""),
        )
    outside = [image for image in images if image and not re.match(IN_ECR, image)] if settings.fargate else []
    if outside:
        return problem(
            f"{subnet}: no way to the internet, from where {', '.join(dict.fromkeys(outside))} would come",
            "copy the images to Amazon ECR (or a pull-through cache) and name them in staging_image and image",
        )
    return ok(f"{subnet}: no way to the internet; VPC endpoints for {', '.join(needed)}")
