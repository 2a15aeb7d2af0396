"""What a DAG run says of itself besides its inputs: in the trigger form, in its conf, and as the run keeps it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_wdl_ecs.dag import build_dag
from airflow_wdl_ecs.ecs.settings import CALL_CACHE_MODES, EcsSettings
from airflow_wdl_ecs.params import given_inputs
from airflow_wdl_ecs.run_options import NAMES, OPTIONS, given_options, meant_as_options, read_options
from airflow_wdl_ecs.wdl.lower import compile_wdl

from .airflow_home import dag_serialization
from .test_params import validate_with

DagSerialization = dag_serialization()
PLAN = compile_wdl("version 1.0\nworkflow w { input { Int n } output { Int m = n } }")
NAMESAKE = compile_wdl("version 1.1\nworkflow w { input { String publish_to } output { String m = publish_to } }")
GIVEN: dict[str, Any] = {
    "call-cache": "off",
    "wdl-tags": {"a": "b"},
    "publish-to": "s3://lab/",
    "publish-mode": "link",
    "publish-names": {"m": "x"},
}
ALWAYS = ["call-cache", "wdl-tags"]
PUBLISHING = ["publish-to", "publish-mode", "publish-names"]


def context(conf: Any = None, params: Any = None) -> Any:
    dag = SimpleNamespace(params=dict.fromkeys(params or {}))
    return {"dag_run": SimpleNamespace(conf=conf), "params": params or {}, "dag": dag}


def test_the_table_has_names_that_no_input_can_have_and_settings_that_there_are() -> None:
    assert set(GIVEN) == NAMES
    assert all("-" in option.name and hasattr(EcsSettings(), option.setting) for option in OPTIONS)
    choices = {option.name: set(option.schema["enum"]) for option in OPTIONS if "enum" in option.schema}
    modes = EcsSettings.__dataclass_fields__["publish_mode"].metadata["choices"]
    assert choices == {"call-cache": set(CALL_CACHE_MODES), "publish-mode": set(modes)}


@pytest.mark.parametrize("name", GIVEN)
def test_an_option_is_given_by_the_conf_or_else_by_a_param_of_the_dag(name: str) -> None:
    value = GIVEN[name]
    assert given_options({}) == {}
    assert given_options(context({name: value}, {name: "other"})) == {name: value}
    assert given_options(context({"n": 1}, {name: value})) == {name: value}
    for empty in (None, "", {}):
        assert given_options(context({name: empty}, {name: empty})) == {}
        assert given_options(context({name: empty}, {name: value})) == {name: value}


def test_a_workflow_that_is_a_part_of_its_dag_publishes_as_its_settings_say() -> None:
    assert set(given_options(context(GIVEN))) == set(GIVEN)
    assert list(given_options(context(GIVEN), scope="group")) == ALWAYS


def test_options_are_no_inputs_and_an_input_may_have_a_settings_name() -> None:
    assert given_inputs(PLAN, context({"n": 1, **GIVEN}, {"n": 1, **GIVEN})) == {"n": 1}
    assert given_inputs(NAMESAKE, context({**GIVEN, "publish_to": "x"})) == {"publish_to": "x"}
    # What is neither is left for the check of inputs.
    assert given_inputs(PLAN, context({"n": 1, "call-cahce": "on", "publish_to": "s3://lab/"})) == {
        "n": 1,
        "call-cahce": "on",
        "publish_to": "s3://lab/",
    }


def test_a_run_keeps_its_options_and_says_what_they_mean() -> None:
    options, problems = read_options({**GIVEN, "wdl-tags": {"a": "b", "cost-centre": 42}}, {})
    assert problems == []
    assert options.call_cache == "off"
    assert options.tags == {"a": "b", "cost-centre": "42"}
    assert options.publish_settings == {
        "publish_to": "s3://lab/",
        "publish_mode": "link",
        "publish_names": {"m": "x"},
    }
    nothing, problems = read_options({}, {"team": "a"})
    assert (nothing.call_cache, nothing.tags, nothing.publish_settings, problems) == ("", {}, {}, [])


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("call-cache", "yes", "call-cache is 'yes', not on, off or refresh"),
        ("call-cache", ["on"], "call-cache is ['on'], not on, off or refresh"),
        ("call-cache", True, "call-cache is True, not on, off or refresh"),
        ("publish-mode", "move", "publish-mode is 'move', not copy, link or none"),
        ("publish-to", "results", "publish-to is 'results', not an S3 prefix, s3://BUCKET/PREFIX/"),
        ("publish-to", "s3:///x", "publish-to is 's3:///x', not an S3 prefix"),
        ("publish-to", "lab/x", "publish-to is 'lab/x', not an S3 prefix"),
        ("publish-to", 7, "publish-to is 7, not an S3 prefix"),
        ("publish-names", "bam=x", "publish-names is 'bam=x', not an object of texts"),
        *(
            ("wdl-tags", given, f"wdl-tags is {given!r}, not an object of texts, such as")
            for given in ("team=a", ["team"], {"team": None}, {"team": True}, {"team": {"a": "b"}})
        ),
        ("wdl-tags", {"wdl:run": "x"}, "tag 'wdl:run': keys that begin with wdl: are this package's own"),
        ("call-cahce", "on", "unknown option call-cahce; did you mean call-cache?"),
    ],
)
def test_what_is_no_value_of_an_option_is_refused(name: str, value: Any, said: str) -> None:
    _, problems = read_options({name: value}, {})
    assert [problem.message[: len(said)] for problem in problems] == [said]


def test_all_that_is_wrong_is_told_at_once_and_briefly() -> None:
    _, problems = read_options({"call-cache": "x" * 1000, "publish-mode": "\n", "wdl-tags": {"aws:a": "b"}}, {})
    assert [problem.message.split(",")[0] for problem in problems] == [
        f"call-cache is '{'x' * 99}...",
        "publish-mode is '\\n'",
        "tag 'aws:a': its key begins with aws:",
    ]


def test_the_tags_of_the_settings_count_for_how_many_there_may_be() -> None:
    of_settings = {f"k{number}": "" for number in range(45)}
    assert read_options({"wdl-tags": {"a": "", "k0": "x"}}, of_settings)[1] == []
    (problem,) = read_options({"wdl-tags": {"a": "", "b": ""}}, of_settings)[1]
    assert problem.message.startswith("there are 47 tags, and a task takes 46")


def test_what_can_only_be_an_option_misspelt() -> None:
    names = ["call-cache", "call-cahce", "n", "publish_to", "#a-comment", "call.runtime.some-hint"]
    assert meant_as_options(names) == {"call-cahce"}


def as_airflow_has_it(**given: Any) -> Any:
    """The params of a DAG, as Airflow's server reads them."""
    serialised = json.loads(json.dumps(DagSerialization.to_dict(build_dag(PLAN, dag_id="w", **given))))
    return DagSerialization.from_dict(serialised).params


