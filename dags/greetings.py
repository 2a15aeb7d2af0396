"""One WDL task beside ordinary Airflow tasks, both ways: their values go in, its outputs come out."""

from pathlib import Path

from airflow.sdk import DAG, task

from airflow_wdl_ecs import WdlEcsTaskOperator

with DAG("greetings", schedule=None, tags=["wdl"], params={"guests": ["Ada", "Grace"]}) as dag:

    @task
    def invited(params: dict) -> str:
        return " and ".join(params["guests"])

    greet = WdlEcsTaskOperator(
        task_id="greet",
        wdl=Path(__file__).with_name("wdl") / "hello.wdl",
        task="greet",
        inputs={"name": invited()},
    )

    @task
    def read_aloud(outputs: dict) -> None:
        print(outputs["greeting"])

    read_aloud(greet.output)
