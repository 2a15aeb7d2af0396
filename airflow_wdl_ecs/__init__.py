"""Run WDL workflows on Amazon ECS from Apache Airflow.

The public names are below, and each is imported only when it is first used: a DAG file, Airflow's provider discovery
and the command line all import this package, and none of them should pay for the others.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .dag import WdlTaskGroup, build_dag, wdl_dag, wdl_task_group
    from .ecs.settings import EcsSettings
    from .operators import WdlEcsTaskOperator
    from .plan import Plan, load_plan
    from .wdl.lower import compile_wdl
    from .workflow_operators import outputs_asset, triggering_output
    from .xcom_reading import read_outputs

__version__ = "0.1.0"

_HOMES = {
    "EcsSettings": "ecs.settings",
    "Plan": "plan",
    "WdlEcsTaskOperator": "operators",
    "WdlTaskGroup": "dag",
    "build_dag": "dag",
    "compile_wdl": "wdl.lower",
    "load_plan": "plan",
    "outputs_asset": "workflow_operators",
    "read_outputs": "xcom_reading",
    "triggering_output": "workflow_operators",
    "wdl_dag": "dag",
    "wdl_task_group": "dag",
}

__all__ = [
    "EcsSettings",
    "Plan",
    "WdlEcsTaskOperator",
    "WdlTaskGroup",
    "__version__",
    "build_dag",
    "compile_wdl",
    "load_plan",
    "outputs_asset",
    "read_outputs",
    "triggering_output",
    "wdl_dag",
    "wdl_task_group",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
