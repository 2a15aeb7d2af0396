"""A WDL workflow among ordinary Airflow tasks, both ways: their values go in, its outputs come out. It runs twice."""

from pathlib import Path

from airflow.sdk import DAG, Param, task

from airflow_wdl_ecs import wdl_task_group

PLAN = Path(__file__).with_name("kmers.plan.json")
READS = "{{ params.reads }}"

with DAG("kmer_study", schedule=None, tags=["wdl"], params={"reads": Param(500, type="integer", minimum=1)}) as dag:

    @task
    def choose_length(params: dict) -> int:
        return 4 if params["reads"] < 1000 else 5

    @task
    def double(length: int) -> int:
        return 2 * length

    length = choose_length()
    short = wdl_task_group(PLAN, group_id="short", inputs={"reads": READS, "k": length})
    longer = wdl_task_group(PLAN, group_id="longer", inputs={"reads": READS, "k": double(length)})

    @task
    def compare(short_only: list, longer_only: list) -> dict:
        return {"short": len(short_only), "longer": len(longer_only)}

    compare(short.output["only_in_tumor"], longer.output["only_in_tumor"])
