"""Where the AWS console shows a task, a log stream and an S3 folder: URLs, built from names alone (pure).

The console has one domain per partition (AWS General Reference, "AWS service endpoints"; "AWS GovCloud (US)"; "Amazon
Web Services in China"). A deployment whose endpoint is not Amazon's has no console, so ask `is_amazon` first.
"""

from __future__ import annotations

from urllib.parse import quote, urlencode, urlsplit

_DOMAINS = {"cn-": "console.amazonaws.cn", "us-gov-": "console.amazonaws-us-gov.com"}
_AMAZON = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".api.amazonwebservices.com.cn")


def is_amazon(endpoint: str) -> bool:
    """Whether an API endpoint is Amazon's own, a VPC endpoint included; only then does the console know its things."""
    return (urlsplit(endpoint).hostname or "").endswith(_AMAZON)


def region_of(arn: str) -> str:
    """The region in an ARN; empty if there is none."""
    return (arn.split(":") + [""] * 4)[3]


def task_page(arn: str, cluster: str) -> str:
    """The page of an ECS task.

    :param arn: the task's, of either format. :param cluster: its cluster's name or ARN, which a short task ARN lacks.
    :raises ValueError: if ``arn`` is no task's.
    """
    parts = arn.split(":", 5)
    if len(parts) != 6 or not parts[5].startswith("task/"):
        raise ValueError(f"not the ARN of an ECS task: {arn}")
    region, path = parts[3], parts[5].split("/")
    name = path[1] if len(path) > 2 else cluster.rpartition("/")[2]
    where = f"/ecs/v2/clusters/{quote(name, safe='')}/tasks/{quote(path[-1], safe='')}/configuration"
    return f"{_home(region)}{where}?{urlencode({'region': region})}"


def log_page(region: str, group: str, stream: str) -> str:
    """The page of a CloudWatch log stream."""
    where = f"log-groups/log-group/{_twice(group)}/log-events/{_twice(stream)}"
    return f"{_home(region)}/cloudwatch/home?{urlencode({'region': region})}#logsV2:{where}"


def folder_page(region: str, uri: str) -> str:
    """The page of a folder in S3.

    :param uri: ``s3://bucket/prefix/``.
    """
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    query = urlencode({"region": region, "prefix": prefix, "showversions": "false"}, quote_via=quote)
    return f"{_home(region)}/s3/buckets/{quote(bucket, safe='')}?{query}"


def _home(region: str) -> str:
    domain = next((domain for start, domain in _DOMAINS.items() if region.startswith(start)), "console.aws.amazon.com")
    return f"https://{domain}"


def _twice(name: str) -> str:
    """A name as the CloudWatch page has it after the ``#``: encoded, then encoded again with ``$`` for the ``%``."""
    return quote(quote(name, safe=""), safe="").replace("%", "$")
