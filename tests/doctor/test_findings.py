"""How checks become findings: what is skipped, what an error of AWS means, and that nothing ends an examination."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from airflow_wdl_ecs.aws import aws_errors
from airflow_wdl_ecs.doctor.findings import Check, Finding, examine, ok, problem, skipped, unknown
from airflow_wdl_ecs.errors import Problem, SettingsError, WdlEcsError

from ..fake_aws import refusal


def raising(error: Exception) -> Any:
    def look() -> list[Finding]:
        with aws_errors("DescribeThings"):
            raise error

    return look


def verdicts(*checks: Check) -> list[tuple[str, str]]:
    return [(finding.check, finding.verdict) for finding in examine(checks)]


@pytest.mark.parametrize("bad", [problem("broken", "mend it"), skipped("none is set")])
def test_what_builds_on_what_failed_or_was_skipped_is_skipped_and_the_others_go_on(bad: Finding) -> None:
    first = Check("first", lambda: [bad])
    checks = [Check("second", lambda: [ok("")], ("first",)), Check("third", lambda: [ok("")], ("second",))]
    assert verdicts(first, *checks, Check("other", lambda: [ok("")]))[1:] == [
        ("second", "skipped"),
        ("third", "skipped"),
        ("other", "ok"),
    ]


def test_what_could_not_be_looked_at_stops_nothing() -> None:
    checks = [Check("first", lambda: [unknown("denied")]), Check("second", lambda: [ok("")], ("first",))]
    assert verdicts(*checks) == [("first", "unknown"), ("second", "ok")]


@pytest.mark.parametrize(
    ("error", "needed", "verdict"),
    [
        (refusal("AccessDenied"), False, "unknown"),
        (refusal("UnauthorizedOperation"), False, "unknown"),
        (EndpointConnectionError(endpoint_url="https://iam.test"), False, "unknown"),
        (refusal("AccessDenied"), True, "problem"),
        (EndpointConnectionError(endpoint_url="https://s3.test"), True, "problem"),
        (refusal("ExpiredToken"), False, "problem"),
        (refusal("ClusterNotFoundException"), False, "problem"),
        (KeyError("surprise"), True, "unknown"),
    ],
)
def test_what_an_error_means(error: Exception, needed: bool, verdict: str) -> None:
    (finding,) = examine([Check("it", raising(error), needed=needed)])
    assert finding.verdict == verdict
    assert (type(error).__name__ in finding.found) or ("DescribeThings" in finding.found)
    assert ("can be reached" in finding.mend) == isinstance(error, EndpointConnectionError)


def test_every_wrong_setting_is_a_finding_and_hints_mend() -> None:
    def settings() -> list[Finding]:
        raise SettingsError([Problem("one"), Problem("two")])

    def other() -> list[Finding]:
        raise WdlEcsError("wrong", hint="do this")

    found = list(examine([Check("settings", settings), Check("other", other)]))
    assert [(f.check, f.found) for f in found] == [("settings", "one"), ("settings", "two"), ("other", "wrong")]
    assert found[-1].mend == "do this"
