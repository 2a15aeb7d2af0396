"""What each API call asks of IAM (AWS, Service Authorization Reference): for calls of boto3, and for requests to S3.

A call that is not known here is an error: whoever adds one to the package adds here what it needs, and to the template.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs

import botocore.session
from botocore import xform_name

from .policies import Request
from .stack import ACCOUNT, REGION

_TO_TASKS = {"iam:PassedToService": "ecs-tasks.amazonaws.com"}


def requests_of(operation: str, arguments: Mapping[str, Any]) -> list[Request]:
    """What a call of boto3 asks.

    :param operation: such as ``ecs:RunTask``. :param arguments: as the caller has given them.
    """
    service, name = operation.split(":")
    services = {
        "ecs": _ecs,
        "ecr": _ecr,
        "s3": _s3,
        "logs": _logs,
        "iam": _iam,
        "ec2": _ec2,
        "secretsmanager": _secrets,
        "sts": _sts,
    }
    found = services[service](name, arguments)
    return [Request(operation, *parts) for parts in found]


_Parts = tuple[str, str, dict[str, str]]


def _ecs(name: str, arguments: Mapping[str, Any]) -> Iterator[_Parts]:
    own = f"arn:aws:ecs:{REGION}:{ACCOUNT}"
    if name == "DescribeTaskDefinition":
        yield "ecs:DescribeTaskDefinition", "*", {}
        return
    if name == "DescribeCapacityProviders":
        for provider in arguments["capacityProviders"]:
            yield "ecs:DescribeCapacityProviders", f"{own}:capacity-provider/{provider}", {}
        return
    if name == "DescribeClusters":
        for cluster in arguments["clusters"]:
            yield "ecs:DescribeClusters", f"{own}:cluster/{cluster.rpartition('/')[2]}", {}
        return
    if name == "RegisterTaskDefinition":
        yield "ecs:RegisterTaskDefinition", "*", {}
        for role in (arguments["taskRoleArn"], arguments["executionRoleArn"]):
            yield "iam:PassRole", role, _TO_TASKS
        if arguments.get("tags"):
            definition = f"{own}:task-definition/{arguments['family']}:1"
            yield "ecs:TagResource", definition, {"ecs:CreateAction": name}
        return
    cluster = arguments["cluster"].rpartition("/")[2]
    context = {"ecs:cluster": f"{own}:cluster/{cluster}"}
    if name == "RunTask":
        assert not {"enableExecuteCommand", "group"} & set(arguments), "this needs other permissions"
        assert not {"taskRoleArn", "executionRoleArn"} & set(arguments["overrides"])
        yield "ecs:RunTask", arguments["taskDefinition"], context
        if arguments.get("tags") or arguments.get("propagateTags"):
            yield "ecs:TagResource", f"{own}:task/{cluster}/0123456789abcdef", {"ecs:CreateAction": name}
    elif name == "ListContainerInstances":
        yield "ecs:ListContainerInstances", context["ecs:cluster"], {}
    elif name == "ListTasks":
        yield "ecs:ListTasks", f"{own}:container-instance/{cluster}/*", context
    elif name in ("DescribeTasks", "StopTask"):
        for task in arguments.get("tasks") or [arguments["task"]]:
            yield f"ecs:{name}", task, context
    else:
        raise NotImplementedError(name)


def _ecr(name: str, arguments: Mapping[str, Any]) -> Iterator[_Parts]:
    assert name == "DescribeImages", name
    repository = f"repository/{arguments['repositoryName']}"
    yield "ecr:DescribeImages", f"arn:aws:ecr:{REGION}:{arguments['registryId']}:{repository}", {}


def _logs(name: str, arguments: Mapping[str, Any]) -> Iterator[_Parts]:
    if name == "DescribeLogGroups":
        # Whatever prefix is asked for, IAM is asked for this resource.
        yield "logs:DescribeLogGroups", log_stream("", ""), {}
        return
    assert name == "GetLogEvents", name
    yield "logs:GetLogEvents", log_stream(arguments["logGroupName"], arguments["logStreamName"]), {}


def _iam(name: str, arguments: Mapping[str, Any]) -> Iterator[_Parts]:
    if name == "GetRole":
        yield "iam:GetRole", f"arn:aws:iam::{ACCOUNT}:role/{arguments['RoleName']}", {}
    elif name == "SimulatePrincipalPolicy":
        yield "iam:SimulatePrincipalPolicy", arguments["PolicySourceArn"], {}
    else:
        raise NotImplementedError(name)


def _ec2(name: str, arguments: Mapping[str, Any]) -> Iterator[_Parts]:
    known = ("DescribeRouteTables", "DescribeSecurityGroups", "DescribeSubnets", "DescribeVpcEndpoints")
    assert name in known, name
    yield f"ec2:{name}", "*", {"aws:RequestedRegion": REGION}


def _secrets(name: str, arguments: Mapping[str, Any]) -> Iterator[_Parts]:
    assert name == "DescribeSecret", name
    yield "secretsmanager:DescribeSecret", arguments["SecretId"], {}


def _sts(name: str, arguments: Mapping[str, Any]) -> Iterator[_Parts]:
    # Everybody may ask who he is: no policy is asked (AWS STS API reference, GetCallerIdentity).
    assert name == "GetCallerIdentity", name
    yield from ()


def log_stream(group: str, stream: str) -> str:
    """The ARN of a log stream."""
    return f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}:log-stream:{stream}"


def _s3(name: str, arguments: Mapping[str, Any]) -> Iterator[_Parts]:
    bucket = f"arn:aws:s3:::{arguments['Bucket']}"
    if name == "HeadBucket":
        yield "s3:ListBucket", bucket, {}
        return
    if name == "ListObjectsV2":
        yield "s3:ListBucket", bucket, {"s3:prefix": arguments.get("Prefix", "")}
        return
    if name == "DeleteObjects":
        for item in arguments["Delete"]["Objects"]:
            yield "s3:DeleteObject", f"{bucket}/{item['Key']}", {}
        return
    named = f"{bucket}/{arguments['Key']}"
    if name in ("CopyObject", "UploadPartCopy"):
        # With the tags of the source it would need permissions for these, too.
        assert name == "UploadPartCopy" or arguments["TaggingDirective"] == "REPLACE"
        source = arguments["CopySource"]
        yield "s3:GetObject", f"arn:aws:s3:::{source['Bucket']}/{source['Key']}", {}
        yield "s3:PutObject", named, {}
        return
    if name in ("GetObject", "HeadObject"):
        yield "s3:GetObject", named, {}
        # Without it, what is not there is 403 and not 404. The request names an object, so it has no prefix.
        yield "s3:ListBucket", bucket, {}
    elif name in ("PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"):
        yield "s3:PutObject", named, {}
    elif name in ("DeleteObject", "AbortMultipartUpload"):
        yield f"s3:{name}", named, {}
    else:
        raise NotImplementedError(name)


def named_in(code: str, services: Iterable[str]) -> set[str]:
    """The operations that the text of a program names, as attributes or in quotes: ``ecs:RunTask`` ..."""
    return {
        f"{service}:{operation}"
        for service in services
        for operation in botocore.session.get_session().get_service_model(service).operation_names
        if re.search(rf"""[.'"]{xform_name(operation)}\b""", code)
    }


