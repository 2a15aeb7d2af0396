"""A workflow that runs on the outputs of another: after each run of the DAG kmers, on its tumor sample's counts."""

from pathlib import Path

from airflow_wdl_ecs import outputs_asset, triggering_output, wdl_dag

dag = wdl_dag(
    Path(__file__).with_name("top_kmers.plan.json"),
    schedule=outputs_asset("kmers"),
    inputs={"counts": triggering_output("kmers", "tumor_counts")},
)
