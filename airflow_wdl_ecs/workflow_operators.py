"""The operators around the calls of a compiled workflow: ``inputs`` begins a run, ``outputs`` ends it.

Between them a scatter's operator says how many shards there are, and every call is one
`operators.WdlEcsTaskOperator`. A DAG file imports this module, so what runs a workflow (miniwdl, boto3) is imported
only when an operator executes.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, BaseOperator

from .errors import WdlEcsError
from .lineage import operator_lineage
from .links import RUN_LINKS
from .params import given_inputs
from .plan import Plan
from .run_publishing import check_publishing, publish_outputs
from .sensitive import DiscreetLog, redact
from .task_context import (
    airflow_errors,
    begin_run_of,
    keeping_reason,
    open_run_of,
    secrets_given,
    settings_overrides,
)
from .templates import TemplatedInputs, as_given, read_texts
from .xcom_reading import read_outputs
from .xcom_values import limited, xcom_value

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context, XComArg

    from .ecs.settings import EcsSettings
    from .run import Run
    from .storage import RunStore

MOST_EXTRA = 32 * 1024
"""Bytes of outputs as JSON that an asset event carries."""


class WdlInputsOperator(TemplatedInputs):
    """Begins a run: validates all inputs at once, checks that named files exist, writes the run's folder.

    The inputs are the DAG run's params and conf; ``x`` and ``workflow.x`` are accepted. Returns (XCom) the run's
    folder and the inputs as they were understood.

    :param plan: the compiled workflow.
    :param inputs: values for inputs that the DAG run does not give (templated, see ``templates``).
    :param settings: overrides of the deployment's settings.
    :param scope: of a workflow that is a task group of a DAG, what tells its folder from others of the DAG run. Such a
        workflow has the inputs that it is given here, and the DAG run's params and conf are not its own.
    """

    template_fields = ("inputs",)
    operator_extra_links = RUN_LINKS

    def __init__(
        self,
        *,
        plan: Plan,
        inputs: Mapping[str, Any] | XComArg | None = None,
        settings: EcsSettings | Mapping[str, Any] | None = None,
        scope: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.inputs = as_given(inputs)
        self._names = dict.fromkeys(self.inputs) if isinstance(self.inputs, Mapping) else {}
        self.settings = settings_overrides(settings)
        self.scope = scope

    def execute(self, context: Context) -> dict[str, Any]:
        """Begin the run."""
        from .host import xcom_limit
        from .shown import run_links
        from .story import as_json

        def secrets(settings: EcsSettings, store: RunStore) -> tuple[str, ...]:
            own = self.scope is not None
            given = (self.inputs,) if own else (self.inputs, given_inputs(self.plan, context, self._names))
            return secrets_given(self.plan, *given)(settings, store)

        with airflow_errors(), keeping_reason(context, self.settings, self.scope, secrets):
            self.inputs = read_outputs(self.inputs, self.settings)
            run = begin_run_of(self.plan, self._all_inputs(context), context, self.settings, self.scope)
            check_publishing(run, context, self.settings)
            log = DiscreetLog(self.log, run.secrets)
            for name, value in run.shown_inputs.items():
                log.info("input %s = %s", name, as_json(value))
            log.info("the run's folder is %s", run.folder)
            self.shown_links = run_links(run, self.log)
            uri, most = run.store.layout.named("inputs.json"), xcom_limit(run.settings)
            shown = {name: xcom_value(value) for name, value in run.shown_inputs.items()}
            return {"folder": run.folder, "inputs": limited(shown, most, lambda name: (uri, (name,)))}

    def _all_inputs(self, context: Context) -> dict[str, Any]:
        """What the DAG run gives, and for the rest what the DAG's author gives."""
        own = read_texts(self.plan, self.inputs)
        if self.scope is not None:
            return own
        return self._not_given(own, context) | given_inputs(self.plan, context, self._names)

    def _not_given(self, own: Mapping[str, Any], context: Context) -> dict[str, Any]:
        prefix = f"{self.plan.name}."
        given = {name.removeprefix(prefix) for name in given_inputs(self.plan, context, self._names)}
        return {name: value for name, value in own.items() if name.removeprefix(prefix) not in given}

    def render_template_fields(self, context: Context, jinja_env: jinja2.Environment | None = None) -> None:
        """Render what the DAG run does not give: ``{{ ds }}`` has no value in a run that a person starts."""
        if self.scope is None:
            self.inputs = self._not_given(self.inputs, context)
        super().render_template_fields(context, jinja_env)


