"""The operators around the calls of a compiled workflow: ``inputs`` begins a run, ``outputs`` ends it.

Between them a scatter's operator says how many shards there are, and every call is one
`operators.WdlEcsTaskOperator`. A DAG file imports this module, so what runs a workflow (miniwdl, boto3) is imported
only when an operator executes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from .params import given_inputs
from .plan import Plan
from .task_context import airflow_errors, begin_run_of, open_run_of, settings_overrides

if TYPE_CHECKING:
    from airflow.sdk import Context

    from .ecs.settings import EcsSettings


class WdlInputsOperator(BaseOperator):
    """Begins a run: validates all inputs at once, checks that named files exist, writes the run's folder.

    The inputs are the DAG run's params and conf; ``x`` and ``workflow.x`` are accepted. Returns (XCom) the run's
    folder and the inputs as they were understood.

    :param plan: the compiled workflow.
    :param inputs: values for inputs that the DAG run does not give (templated).
    :param settings: overrides of the deployment's settings.
    """

    template_fields = ("inputs",)

    def __init__(
        self,
        *,
        plan: Plan,
        inputs: Mapping[str, Any] | None = None,
        settings: EcsSettings | Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.inputs = dict(inputs or {})
        self.settings = settings_overrides(settings)

    def execute(self, context: Context) -> dict[str, Any]:
        """Begin the run."""
        with airflow_errors():
            given = given_inputs(self.plan, context)
            prefix = f"{self.plan.name}."
            names = {name.removeprefix(prefix) for name in given}
            own = {name: value for name, value in self.inputs.items() if name.removeprefix(prefix) not in names}
            run = begin_run_of(self.plan, own | given, context, self.settings)
            for name, value in run.inputs.items():
                self.log.info("input %s = %s", name, value)
            self.log.info("the run's folder is %s", run.folder)
            return {"folder": run.folder, "inputs": dict(run.inputs)}


class WdlScatterOperator(BaseOperator):
    """Says how many shards the outermost scatter has: one mapped instance each, or one per chunk of many.

    Returns (XCom) one label per mapped instance; the mapped task group expands over it.

    :param section: the scatter's section id in the plan.
    """

    def __init__(self, *, section: str, settings: EcsSettings | Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.section = section
        self.settings = settings_overrides(settings)

    def execute(self, context: Context) -> list[str]:
        """Evaluate the collection and write how it is divided into the run's folder."""
        from airflow.configuration import conf

        from .scatter import divide_scatter

        with airflow_errors():
            run = open_run_of(context, self.settings)
            longest = conf.getint("core", "max_map_length", fallback=1024)
            labels = divide_scatter(run, self.section, longest=longest)
            self.log.info("%d mapped instances", len(labels))
            return labels


class WdlOutputsOperator(BaseOperator):
    """Ends a run: evaluates the workflow's outputs, writes ``outputs.json``, returns them (XCom)."""

    def __init__(self, *, settings: EcsSettings | Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.settings = settings_overrides(settings)

    def execute(self, context: Context) -> dict[str, Any]:
        """Evaluate the outputs."""
        from .run import finish_run

        with airflow_errors():
            outputs = finish_run(open_run_of(context, self.settings))
            for name, value in outputs.items():
                self.log.info("output %s = %s", name, value)
            return outputs
