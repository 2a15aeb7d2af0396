"""What Airflow's hosts of the call lifecycle share: settings, AWS clients, and how an outcome is told to Airflow.

Three hosts run the same lifecycle: the trigger from the start, the trigger after a worker deferred to it, and the
worker itself. Each asks here for its settings (Airflow's ``[wdl_ecs]`` section, overridden by the DAG's), for boto3
clients (Airflow's AWS connection) and for the XCom that a call leaves. Nothing here knows a DAG or a task instance.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from asgiref.sync import sync_to_async

from .aws import Clients, briefly, in_evaluation_thread, on_bad_credentials
from .ecs.settings import SECTION, EcsSettings, describe_settings
from .errors import CallError, WdlEcsError
from .garbage import no_collection, spare_what_is_there
from .layout import shard_key
from .lifecycle import CallOutcome, run_call, stop_call, went_on
from .metrics import Metered
from .plan import Shard
from .reasons import keep_of_task, reason_of
from .run import Run, open_run
from .scatter import label_of, map_index_prefixes
from .sensitive import redact
from .shown import ShownCall
from .xcom_values import Reference, bytes_of, limited, xcom_value

CALLER = "WdlEcsTaskOperator"
"""What the requests to AWS name as their caller, as those of Airflow's own operators do."""


def resolve_settings(overrides: Mapping[str, Any] | None = None) -> EcsSettings:
    """The deployment's settings: Airflow's ``[wdl_ecs]`` section, then ``overrides`` (what the DAG sets explicitly).

    :raises SettingsError: if an option cannot be read as what it should be.
    """
    from airflow.configuration import conf

    # One by one: before Airflow 3.3 a provider's section as a whole leaves out what the environment sets.
    options = {setting.name: conf.get(SECTION, setting.name, fallback=None) for setting in describe_settings()}
    return EcsSettings.from_options({name: text for name, text in options.items() if text is not None}, overrides or {})


def airflow_clients(settings: EcsSettings) -> Clients:
    """boto3 clients through Airflow's AWS connection; one per connection, region and service in the process.

    Once AWS has not taken its credentials, a client is made anew when it is asked for again, of the connection as it is
    then. Call the result in a thread: on an event loop it raises a RuntimeError, since it may ask Airflow for the
    connection, and in a triggerer the answer comes by way of that loop.
    """

    def client(service: str) -> Any:
        _refuse_event_loop()
        which = (settings.aws_conn_id, settings.region, service)
        with _clients_lock:
            making = _making.setdefault(which, threading.Lock())
        with making:
            found = _clients.get(which)
            if found is None:
                with no_collection():
                    found = _clients[which] = _new_client(*which)
                on_bad_credentials(found, partial(_forget_client, which, found))
            return found

    return client


def hurried_clients(settings: EcsSettings) -> Clients:
    """As `airflow_clients`, for a person who waits: they give up after seconds. They are the caller's own."""
    made: dict[str, Any] = {}

    def client(service: str) -> Any:
        if service not in made:
            made[service] = _new_client(settings.aws_conn_id, settings.region, service, hurried=True)
        return made[service]

    return client


def has_connection(settings: EcsSettings) -> bool:
    """Whether Airflow has the connection that the settings name; without it, clients have boto3's own chain.

    One that it cannot look for or cannot read counts: the client that is made of it says what is wrong.
    """
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
    from airflow.providers.common.compat.sdk import AirflowNotFoundException

    try:
        AwsBaseHook.get_connection(settings.aws_conn_id or "")
    except AirflowNotFoundException:
        return False
    except Exception:
        return True
    return True


_Which = tuple[str | None, str | None, str]
_clients: dict[_Which, Any] = {}
_clients_lock = threading.Lock()
_making: dict[_Which, threading.Lock] = {}


def _refuse_event_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError("AWS clients are made in threads, never on an event loop")


def _forget_client(which: _Which, client: Any) -> None:
    if _clients.get(which) is client:
        _clients.pop(which, None)


def _new_client(aws_conn_id: str | None, region: str | None, service: str, *, hurried: bool = False) -> Any:
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
    from botocore.config import Config

    # An EcsClient asks again itself, at the pace of its buckets; botocore would do so past them, and hide from them
    # that there was too much.
    retries: Any = {"mode": "standard", "total_max_attempts": 1 if service == "ecs" else 6}
    # Waits of many calls share one client, so its pool of connections must not be the default ten.
    config = Config(max_pool_connections=50, retries=retries)
    if hurried:
        config = Config(connect_timeout=5, read_timeout=15, retries={"mode": "standard", "total_max_attempts": 2})

    class Hook(AwsBaseHook):
        """Airflow's, which says in its requests who makes them, and would look for that in the source of the stack."""

        def _get_caller(self, target_function_name: str = "execute") -> str:
            return CALLER

    hook = Hook(aws_conn_id=aws_conn_id, region_name=region, client_type=service, config=config)
    return hook.get_client_type()