def test_the_form_has_them_in_a_section_of_their_own() -> None:
    params = as_airflow_has_it(settings={"publish_to": "s3://lab/{run_id}/"}, params={"more": 1})
    assert list(params) == ["n", *ALWAYS, *PUBLISHING, "more"]
    for name in NAMES:
        param = params.get_param(name)
        assert (param.value, param.schema["section"]) == (None, "This run")
        assert "null" in param.schema["type"]
    assert params.get_param("publish-to").description.endswith("if empty: s3://lab/{run_id}/")
    validate_with(params, {"n": 1})
    validate_with(params, {"n": 1, **GIVEN, "wdl-tags": {"team": "a", "cost-centre": 42}})
    validate_with(params, {"n": 1, **dict.fromkeys(GIVEN)})
    for name, wrong in {"wdl-tags": "team=a", "call-cache": "yes", "publish-mode": "move", "publish-names": 1}.items():
        with pytest.raises(Exception, match=f"Invalid input for param {name}"):
            validate_with(params, {"n": 1, name: wrong})


def test_the_form_asks_about_publishing_only_where_the_dag_publishes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(build_dag(PLAN).params) == ["n", *ALWAYS]
    monkeypatch.setenv("AIRFLOW__WDL_ECS__PUBLISH_TO", "s3://all/")
    assert list(build_dag(PLAN).params) == ["n", *ALWAYS, *PUBLISHING]
    assert list(build_dag(PLAN, settings={"publish_to": ""}).params) == ["n", *ALWAYS]
    assert build_dag(NAMESAKE).params.get_param("publish_to").schema.get("section") != "This run"


def test_a_dags_author_may_say_what_its_runs_do_unless_they_say_otherwise() -> None:
    dag = build_dag(PLAN, dag_id="w", params={"call-cache": "on"}, inputs={"n": 1}, schedule="@daily")
    params = {name: dag.params.get_param(name).value for name in dag.params}
    assert given_options(context({}, params)) == {"call-cache": "on"}
    assert given_options(context({"call-cache": "off"}, params)) == {"call-cache": "off"}