class WdlScatterOperator(BaseOperator):
    """Says how many shards the outermost scatter has: one mapped instance each, or one per chunk of many.

    Returns (XCom) one label per mapped instance; the mapped task group expands over it.

    :param section: the scatter's section id in the plan.
    :param scope: as the ``inputs`` task has it.
    """

    def __init__(
        self,
        *,
        section: str,
        settings: EcsSettings | Mapping[str, Any] | None = None,
        scope: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.section = section
        self.settings = settings_overrides(settings)
        self.scope = scope

    def execute(self, context: Context) -> list[str]:
        """Evaluate the collection and write how it is divided into the run's folder."""
        from airflow.configuration import conf

        from .scatter import divide_scatter

        with airflow_errors(), keeping_reason(context, self.settings, self.scope):
            run = open_run_of(context, self.settings, self.scope)
            longest = conf.getint("core", "max_map_length", fallback=1024)
            labels = divide_scatter(run, self.section, longest=longest)
            self.log.info("%d mapped instances", len(labels))
            return labels


class WdlOutputsOperator(BaseOperator):
    """Ends a run: evaluates the workflow's outputs, writes ``outputs.json``, publishes them, returns them (XCom).

    Each output is an XCom of its own as well, by its name, so that another task can take ``outputs.output["bam"]``; of
    large ones see `read_outputs`.
    Each asset among its ``outlets`` gets an event that says what came out (see `asset_extra`).

    :param scope: as the ``inputs`` task has it.
    """

    operator_extra_links = RUN_LINKS

    def __init__(
        self,
        *,
        settings: EcsSettings | Mapping[str, Any] | None = None,
        scope: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(multiple_outputs=True, **kwargs)
        self.settings = settings_overrides(settings)
        self.scope = scope
        self._lineage: Any = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Evaluate the outputs."""
        from .host import xcom_limit
        from .run import finish_run
        from .shown import run_links
        from .story import as_json

        with airflow_errors(), keeping_reason(context, self.settings, self.scope):
            run = open_run_of(context, self.settings, self.scope)
            self.shown_links = run_links(run, self.log)
            outputs = finish_run(run)
            log = DiscreetLog(self.log, run.secrets)
            published = publish_outputs(run, outputs, context, self.settings, log)
            for name, value in outputs.items():
                log.info("output %s = %s", name, as_json(value))
            self._lineage = operator_lineage([run.inputs], [outputs])
            for asset in self.outlets:
                if isinstance(asset, Asset):
                    extra = asset_extra(run.folder, outputs, run.secrets, published)
                    context["outlet_events"][asset].extra = extra
            if run.settings.intermediate_files == "delete":
                self._delete_intermediates(run, outputs)
            uri, most = run.store.layout.named("outputs.json"), xcom_limit(run.settings)
            found = {name: xcom_value(value) for name, value in outputs.items()}
            return limited(found, most, lambda name: (uri, (name,)))

    def _delete_intermediates(self, run: Run, outputs: Mapping[str, Any]) -> None:
        """Delete what calls have handed to each other; the run has succeeded, whatever becomes of that."""
        from .clean import clean_finished

        try:
            found = clean_finished(run.clients("s3"), run.store, outputs)
        except WdlEcsError as error:
            self.log.warning("the intermediate files of the run were not all deleted: %s", error)
            return
        self.log.info("deleted %d intermediate files with %d bytes", found.files, found.bytes)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """The files that the workflow was given and those that it gives, for the OpenLineage provider."""
        return self._lineage


def outputs_asset(dag_id: str) -> Asset:
    """The asset that a workflow's DAG updates at the end of each run, unless it is given other ``outlets``.

    Another DAG runs on its outputs with ``schedule=outputs_asset("hello")``.
    """
    return Asset(name=f"{dag_id}.outputs", uri=f"x-wdl://{dag_id}/outputs")


def triggering_output(dag_id: str, output: str) -> str:
    """A template of one output of the run of ``dag_id`` whose end has started this one: for ``inputs=`` of its DAG.

    It gives null in a run that no asset has started, so that a person who starts one gives the input.
    """
    asset = outputs_asset(dag_id)
    events = f"triggering_asset_events.for_asset(name={asset.name!r}, uri={asset.uri!r})"
    return f"{{{{ {events}[-1].extra.outputs[{output!r}] if triggering_asset_events else none }}}}"


def asset_extra(
    folder: str,
    outputs: Mapping[str, Any],
    secrets: Collection[str] = (),
    published: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What an asset event says of a run.

    :param secrets: texts that must not be shown. :param published: what has been published, if anything.
    :return: ``folder``, the run's folder; ``uri``, that of ``outputs.json`` in it; ``published``, that of the published
        one; ``outputs``, name -> value, files as URIs in the run's folder. Airflow keeps it in its database and shows
        it, so outputs of more than `MOST_EXTRA` bytes, or with a secret in them, are left to the ``uri``.
    """
    extra: dict[str, Any] = {"folder": folder, "uri": f"{folder}outputs.json"}
    if published is not None:
        extra["published"] = published["uri"]
    if len(json.dumps(outputs).encode()) <= MOST_EXTRA and redact(outputs, secrets) == outputs:
        extra["outputs"] = xcom_value(outputs)
    return extra
