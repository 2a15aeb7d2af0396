"""The WDL workflow motif_counts as an Airflow DAG.

Compiled by airflow-wdl-ecs generate, which rewrites motif_counts.plan.json beside this file, and never this file.
"""

from pathlib import Path

from airflow_wdl_ecs import wdl_dag

dag = wdl_dag(
    Path(__file__).with_name("motif_counts.plan.json"),
    dag_id="motif_counts",
    # schedule="@daily", and anything else that an Airflow DAG takes
    # settings={"cluster": "genomics"}, for what differs from the deployment's [wdl_ecs] section
    # call_args={"simulate": {"pool": "default_pool"}}, for what an Airflow operator takes
)