def instance_of(task_instance: Any, retries: int | None = None) -> dict[str, Any]:
    """Which task instance it is, as `HostedCall` and the trigger take it: plain JSON.

    :param retries: of its task, on a worker; a triggerer does not know how many tries a task instance may take.
    """
    index = task_instance.map_index
    more: dict[str, Any] = {}
    most = getattr(task_instance, "max_tries", None)
    if retries is not None and most is not None and task_instance.try_number > 1:
        # A clear lets there be as many retries after the tries that there were.
        more["retried"] = most - retries != task_instance.try_number - 1
    return {
        **more,
        "dag_id": task_instance.dag_id,
        "task_id": task_instance.task_id,
        "run_id": task_instance.run_id,
        "try_number": task_instance.try_number,
        "map_index": -1 if index is None else index,
    }


def mask_secrets(run: Run) -> None:
    """Let Airflow mask a run's secrets in whatever this process logs. It blocks, so call it in a thread."""
    from airflow.sdk.log import mask_secret

    for text in run.secrets:
        mask_secret(text)


@dataclass(frozen=True)
class HostedCall:
    """A call as one Airflow task instance runs it.

    :param call: the call's id in the plan.
    :param scatter: the outermost scatter around it, if the task instance is mapped over it.
    :param map_index: the task instance's map index; -1 outside a mapped group.
    :param scope: part of the run's folder for an operator that is not in a compiled DAG (see ``run.begin_run``).
    :param settings: the DAG's explicit overrides of the settings, as JSON.
    :param retried: whether this try is known to be a retry of Airflow's own, and not somebody's clear.
    :param task_id: of the task instance, where Airflow is to show what there is to see while the call runs.
    """

    dag_id: str
    run_id: str
    call: str
    try_number: int
    map_index: int = -1
    scatter: str | None = None
    scope: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    task_id: str | None = None
    retried: bool = False

    async def run(self, log: Any, shown: ShownCall | None = None) -> CallOutcome:
        """Run every shard of this task instance to its end.

        :param shown: has what Airflow is to show of the call, when it has ended.
        :raises WdlEcsError: if the run's folder cannot be read or the settings are wrong; failures of shards are in
            the outcome.
        """
        run = await asyncio.to_thread(self._open_run)
        # By now the process has loaded Airflow, this package and AWS's clients, and a plan.
        spare_what_is_there()
        try:
            return await self._run(run, log, shown or ShownCall())
        except Exception as error:
            reason = reason_of(error, self.try_number, run.secrets, task=self.call, map_index=self.map_index)
            await briefly(keep_of_task, run.store, reason)
            raise

    async def _run(self, run: Run, log: Any, shown: ShownCall) -> CallOutcome:
        prefixes = await asyncio.to_thread(self._prefixes, run)
        label = "" if self.scatter is None else await in_evaluation_thread(label_of, run, self.scatter, prefixes)
        if label:
            log.info("shard %s", label)
        put = None if self.task_id is None else self._put_xcom
        shown.begin(run, self.call, prefixes, put=put, log=log, longest=_longest_rendered(), label=label)
        metered = Metered(shown.attempt, run, self.call, log)
        try:
            outcome = await run_call(
                run,
                self.call,
                prefixes,
                try_number=self.try_number,
                log=log,
                fresh=False if self.retried else None,
                audience=metered,
            )
            await metered.settled()
            await shown.ended(outcome)
        finally:
            shown.leave()
        return outcome

    def _put_xcom(self, key: str, value: Any) -> None:
        """Put an XCom of this task instance; blocks.

        A link is read from Airflow's database itself, so a deployment's own XCom backend is not asked.
        """
        from airflow.sdk.bases.xcom import BaseXCom

        BaseXCom.set(
            key, value, dag_id=self.dag_id, task_id=str(self.task_id), run_id=self.run_id, map_index=self.map_index
        )

    async def push_outputs(self, outputs: Any, log: Any) -> bool:
        """Push a call's outputs into XCom as a worker does, where that matters; whether it did.

        The event that ends a task instance writes XComs past the deployment's XCom backend, and as a text that holds
        JSON. That will do for the calls of a workflow's own DAG, whose values are in the run's folder; not where other
        tasks read them, nor where a deployment keeps its XComs elsewhere.
        """
        from airflow.sdk.execution_time.xcom import XCom

        if self.task_id is None or (self.scope is None and not has_own_backend()):
            return False
        where = {"dag_id": self.dag_id, "task_id": self.task_id, "run_id": self.run_id, "map_index": self.map_index}
        push = sync_to_async(partial(XCom.set, "return_value", outputs, **where), thread_sensitive=False)
        try:
            # A message to the supervisor that is given up half-way spoils those after it.
            await asyncio.shield(asyncio.ensure_future(push()))
        except Exception as error:
            log.warning("the outputs could not be pushed through the XCom backend: %r", error)
            return False
        return True

    async def stop(self, reason: str) -> None:
        """Stop the ECS tasks that this task instance has started, in this try or an earlier one."""
        run, prefixes = await asyncio.to_thread(self._open)
        await stop_call(run, self.call, prefixes, reason, last_try=self.try_number)

    async def was_cleared(self, limit: float) -> bool:
        """Whether a later try goes on with this task instance, or does within ``limit`` seconds."""
        run, prefixes = await asyncio.to_thread(self._open)
        until, pause = time.monotonic() + limit, 0.5
        while time.monotonic() < until:
            if await went_on(run, self.call, prefixes, self.try_number):
                return True
            await asyncio.sleep(pause)
            pause *= 1.5
        return False

    def _open(self) -> tuple[Run, Sequence[Shard]]:
        run = self._open_run()
        return run, self._prefixes(run)

    def _open_run(self) -> Run:
        settings = resolve_settings(self.settings)
        run = open_run(settings, airflow_clients(settings), self.dag_id, self.run_id, scope=self.scope, call=self.call)
        mask_secrets(run)
        return run

    def _prefixes(self, run: Run) -> Sequence[Shard]:
        return [()] if self.scatter is None else map_index_prefixes(run, self.scatter, self.map_index)


