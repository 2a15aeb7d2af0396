"""The operators around a workflow's calls: templated inputs as values, the assets of a run, a workflow in any DAG."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from airflow.sdk import DAG, Asset, task, task_group
from airflow.utils.state import DagRunState, TaskInstanceState

from airflow_wdl_ecs import host
from airflow_wdl_ecs.clean import clean_run
from airflow_wdl_ecs.dag import build_dag, wdl_task_group
from airflow_wdl_ecs.errors import AuthorError
from airflow_wdl_ecs.layout import Layout, key_safe
from airflow_wdl_ecs.storage import RunStore
from airflow_wdl_ecs.wdl.lower import compile_wdl
from airflow_wdl_ecs.workflow_operators import MOST_EXTRA, asset_extra, outputs_asset, triggering_output

from .direct import DirectRunner
from .test_dag import edges
from .test_operators import run, states, xcom

TYPES = """
version 1.1
struct Sample { String name  Int lanes }
workflow types {
    input {
        String id
        Int count
        Float ratio = 0.5
        Boolean loud = false
        Array[String] names = []
        Array[Int] counts = []
        Map[String, Int] ages = {}
        Sample? sample
        String? when
    }
    output {
        String got_id = id
        Int got_count = count
        Float got_ratio = ratio
        Boolean got_loud = loud
        Array[String] got_names = names
        Array[Int] got_counts = counts
        Map[String, Int] got_ages = ages
        Sample? got_sample = sample
        String? got_when = when
    }
}
"""

SCATTER = """
version 1.0
workflow lengths {
    input { Array[String] words  Boolean polite = false }
    scatter (word in words) {
        call measure { input: word = word }
    }
    if (polite) { call measure as greeting { input: word = "hello" } }
    call total { input: lengths = measure.length, more = greeting.length }
    output { Int letters = total.sum }
}
task measure {
    input { String word }
    command <<< printf '%s' '~{word}' | wc -c >>>
    output { Int length = read_int(stdout()) }
}
task total {
    input { Array[Int] lengths  Int? more }
    command <<< echo $(( ~{sep="+" lengths} + ~{default="0" more} )) >>>
    output { Int sum = read_int(stdout()) }
}
"""

SIZES = """
version 1.2
workflow sizes {
    call size as first {}
    call size as second {}
    call size as third {}
    output { Array[Float] cpus = [first.cpu, second.cpu, third.cpu] }
}
task size {
    command <<< echo ~{task.cpu} >>>
    output { Float cpu = read_float(stdout()) }
    requirements { cpu: 1 }
}
"""


NOTE = """
version 1.2
workflow noted {
    input { String text }
    output { File note = write_lines([text]) }
}
"""


def test_a_runs_assets_say_where_the_outputs_are_and_what_they_are():
    assert asset_extra("s3://b/runs/d/r/", {"bam": "s3://b/x.bam"}) == {
        "folder": "s3://b/runs/d/r/",
        "uri": "s3://b/runs/d/r/outputs.json",
        "outputs": {"bam": "s3://b/x.bam"},
    }


def test_an_asset_event_says_where_the_outputs_were_published():
    published = {"uri": "s3://lab/outputs.json", "folder": "s3://lab/"}
    assert asset_extra("s3://b/r/", {}, (), published)["published"] == "s3://lab/outputs.json"


def test_outputs_that_are_large_stay_out_of_the_asset_event():
    assert "outputs" not in asset_extra("s3://b/r/", {"text": "x" * MOST_EXTRA})


def test_a_dag_has_an_asset_named_after_it_and_others_if_the_author_says_so():
    plan = compile_wdl(TYPES)
    assert build_dag(plan, dag_id="d").get_task("outputs").outlets == [outputs_asset("d")]
    assert outputs_asset("d") == Asset(name="d.outputs", uri="x-wdl://d/outputs")
    assert build_dag(plan, outlets=[]).get_task("outputs").outlets == []
    mine = [Asset("calls"), outputs_asset("d")]
    assert build_dag(plan, outlets=mine).get_task("outputs").outlets == mine


def test_a_group_stands_between_the_tasks_around_it_with_its_name_before_every_task():
    plan = compile_wdl(SCATTER)
    with DAG("d", schedule=None) as dag:

        @task
        def words() -> list[str]:
            return ["a"]

        @task
        def report(letters: int) -> None:
            print(letters)

        one = wdl_task_group(plan, group_id="one", inputs={"words": words()})
        two = wdl_task_group(plan, group_id="two", inputs={"words": ["b"]})
        report(one.output["letters"])
        one >> two
    found = edges(dag)
    assert ("words", "one.inputs") in found
    assert ("one.inputs", "one.scatter_word.shards") in found
    assert ("one.outputs", "report") in found
    assert ("one.outputs", "two.inputs") in found
    assert dag.get_task("one.measure").scope == "one"
    assert dag.get_task("two.measure").scope == "two"


def test_a_group_within_a_group_has_the_ids_of_both():
    with DAG("d", schedule=None) as dag:

        @task_group
        def outer():
            wdl_task_group(compile_wdl(SCATTER), inputs={"words": []})

        outer()
    assert dag.get_task("outer.lengths.total").scope == "outer.lengths"


def test_a_group_cannot_be_mapped():
    @task_group
    def each(word):
        wdl_task_group(compile_wdl(SCATTER), inputs={"words": [word]})

    with DAG("d", schedule=None), pytest.raises(AuthorError, match="mapped"):
        each.expand(word=["a", "b"])


def test_a_plan_is_found_beside_the_dag_file(tmp_path):
    (tmp_path / "w.plan.json").write_bytes(compile_wdl(TYPES).to_json())
    file = tmp_path / "some_dag.py"
    file.write_text("from airflow_wdl_ecs import wdl_dag\ndag = wdl_dag('w.plan.json', dag_id='beside')\n")
    names: dict = {"__file__": str(file)}
    exec(compile(file.read_text(), str(file), "exec"), names)
    assert names["dag"].dag_id == "beside"


FILES = """
version 1.0
workflow files {
    call make
    call use { input: made = make.made }
    output { File kept = use.kept  File same = make.both[0]  Int lines = use.lines }
}
task make {
    command <<< echo one > a; echo two > b; echo three > c >>>
    output { File made = "a"  Array[File] both = ["b", "c"] }
}
task use {
    input { File made }
    command <<< cat '~{made}' > kept; wc -l < kept >>>
    output { File kept = "kept"  Int lines = read_int(stdout()) }
}
"""

LINKED = """
version development
workflow linked {
    call make
    call use { input: made = make.made }
    output { File kept = use.kept  Directory folder = use.folder }
}
task make {
    command <<< echo one > a >>>
    output { File made = "a" }
}
task use {
    input { File made }
    command <<< mkdir -p d/e; cp '~{made}' kept; cp kept d/one; cp kept d/e/two >>>
    output { File kept = "kept"  Directory folder = "d" }
}
"""


@pytest.mark.local
@pytest.mark.airflow
class TestRuns:
    def test_intermediate_files_are_deleted_after_a_success_where_that_is_set(self, airflow_on_embedded_aws):
        settings = {"intermediate_files": "delete"}
        dag_run = run(build_dag(compile_wdl(FILES), dag_id="tidy", settings=settings))
        assert dag_run.state == DagRunState.SUCCESS
        outputs, made = xcom(dag_run, "outputs"), xcom(dag_run, "make")
        resolved = host.resolve_settings()
        store = RunStore(host.airflow_clients(resolved)("s3"), Layout(resolved.workspace, "tidy", dag_run.run_id))
        assert store.exists(outputs["kept"])
        assert store.exists(outputs["same"])
        assert outputs["same"] == made["both"][0]
        assert not store.exists(made["made"])
        assert not store.exists(made["both"][1])
        assert store.get_json(store.layout.named("cleaned.json"))["files"] == 2

    def test_what_is_only_linked_where_it_is_published_stays_when_intermediate_files_are_deleted(
        self, airflow_on_embedded_aws
    ):
        resolved = host.resolve_settings()
        bucket = resolved.workspace.split("/")[2]
        settings = {
            "intermediate_files": "delete",
            "publish_to": f"s3://{bucket}/linked/{{run_id}}/",
            "publish_mode": "link",
        }
        dag_run = run(build_dag(compile_wdl(LINKED), dag_id="tidy_links", settings=settings))
        assert dag_run.state == DagRunState.SUCCESS
        store = RunStore(host.airflow_clients(resolved)("s3"), Layout(resolved.workspace, "tidy_links", dag_run.run_id))
        ended = dag_run.get_task_instance("outputs")
        published = ended.xcom_pull(task_ids="outputs", key="_published")
        assert (published["mode"], published["files"]) == ("link", 3)
        links = store.get_json(published["uri"])
        assert {name: store.get(uri) for name, uri in links.items() if name != "linked.folder"} == {
            "linked.kept": b"one\n"
        }
        listed = [uri for uri, _ in store.list(links["linked.folder"])]
        assert [uri.rpartition("/work/")[2] for uri in listed] == ["d/e/two", "d/one"]
        manifest = store.get_json(f"{published['folder']}manifest.json")
        assert all(store.exists(file["uri"]) for file in manifest["files"])
        # The file that only the other call needed has gone.
        assert not store.exists(xcom(dag_run, "make")["made"])
        assert store.get_json(store.layout.named("cleaned.json"))["files"] == 1
        # Nor does cleaning by hand take them later.
        assert clean_run(host.airflow_clients(resolved)("s3"), store.layout, lambda *_: "success").files == 0

    def test_templates_give_values_of_the_inputs_types(self, airflow_on_embedded_aws):
        inputs = {
            "id": "{{ params.given }}",
            "count": "{{ '3' }}",
            "ratio": "{{ params.ratio }}",
            "loud": "{{ params.given == '007' }}",
            "names": "{{ params.people }}",
            "counts": "[1, {{ params.people | length }}]",
            "types.ages": {"{{ no key }}": "{{ params.ratio | int }}"},
            "sample": {"name": "s-{{ params.given }}", "lanes": "{{ 2 }}"},
            "when": "{{ ds }}",
        }
        dag = build_dag(
            compile_wdl(TYPES),
            dag_id="templated",
            inputs=inputs,
            params={"given": "007", "people": ["Ada", "Grace"], "ratio": 2.5},
        )
        dag_run = run(dag, logical_date=datetime(2026, 2, 3, tzinfo=timezone.utc))
        assert dag_run.state == DagRunState.SUCCESS
        assert xcom(dag_run, "outputs") == {
            "got_id": "007",
            "got_count": 3,
            "got_ratio": 2.5,
            "got_loud": True,
            "got_names": ["Ada", "Grace"],
            "got_counts": [1, 2],
            "got_ages": {"{{ no key }}": 2},
            "got_sample": {"name": "s-007", "lanes": 2},
            "got_when": "2026-02-03",
        }

    def test_a_run_gives_what_its_dag_would_have_taken_from_an_asset(self, airflow_on_embedded_aws):
        dag = build_dag(
            compile_wdl(TYPES),
            dag_id="by_hand",
            inputs={
                "id": triggering_output("other", "id"),
                "types.count": "{{ no_such_thing }}",
                "when": "{{ run_id }}",
            },
        )
        dag_run = run(dag, {"id": "mine", "count": 1})
        outputs = xcom(dag_run, "outputs")
        assert (outputs["got_id"], outputs["got_count"], outputs["got_when"]) == ("mine", 1, dag_run.run_id)

    def test_a_dag_publishes_where_it_says_and_a_run_where_it_says_instead(self, airflow_on_embedded_aws):
        settings = {"publish_to": "s3://wdl/of_dag/{date}/{run_id}", "publish_names": {"note": "{output}.txt"}}
        dag = build_dag(compile_wdl(NOTE), dag_id="publishes", settings=settings)
        store = RunStore(DirectRunner(airflow_on_embedded_aws).client("s3"), Layout("s3://wdl/any", "publishes", "any"))
        # Of another day each: Airflow's own test run of the same day takes the other's id, whose XComs are in the way.
        days = [datetime(2026, 2, day, tzinfo=timezone.utc) for day in (3, 4)]
        conf = {"text": "x", "publish-to": "s3://wdl/of_run/", "publish-mode": "link"}
        runs = (({"text": "x"}, "s3://wdl/of_dag/2026-02-03/{}/"), (conf, "s3://wdl/of_run/"))
        for (given, uri), day in zip(runs, days, strict=True):
            dag_run = run(dag, given, logical_date=day)
            assert dag_run.state == DagRunState.SUCCESS
            folder = uri.format(key_safe(dag_run.run_id))
            outputs = dag_run.get_task_instance("outputs")
            told = outputs.xcom_pull(task_ids="outputs", key="_published")
            assert (told["folder"], told["files"]) == (folder, 1)
            # What other tasks read is in the run's folder, as ever.
            written = xcom(dag_run, "outputs")["note"]
            published = store.get_json(f"{folder}outputs.json")
            assert published == {"noted.note": f"{folder}note.txt" if given is not conf else written}
            assert store.get(published["noted.note"]) == b"x\n"

    def test_a_place_that_is_no_place_is_refused_before_anything_runs(self, airflow_on_embedded_aws):
        dag = build_dag(compile_wdl(NOTE), dag_id="publishes_nowhere", settings={"publish_to": "s3://no-bucket-here/"})
        assert states(run(dag, {"text": "x"}))["inputs"] == TaskInstanceState.FAILED

    def test_a_template_that_gives_the_wrong_type_is_refused(self, airflow_on_embedded_aws):
        dag = build_dag(compile_wdl(TYPES), dag_id="mistyped", inputs={"id": "x", "count": "{{ ds }}"})
        assert states(run(dag))["inputs"] == TaskInstanceState.FAILED

    def test_groups_of_one_workflow_run_in_one_dag_with_values_from_its_tasks(self, airflow_on_embedded_aws):
        plan = compile_wdl(SCATTER)
        with DAG("mixed", schedule=None) as dag:

            @task
            def words() -> list[str]:
                return ["a", "bc"]

            @task
            def everything(letters: int) -> dict:
                return {"words": ["x" * letters], "polite": True}

            @task
            def report(outputs: dict) -> int:
                return outputs["letters"]

            one = wdl_task_group(plan, group_id="one", inputs={"words": words()})
            two = wdl_task_group(plan, group_id="two", inputs=everything(one.output["letters"]))
            report(two.output)
        dag_run = run(dag)
        assert dag_run.state == DagRunState.SUCCESS
        assert xcom(dag_run, "one.outputs") == {"letters": 3}
        assert states(dag_run)["one.greeting"] == TaskInstanceState.SKIPPED
        assert xcom(dag_run, "report") == 8

    def test_a_group_that_the_dag_branches_past_is_skipped_as_a_whole(self, airflow_on_embedded_aws):
        with DAG("branching", schedule=None) as dag:

            @task.branch
            def choose() -> str:
                return "other"

            @task
            def other() -> None:
                pass

            group = wdl_task_group(compile_wdl(SCATTER), group_id="g", inputs={"words": ["a"]})
            choose() >> [other(), group]
        dag_run = run(dag)
        assert dag_run.state == DagRunState.SUCCESS
        found = states(dag_run)
        assert {state for name, state in found.items() if name.startswith("g.")} == {TaskInstanceState.SKIPPED}
        assert found["other"] == TaskInstanceState.SUCCESS

    def test_a_call_has_the_attributes_that_its_dag_gives_it_unless_the_run_gives_others(self, airflow_on_embedded_aws):
        inputs = {"sizes.first.runtime.cpu": 3, "second.runtime.cpu": 2}
        dag = build_dag(compile_wdl(SIZES), dag_id="sizes", inputs=inputs)
        assert xcom(run(dag), "outputs") == {"cpus": [3, 2, 1]}
        assert xcom(run(dag, {"second.runtime.cpu": 4}), "outputs") == {"cpus": [3, 4, 1]}
