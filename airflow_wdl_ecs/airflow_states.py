"""The states of DAG runs and their task instances, from Airflow's database: where it can be read, as by Airflow's own
command line. It knows nothing of ECS.
"""

from __future__ import annotations

import logging

from .orphans import AirflowRun

log = logging.getLogger(__name__)


def ask_airflow(dag_id: str, run_id: str) -> AirflowRun | None:
    """A DAG run as the database has it; None if the database cannot be read."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with create_session() as session:
            runs = select(DagRun.state).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
            state = session.execute(runs).scalar()
            instances = session.execute(
                select(TaskInstance.task_id, TaskInstance.map_index, TaskInstance.state).where(
                    TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id
                )
            )
            found = {(task, index): None if now is None else str(now) for task, index, now in instances}
    except (SQLAlchemyError, RuntimeError) as error:
        log.warning("Airflow's database cannot be read: %s", error)
        return None
    return AirflowRun(None if state is None else str(state), found)
