"""What each golden case that has inputs comes to when it runs on the embedded AWS, compared with what is kept there.

``pytest tests/test_golden_runs.py --refresh-golden`` writes the answers anew; read the difference before it is
committed. A file among the outputs is kept by its name.
"""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest

from airflow_wdl_ecs.wdl.inputs import bind_inputs
from airflow_wdl_ecs.wdl.lower import compile_wdl

from .direct import DirectRunner

pytestmark = pytest.mark.local

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(path.parent.name for path in GOLDEN.glob("*/inputs.json"))


@pytest.mark.parametrize("case", CASES)
def test_golden_run(case, embedded_aws, refresh_golden, monkeypatch, tmp_path):
    monkeypatch.chdir(GOLDEN / case)
    plan = compile_wdl("source.wdl")
    inputs = bind_inputs(plan, json.loads(Path("inputs.json").read_text()))
    outputs = asyncio.run(DirectRunner(embedded_aws).run(plan, inputs, tmp_path.name))
    text = re.sub(r's3://[^"]*/([^"/]+)"', r'\1"', json.dumps(outputs, indent=1)) + "\n"
    if refresh_golden:
        Path("outputs.json").write_text(text)
    assert text == Path("outputs.json").read_text()
