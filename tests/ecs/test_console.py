"""The addresses of the AWS console."""

from __future__ import annotations

from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from airflow_wdl_ecs.ecs.console import folder_page, is_amazon, log_page, task_page

TASK = "arn:aws:ecs:eu-west-1:123456789012:task/genomics/0123456789abcdef"


@pytest.mark.parametrize(
    ("endpoint", "amazons"),
    [
        ("https://ecs.eu-west-1.amazonaws.com", True),
        ("https://ecs-fips.us-gov-west-1.amazonaws.com", True),
        ("https://ecs.cn-north-1.amazonaws.com.cn", True),
        ("https://ecs.eu-west-1.api.aws", True),
        ("https://vpce-1-2.ecs.us-east-1.vpce.amazonaws.com", True),
        ("http://127.0.0.1:4566", False),
        ("https://amazonaws.com.example.org", False),
        ("https://minio.example.org/.amazonaws.com", False),
        ("", False),
    ],
)
def test_only_amazons_own_endpoints_have_a_console(endpoint, amazons):
    assert is_amazon(endpoint) == amazons


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("eu-west-1", "console.aws.amazon.com"),
        ("cn-north-1", "console.amazonaws.cn"),
        ("us-gov-west-1", "console.amazonaws-us-gov.com"),
    ],
)
def test_every_partition_has_its_own_console(region, host):
    pages = (
        task_page(f"arn:aws:ecs:{region}:123456789012:task/c/1", "c"),
        log_page(region, "g", "s"),
        folder_page(region, "s3://b/p/"),
    )
    for page in pages:
        assert urlsplit(page).hostname == host
        assert parse_qs(urlsplit(page).query)["region"] == [region]


def test_a_task_is_found_in_its_cluster():
    page = (
        "https://console.aws.amazon.com/ecs/v2/clusters/genomics/tasks/0123456789abcdef/configuration?region=eu-west-1"
    )
    assert task_page(TASK, "other") == page
    # A task ARN of the short format does not name the cluster.
    short = TASK.replace("genomics/", "")
    assert task_page(short, "genomics") == page
    assert task_page(short, "arn:aws:ecs:eu-west-1:123456789012:cluster/genomics") == page


@pytest.mark.parametrize("arn", ["", "arn:aws:ecs:eu-west-1:123456789012:cluster/genomics", "task/1"])
def test_what_is_no_task_has_no_page(arn):
    with pytest.raises(ValueError, match="not the ARN of an ECS task"):
        task_page(arn, "genomics")


def test_a_log_stream_is_encoded_as_cloudwatch_has_it():
    page = log_page("eu-west-1", "/wdl", "wdl/command/0123 ü")
    assert page == (
        "https://console.aws.amazon.com/cloudwatch/home?region=eu-west-1"
        "#logsV2:log-groups/log-group/$252Fwdl/log-events/wdl$252Fcommand$252F0123$2520$25C3$25BC"
    )


def test_a_folder_may_have_any_name():
    page = folder_page("eu-west-1", "s3://bucket/runs/my+dag/manual__2026-01-01T00:00:00+00:00/a b&c=d/")
    address = urlsplit(page)
    assert address.path == "/s3/buckets/bucket"
    assert parse_qs(address.query)["prefix"] == ["runs/my+dag/manual__2026-01-01T00:00:00+00:00/a b&c=d/"]
    assert "+" not in address.query
    assert unquote(address.fragment) == ""