def of_key(request: Request, key: str) -> list[Request]:
    """What S3 asks for a key that encrypts a bucket, in the name of who asks S3."""
    through = {"kms:ViaService": f"s3.{REGION}.amazonaws.com"}
    needed = {"s3:GetObject": ["kms:Decrypt"], "s3:PutObject": ["kms:GenerateDataKey"]}.get(request.action, [])
    if request.call.endswith("UploadPart"):
        needed = ["kms:GenerateDataKey", "kms:Decrypt"]
    return [Request(request.call, action, key, through) for action in needed]


def s3_call(operation: str, path: str, query: str) -> tuple[str, dict[str, str]]:
    """What an HTTP request is to S3: the operation and its arguments.

    :param operation: with the method, ``s3:GET``. :param path: with the bucket, decoded. :param query: as it was sent.
    """
    method = operation.removeprefix("s3:")
    bucket, _, key = path.lstrip("/").partition("/")
    words = parse_qs(query, keep_blank_values=True)
    signs = {"x-id", "response-content-disposition"} | {name for name in words if re.match("X-Amz-", name)}
    match method, bool(key), tuple(sorted(set(words) - signs)):
        case "GET", False, asked if "list-type" in asked:
            return "s3:ListObjectsV2", {"Bucket": bucket, "Prefix": words.get("prefix", [""])[0]}
        case "GET" | "HEAD" | "PUT" | "DELETE", True, ():
            return f"s3:{method.capitalize()}Object", {"Bucket": bucket, "Key": key}
        case "POST", True, ("uploads",):
            name = "CreateMultipartUpload"
        case "PUT", True, ("partNumber", "uploadId"):
            name = "UploadPart"
        case "POST", True, ("uploadId",):
            name = "CompleteMultipartUpload"
        case "DELETE", True, ("uploadId",):
            name = "AbortMultipartUpload"
        case _:
            raise NotImplementedError(f"{method} {path}?{query}")
    return f"s3:{name}", {"Bucket": bucket, "Key": key}
