"""A run whose intermediate files are gone, on the embedded AWS: what a cleared call says, and what starts anew."""

from __future__ import annotations

import asyncio

import pytest

from airflow_wdl_ecs.clean import clean_run
from airflow_wdl_ecs.ledger import Ledger
from airflow_wdl_ecs.lifecycle import run_call
from airflow_wdl_ecs.local.endpoint import Endpoint
from airflow_wdl_ecs.run import finish_run, open_run
from airflow_wdl_ecs.wdl.lower import compile_wdl

from .direct import DAG, LOG, DirectRunner

pytestmark = pytest.mark.local

CHAIN = """
version 1.0
workflow w { call make  call use { input: made = make.made }  output { File size = use.size } }
task make { command <<< echo made > made >>> output { File made = "made" } }
task use { input { File made }  command <<< wc -c < '~{made}' > size >>> output { File size = "size" } }
"""


async def test_a_cleared_call_says_that_its_inputs_were_cleaned_and_all_tasks_start_anew(
    embedded_aws: Endpoint,
) -> None:
    runner = DirectRunner(embedded_aws, infrastructure_retries=0)
    plan = compile_wdl(CHAIN)
    outputs = await runner.run(plan, {}, "cleaned")
    run = await asyncio.to_thread(open_run, runner.settings, runner.client, DAG, "cleaned")
    found = await asyncio.to_thread(clean_run, runner.client("s3"), run.store.layout, lambda *_: "success")
    assert [group.name for group in found.groups] == ["make"]
    assert runner.read(outputs["size"]) == b"5\n"
    await asyncio.to_thread(Ledger(run.store, "use", ()).clear_success, 2)
    (failure,) = (await run_call(run, "use", [()], try_number=2, log=LOG)).failures.values()
    assert "the inputs could not be staged" in str(failure)
    assert "the intermediate files of this run were deleted; clear all of its tasks" in str(failure)
    for call in ("make", "use"):
        again = await asyncio.to_thread(open_run, runner.settings, runner.client, DAG, "cleaned")
        outcome = await run_call(again, call, [()], try_number=3, log=LOG)
        assert not outcome.failures
    ended = await asyncio.to_thread(open_run, runner.settings, runner.client, DAG, "cleaned")
    assert runner.read((await asyncio.to_thread(finish_run, ended))["size"]) == b"5\n"
