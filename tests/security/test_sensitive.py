"""Inputs that are secrets: which they are, and that nothing that is shown of a run has them."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest

from airflow_wdl_ecs.attempts import Attempt
from airflow_wdl_ecs.ecs.attributes import Policy
from airflow_wdl_ecs.ecs.resources import TaskSize
from airflow_wdl_ecs.ecs.settings import EcsSettings
from airflow_wdl_ecs.errors import CallError, InputsError, Problem
from airflow_wdl_ecs.host import resolve_settings, xcom_of
from airflow_wdl_ecs.ledger import Ledger
from airflow_wdl_ecs.lifecycle import CallOutcome
from airflow_wdl_ecs.preparation import Prepared
from airflow_wdl_ecs.report_reading import read_report, stderr_of_failures
from airflow_wdl_ecs.run import begin_run, open_run
from airflow_wdl_ecs.sensitive import MASK, DiscreetLog, hide, redact, secret_texts, sensitive_inputs, without_secrets
from airflow_wdl_ecs.story import as_json
from airflow_wdl_ecs.submission import _may_travel
from airflow_wdl_ecs.task import CallIdentity, OutputRequest, StageIn, TaskRequest
from airflow_wdl_ecs.wdl.inputs import bind_inputs
from airflow_wdl_ecs.wdl.lower import compile_wdl
from airflow_wdl_ecs.workflow_operators import asset_extra

from ..direct import DirectRunner
from ..fake_aws import FakeS3

PATTERNS = EcsSettings().sensitive_inputs
SECRET = "x7Kq-very-secret"  # the value that must be nowhere
SOURCE = """
version 1.1
workflow w {
  input {
    String key
    String db_password
    Int token_count = 3
    String? api_token
    String plain_token = "p"
    Array[String] names = []
  }
  call t { input: key = key, password = db_password }
  output { String said = t.said }
}
task t {
  input { String key  String password  String? auth_token }
  command <<<
    echo "key is ~{key}" >&2
    printf %s '~{password}' | wc -c
  >>>
  output { String said = read_string(stdout()) }
  runtime { docker: "debian:12-slim" }
  parameter_meta { key: { sensitive: true } }
}
"""
PLAN = compile_wdl(
    SOURCE.replace(
        "  output { String said = t.said }",
        "  output { String said = t.said }\n"
        "  parameter_meta { key: { sensitive: true }  plain_token: { sensitive: false } }",
    )
)


def test_the_author_and_the_deployment_say_which_inputs_are_secrets():
    assert sensitive_inputs(PLAN, PATTERNS) == ("key", "db_password", "api_token", "t.auth_token")
    assert sensitive_inputs(PLAN, ()) == ("key",)
    assert sensitive_inputs(PLAN, ["KEY", "names"]) == ("key",)


def test_the_patterns_hold_where_airflows_configuration_says_nothing_of_them():
    assert resolve_settings().sensitive_inputs == PATTERNS
    assert sensitive_inputs(PLAN, resolve_settings().sensitive_inputs) == sensitive_inputs(PLAN, PATTERNS)


def test_what_is_shown_has_a_mask_in_their_place():
    shown = without_secrets({"key": SECRET, "api_token": None, "names": ["a"]}, ("key", "api_token"))
    assert shown == {"key": MASK, "api_token": None, "names": ["a"]}


def test_secrets_are_looked_for_in_every_text_the_longest_first():
    secrets = secret_texts(
        {"a": ["abcd", "abcdef"], "b": {"x": {"y": "wxyz"}}, "c": "ab", "d": True, "e": 12345}, "abcde"
    )
    assert secrets == ("abcdef", "12345", "abcd", "wxyz")
    assert redact({"k abcdef": ["wxyz!", 7, None]}, secrets) == {f"k {MASK}": [f"{MASK}!", 7, None]}
    assert redact("abcdef", ()) == "abcdef"


def test_a_log_is_not_told_them(caplog):
    caplog.set_level(logging.INFO)
    log = DiscreetLog(logging.getLogger("t"), (SECRET,))
    log.info("input %s = %s in %d of %.1f s", "key", {"a": SECRET}, 3, 2.5)
    log.warning("%s", ValueError(f"no {SECRET}"))
    assert [record.getMessage() for record in caplog.records] == ["input key = {'a': '***'} in 3 of 2.5 s", "no ***"]


def test_a_value_in_a_log_is_one_line_of_some_length(caplog):
    caplog.set_level(logging.INFO)
    log = DiscreetLog(logging.getLogger("t"), ())
    log.info("output %s = %s", "x", "a\n[2026-01-01] ERROR all is lost\r\x1b[2J\u2028")
    log.warning("%s", "y" * 5000)
    first, second = (record.getMessage() for record in caplog.records)
    assert first == "output x = a\\n[2026-01-01] ERROR all is lost\\r\\x1b[2J\\u2028"
    assert second == "y" * 2000 + "… (5000 characters)"


def test_no_part_of_a_secret_is_left_where_it_is_cut_split_or_written_as_json(caplog):
    caplog.set_level(logging.INFO)
    key = "-----BEGIN-----\nMIIE" + "k" * 3000 + '\ntail"é of it\n'
    log = DiscreetLog(logging.getLogger("t"), secret_texts({"k": key}, ("k",)))
    log.info("%s", as_json({"k": f"{key} and more"}))
    log.info("%s", json.dumps(key))
    log.info("%s", "  echo " + key.splitlines()[1])
    log.info("%s", key)
    told = [record.getMessage() for record in caplog.records]
    assert told == ['{"k": "*** and more"}', '"***"', "  echo ***", "***"]


def test_errors_are_rid_of_them():
    error = CallError(f"failed with {SECRET}", stderr=f"no {SECRET}", hint=f"not {SECRET}", call="t", exit_code=3)
    hide(error, (SECRET,))
    assert SECRET not in repr(vars(error)) + repr(error.args)
    assert str(error) == "call t: failed with ***\nnot ***"
    problems = InputsError([Problem(f"bad {SECRET}", excerpt=SECRET)])
    hide(problems, (SECRET,))
    assert problems.problems == (Problem("bad ***", excerpt="***"),)
    assert str(problems) == "bad ***\n***"


def test_what_is_wrong_with_a_secret_does_not_say_it():
    with pytest.raises(InputsError) as caught:
        begin(FakeS3(), {"w.key": [SECRET], "db_password": "hunter22", "token_count": "plain words"})
    assert SECRET not in str(caught.value)
    assert "plain words" in str(caught.value)


def test_xcoms_that_only_people_read_are_without_them():
    outcome = CallOutcome({(): {"said": f"<{SECRET}>", "n": 1}}, secrets=(SECRET,))
    assert xcom_of(outcome, "align", None) == {"said": "<***>", "n": 1}
    assert xcom_of(outcome, "align", "align") == {"said": f"<{SECRET}>", "n": 1}


def test_an_asset_event_leaves_outputs_with_them_to_the_runs_folder():
    assert asset_extra("s3://b/", {"x": f"<{SECRET}>"}, [SECRET]) == {"folder": "s3://b/", "uri": "s3://b/outputs.json"}
    assert asset_extra("s3://b/", {"x": "y"}, [SECRET])["outputs"] == {"x": "y"}


def test_a_report_is_without_them_in_reasons_outputs_and_stderr():
    s3 = FakeS3()
    run = begin(s3, {"key": SECRET, "db_password": "hunter22"})
    prefix = run.store.layout.attempt("t", (), 0)
    run.store.put(f"{prefix}stderr", f"{'x' * 20}{SECRET}, hunter22\nend".encode())
    run.store.put_json(run.store.layout.named("outputs.json"), {"said": f"it is {SECRET}"})
    failed = Attempt(0, 1, "arn", "c", 1.0, kind="command_failed", reason=f"no {SECRET}", prefix=prefix)
    Ledger(run.store, "t", ()).write_attempts([failed])
    report = read_report(run.store)
    assert report is not None
    assert "hunter22" not in repr(report)
    assert SECRET not in repr(report)
    assert report.failures[0].reason == "no ***"
    assert report.outputs == {"said": "it is ***"}
    for size in (8, 15, 20, 100):
        assert not {"secret", "ecret", "ter22", "hunter22"} & set(
            re.split(r"[\W]", stderr_of_failures(run.store, report, size)["t/_"])
        )


def begin(s3, inputs):
    class ecs:  # noqa: N801
        class meta:  # noqa: N801
            region_name = "eu-west-1"
            endpoint_url = "https://ecs.eu-west-1.amazonaws.com"

    settings = EcsSettings(cluster="c", workspace="s3://b", log_group="/g", launch_type="EC2")
    return begin_run(settings, lambda name: s3 if name == "s3" else ecs, PLAN, inputs, dag_id="d", run_id="r")


def test_a_run_knows_its_secrets_in_every_process():
    s3 = FakeS3()

    class ecs:  # noqa: N801
        class meta:  # noqa: N801
            region_name = "eu-west-1"
            endpoint_url = "https://ecs.eu-west-1.amazonaws.com"

    settings = EcsSettings(cluster="c", workspace="s3://b", log_group="/g", launch_type="EC2")
    inputs = {"key": SECRET, "db_password": "hunter22"}
    begin_run(settings, lambda name: s3 if name == "s3" else ecs, PLAN, inputs, dag_id="d", run_id="r")
    # Another process, of a deployment that has changed its patterns meanwhile.
    other = EcsSettings(cluster="c", workspace="s3://b", log_group="/g", launch_type="EC2", sensitive_inputs=())
    run = open_run(other, lambda name: s3 if name == "s3" else ecs, "d", "r")
    assert run.secrets == (SECRET, "hunter22")
    assert run.shown_inputs == {"key": MASK, "db_password": MASK}
    assert run.inputs["key"] == SECRET


@pytest.mark.parametrize(
    "change",
    [
        {"command": f"curl -u {SECRET}"},
        {"environment": {"KEY": SECRET}},
        {"inputs": (StageIn(f"s3://b/{SECRET}/x", "/wdl/x/inputs/0/x"),)},
        {"outputs": OutputRequest(paths=(f"{SECRET}.txt",))},
        {"outputs": OutputRequest(globs=(f"{SECRET}*",))},
    ],
)
def test_scripts_with_a_secret_in_them_do_not_travel_with_the_request(change):
    request = TaskRequest(CallIdentity("d", "r", "c"), 0, "image", "true", "/wdl/x", "s3://b/p/")
    run = SimpleNamespace(secrets=(SECRET,))
    size = TaskSize(1024, 2048)
    assert _may_travel(run, Prepared(request, None, size, Policy()), {})
    assert not _may_travel(run, Prepared(replace(request, **change), None, size, Policy()), {})


@pytest.mark.local
async def test_a_call_tells_neither_its_secrets_nor_anybodys_credentials(embedded_aws, caplog):
    caplog.set_level(logging.INFO)
    runner = DirectRunner(embedded_aws)
    inputs = bind_inputs(PLAN, {"key": SECRET, "db_password": "hunter22"})
    outputs = await runner.run(PLAN, inputs, "secrets")
    assert outputs == {"said": "8"}
    ours = [r.getMessage() for r in caplog.records if r.name.startswith(("tests", "airflow_wdl_ecs"))]
    assert 'input key = "***"' in ours
    assert any("key is ***" in line for line in ours)
    assert not [line for line in ours if SECRET in line or "hunter22" in line]
    assert not [line for line in ours if embedded_aws.secret_key in line or embedded_aws.access_key in line]
    credentials = (embedded_aws.secret_key, embedded_aws.access_key)
    s3, bucket, ecs = runner.client("s3"), embedded_aws.bucket, runner.client("ecs")
    # Whoever may describe a task sees its overrides.
    tasks = [
        task
        for status in ("RUNNING", "STOPPED")
        for arns in [ecs.list_tasks(cluster=embedded_aws.cluster, desiredStatus=status)["taskArns"]]
        if arns
        for task in ecs.describe_tasks(cluster=embedded_aws.cluster, tasks=arns)["tasks"]
    ]
    assert tasks
    assert SECRET not in str(tasks)
    assert "hunter22" not in str(tasks)
    keys = [o["Key"] for o in s3.list_objects_v2(Bucket=bucket, Prefix="wdl/runs/direct/secrets/")["Contents"]]
    assert any(key.endswith("result.json") for key in keys)
    for key in keys:
        data = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        for credential in credentials:
            assert credential.encode() not in data, key
