"""Every example of the WDL specification, run; what became of it is what ``expectations.json`` says."""

from __future__ import annotations

import pytest

from .expectations import CAUSES
from .outcomes import judge
from .table import Row


def test_every_recorded_name_is_an_example(spec_examples, expectations):
    for version, examples in spec_examples.items():
        assert expectations.unknown(version, {example.name for example in examples}) == set()


@pytest.mark.spec
def test_example(example, outcomes, expectations, spec_rows):
    expected = expectations.of(example)
    if expected is not None and not expected.runs:
        spec_rows.append(Row(example.version, example.name, "not run", expected))
        pytest.skip(f"{CAUSES[expected.cause]}: {expected.reason}")
    if example.priority == "ignore":
        spec_rows.append(Row(example.version, example.name, "not run"))
        pytest.skip("the specification says that it need not be run")
    outcome = outcomes[str(example)].result()
    spec_rows.append(Row(example.version, example.name, "failed" if outcome.at else "passed", expected))
    wrong = judge(outcome, expected)
    needs = f" (it depends on {', '.join(example.dependencies)})" if example.dependencies else ""
    assert wrong is None, f"{example} (SPEC-{example.version}.md:{example.line}){needs}: {wrong}"