def _longest_rendered() -> int:
    """Airflow's own option for how long a rendered field may be."""
    from airflow.configuration import conf

    return int(conf.getint("core", "max_templated_field_length", fallback=4096))


def has_own_backend() -> bool:
    """Whether the deployment keeps its XComs by a backend of its own, which is to deal with large values itself."""
    from airflow.sdk.bases.xcom import BaseXCom
    from airflow.sdk.execution_time.xcom import XCom

    return XCom is not BaseXCom


def xcom_limit(settings: EcsSettings) -> int:
    """Bytes of an XCom at most, for what a worker pushes; 0 for no limit."""
    return 0 if has_own_backend() else settings.xcom_max_bytes


def xcom_of(outcome: CallOutcome, call: str, scope: str | None, *, whole: bool = False) -> Any:
    """What a call leaves in XCom: its outputs; by shard (``{"0.2": {...}}``) where the instance ran several.

    A skipped shard's outputs are null. In a workflow's own DAG the calls have their values from the run's folder, and
    people look at XComs: these are without secrets.

    What would be larger than ``xcom_max_bytes`` has references for the largest outputs; for the shards with the largest
    outputs, where there are several; and for all of them at once if so many references were too large themselves.

    :param call: the call's id in the plan.
    :param scope: of the run; None in a workflow's own DAG. Where there is one, other tasks compute with the outputs.
    :param whole: leave out nothing: for a backend that keeps large values elsewhere.
    """
    outputs: dict[Shard, Any] = outcome.outputs if scope is not None else redact(outcome.outputs, outcome.secrets)
    by_key = xcom_value({shard_key(shard): values for shard, values in outputs.items()})
    only = next(iter(by_key.values())) if len(by_key) == 1 else None
    if whole or outcome.run is None:
        return only if len(by_key) == 1 else by_key
    most, folder = outcome.run.settings.xcom_max_bytes, outcome.run.store.layout.call(call)
    if len(by_key) == 1:
        uri = f"{folder}{next(iter(by_key))}/outputs.json"
        return only if only is None else limited(only, most, lambda name: (uri, ("outputs", name)))
    found = limited(by_key, most, lambda key: (f"{folder}{key}/outputs.json", ("outputs",)))
    if not most or bytes_of(found) <= most:
        return found
    return Reference(
        folder, ("outputs",), bytes_of(by_key), (shard_key(min(outputs)), shard_key(max(outputs)))
    ).to_json()


def failure_of(outcome: CallOutcome) -> WdlEcsError | None:
    """One error for all failed shards of an outcome, or None if none failed."""
    if not outcome.failures:
        return None
    failures = list(outcome.failures.values())
    if len(failures) == 1:
        return failures[0]
    return CallError(
        f"{len(failures)} of {len(outcome.failures) + len(outcome.outputs)} shards failed:\n"
        + "\n".join(str(failure) for failure in failures)
    )


def was_skipped(outcome: CallOutcome) -> bool:
    """Whether every shard's guard was false (and there was at least one, and none failed)."""
    return bool(outcome.outputs) and not outcome.failures and all(o is None for o in outcome.outputs.values())
