"""The asynchronous ECS client: throttling, capacity, what becomes an error, and what is asked only once."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

import pytest
from botocore.exceptions import EndpointConnectionError

from airflow_wdl_ecs.aws import in_thread
from airflow_wdl_ecs.ecs.client import EcsClient, StartedTask, ecs_client
from airflow_wdl_ecs.ecs.request import TaskDefinition
from airflow_wdl_ecs.errors import AwsError, SettingsError
from airflow_wdl_ecs.task import TaskHandle

from ..fake_aws import FakeEcs, Time, refusal

STARTED = {"tasks": [{"taskArn": "arn:1"}], "failures": []}
ARGUMENTS = {"cluster": "c", "taskDefinition": "f:1"}


def no_capacity(reason="RESOURCE:CPU"):
    return {"tasks": [], "failures": [{"arn": "arn:instance", "reason": reason}]}


def ask(fake: FakeEcs, method: str, *args, time: Time | None = None, **kwargs):
    time = time or Time()

    async def call():
        return await getattr(EcsClient(fake, clock=time.clock, sleep=time.sleep), method)(*args, **kwargs)

    return asyncio.run(call())


def test_a_task_is_started():
    fake = FakeEcs(run_task=[STARTED])
    assert ask(fake, "run_task", ARGUMENTS, capacity_timeout=0) == StartedTask(TaskHandle("arn:1", "c"))
    assert fake.asked == [("run_task", ARGUMENTS)]


def test_throttling_never_fails_a_call():
    fake = FakeEcs(run_task=[*[refusal("ThrottlingException", "Rate exceeded")] * 25, STARTED])
    time = Time()
    assert ask(fake, "run_task", ARGUMENTS, capacity_timeout=0, time=time).handle.arn == "arn:1"
    assert fake.count("run_task") == 26
    assert max(time.slept) <= 25


def test_a_definition_that_others_register_at_the_same_time_is_waited_for():
    many = refusal("ClientException", "Too many concurrent attempts to create a new revision of the specified family.")
    made = {"taskDefinition": {"taskDefinitionArn": "arn:definition"}}
    fake = FakeEcs(
        describe_task_definition=[refusal("ClientException", "Unable to describe task definition.")],
        register_task_definition=[*[many] * 8, made],
    )
    assert ask(fake, "register_task_definition", TaskDefinition("wdl-x", {"family": "wdl-x"})) == "arn:definition"
    assert fake.count("register_task_definition") == 9


def test_many_calls_at_once_do_not_wait_for_what_waits_for_s3():
    """Whatever hangs in the threads of S3: tasks are described and stopped."""
    free = threading.Event()
    fake = FakeEcs(stop_task=[{}], describe_tasks=[{"tasks": []}])

    async def stop() -> None:
        hanging = [asyncio.ensure_future(in_thread(free.wait, 30)) for _ in range(100)]
        ecs = EcsClient(fake)
        try:
            await asyncio.wait_for(ecs.stop_task(TaskHandle("arn:1", "c"), "cleared"), 5)
            await asyncio.wait_for(ecs.describe_tasks("c", ["arn:1"]), 5)
        finally:
            free.set()
            await asyncio.gather(*hanging)

    asyncio.run(stop())


def test_a_broken_connection_is_tried_again_but_not_for_ever():
    broken = EndpointConnectionError(endpoint_url="https://ecs")
    assert ask(
        FakeEcs(run_task=[broken, refusal("ServerException"), STARTED]), "run_task", ARGUMENTS, capacity_timeout=0
    )
    with pytest.raises(AwsError) as caught:
        ask(FakeEcs(run_task=[broken]), "run_task", ARGUMENTS, capacity_timeout=0)
    assert caught.value.operation == "RunTask"


@pytest.mark.parametrize(
    ("method", "arguments", "whole"),
    [
        ("run_task", ARGUMENTS, STARTED),
        ("describe_tasks", ("c", ["arn:1"]), {"tasks": [{"taskArn": "arn:1"}]}),
        ("list_tasks", ("c", "somebody"), {"taskArns": ["arn:1"]}),
        ("describe_task_definition", TaskDefinition("f", {}), {"taskDefinition": {"taskDefinitionArn": "arn:1"}}),
    ],
)
def test_an_answer_that_was_cut_short_is_asked_for_again(method, arguments, whole):
    """botocore takes JSON that does not end for an answer with nothing in it."""
    fake = FakeEcs(**{method: [{}, whole]})
    more = {"capacity_timeout": 0} if method == "run_task" else {}
    method = {"describe_task_definition": "register_task_definition"}.get(method, method)
    found = ask(fake, method, *(arguments if isinstance(arguments, tuple) else (arguments,)), **more)
    assert "arn:1" in str(found)
    with pytest.raises(AwsError, match="was cut short"):
        ask(FakeEcs(run_task=[{}]), "run_task", ARGUMENTS, capacity_timeout=0)


def test_without_capacity_it_asks_again_with_the_same_token_and_says_so_once():
    exhausted = refusal("ClientException", "You've reached the limit on the number of vCPUs you can run concurrently")
    fake = FakeEcs(run_task=[no_capacity(), exhausted, no_capacity("Capacity is unavailable at this time"), STARTED])
    said, time = [], Time()
    ask(fake, "run_task", ARGUMENTS, capacity_timeout=600, on_wait=said.append, time=time)
    assert said == ["RESOURCE:CPU"]
    assert all(arguments == ARGUMENTS for _, arguments in fake.asked)
    assert time.slept == [5.0, 7.5, 11.25]


def test_capacity_is_waited_for_no_longer_than_asked():
    time = Time()
    with pytest.raises(AwsError, match="no capacity for 100 s: RESOURCE:MEMORY\ncapacity_t") as caught:
        ask(FakeEcs(run_task=[no_capacity("RESOURCE:MEMORY")]), "run_task", ARGUMENTS, capacity_timeout=100, time=time)
    assert caught.value.code == "CapacityError"
    assert time.now - 1000 == 100


def test_a_task_that_another_request_of_the_attempt_has_started_is_the_one():
    conflict = refusal("ConflictException", "The provided client token was used with other parameters.")
    conflict.response["resourceIds"] = ["arn:7"]
    fake = FakeEcs(run_task=[conflict])
    assert ask(fake, "run_task", ARGUMENTS, capacity_timeout=0) == StartedTask(TaskHandle("arn:7", "c"), earlier=True)
    with pytest.raises(AwsError, match="ConflictException"):
        ask(FakeEcs(run_task=[refusal("ConflictException")]), "run_task", ARGUMENTS, capacity_timeout=0)


def test_an_agent_that_is_disconnected_is_waited_for():
    time = Time()
    fake = FakeEcs(run_task=[{"tasks": [], "failures": [{"arn": "c", "reason": "AGENT"}]}, STARTED])
    assert ask(fake, "run_task", ARGUMENTS, capacity_timeout=60, time=time).handle.arn == "arn:1"


def test_nobody_asks_for_what_is_not_wanted_any_more():
    fake = FakeEcs(run_task=[no_capacity(), STARTED])
    with pytest.raises(AwsError, match="capacity"):
        ask(fake, "run_task", ARGUMENTS, capacity_timeout=600, wanted=lambda: fake.count("run_task") == 0, time=Time())
    assert fake.count("run_task") == 1


def test_other_failures_of_run_task_are_errors_at_once():
    fake = FakeEcs(run_task=[{"tasks": [], "failures": [{"reason": "ATTRIBUTE", "detail": "os"}]}])
    with pytest.raises(AwsError, match="ATTRIBUTE: os"):
        ask(fake, "run_task", ARGUMENTS, capacity_timeout=1000)
    assert fake.count("run_task") == 1


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("ClusterNotFoundException", SettingsError),
        ("AccessDeniedException", SettingsError),
        ("ExpiredTokenException", SettingsError),
        ("InvalidParameterException", AwsError),
        ("ConflictException", AwsError),
    ],
)
def test_refusals_are_told_by_who_must_act(code, kind):
    with pytest.raises(kind, match=f"RunTask: {code}: no capacity for that"):
        ask(FakeEcs(run_task=[refusal(code, "no capacity for that")]), "run_task", ARGUMENTS, capacity_timeout=0)


def test_describe_tells_the_missing_from_the_found():
    fake = FakeEcs(describe_tasks=[{"tasks": [{"taskArn": "a"}], "failures": [{"arn": "b", "reason": "MISSING"}]}])
    assert ask(fake, "describe_tasks", "c", ["a", "b"]) == {"a": {"taskArn": "a"}, "b": None}


def test_stopping_what_is_gone_is_no_error():
    handle = TaskHandle("arn:1", "c")
    ask(
        FakeEcs(stop_task=[refusal("InvalidParameterException", "The referenced task was not found.")]),
        "stop_task",
        handle,
        "x",
    )
    fake = FakeEcs(stop_task=[{}])
    ask(fake, "stop_task", handle, "x" * 2000)
    assert len(fake.asked[0][1]["reason"]) == 255
    with pytest.raises(SettingsError):
        ask(FakeEcs(stop_task=[refusal("AccessDeniedException")]), "stop_task", handle, "x")


def test_a_list_is_read_to_its_end():
    fake = FakeEcs(list_tasks=[{"taskArns": ["a"], "nextToken": "n"}, {"taskArns": ["b"]}])
    assert ask(fake, "list_tasks", "c", "wdl-1") == ["a", "b"]
    assert fake.asked[1][1] == {"cluster": "c", "startedBy": "wdl-1", "nextToken": "n"}


DEFINITION = TaskDefinition("wdl-x", {"family": "wdl-x", "containerDefinitions": []})
NO_FAMILY = refusal("ClientException", "Unable to describe task definition.")


def described(status="ACTIVE"):
    return {"taskDefinition": {"taskDefinitionArn": "arn:old", "status": status}}


REGISTERED = {"taskDefinition": {"taskDefinitionArn": "arn:new"}}


@pytest.mark.parametrize(
    ("answer", "arn", "registered"),
    [(described(), "arn:old", 0), (NO_FAMILY, "arn:new", 1), (described("INACTIVE"), "arn:new", 1)],
)
def test_a_definition_is_registered_only_if_it_is_not_there(answer, arn, registered):
    fake = FakeEcs(describe_task_definition=[answer], register_task_definition=[REGISTERED])
    assert ask(fake, "register_task_definition", DEFINITION) == arn
    assert fake.count("register_task_definition") == registered


def test_many_who_need_one_definition_register_it_once():
    fake = FakeEcs(describe_task_definition=[NO_FAMILY], register_task_definition=[REGISTERED])

    async def many():
        client = EcsClient(fake)
        await asyncio.gather(*(client.register_task_definition(DEFINITION) for _ in range(20)))
        await client.register_task_definition(DEFINITION)
        client.forget_task_definition(DEFINITION)
        await client.register_task_definition(DEFINITION)

    asyncio.run(many())
    assert fake.count("register_task_definition") == 2


def test_a_registration_that_failed_is_tried_afresh_by_the_next():
    fake = FakeEcs(describe_task_definition=[refusal("AccessDeniedException"), described()])

    async def twice():
        client = EcsClient(fake)
        with pytest.raises(SettingsError):
            await client.register_task_definition(DEFINITION)
        return await client.register_task_definition(DEFINITION)

    assert asyncio.run(twice()) == "arn:old"


def test_connections_to_one_account_and_region_share_their_pace():
    def of(account: str, region: str = "us-east-1") -> FakeEcs:
        arn = f"arn:aws:ecs:{region}:{account}:task/c/1"
        throttled = refusal("ThrottlingException", "Rate exceeded")
        return FakeEcs(
            list_tasks=[{"taskArns": []}, {"taskArns": [arn]}],
            run_task=[throttled, throttled, {"tasks": [{"taskArn": arn}]}],
        )

    async def rates() -> list[float]:
        time = Time()
        fakes = (of("1"), of("1"), of("2"), of("1", "eu-west-1"))
        clients = [EcsClient(fake, clock=time.clock, sleep=time.sleep) for fake in fakes]
        for client in clients:
            # An answer that names nothing tells of no account.
            await client.list_tasks("c", "wdl-1")
            await client.list_tasks("c", "wdl-1")
        await clients[0].run_task(ARGUMENTS, capacity_timeout=0)
        return [client.rate("run_task") for client in clients]

    first, same, other, elsewhere = asyncio.run(rates())
    assert first == same < 20
    assert other == elsewhere == 40


def _of_account(account: str, region: str = "us-east-1") -> FakeEcs:
    fake = FakeEcs(describe_tasks=[{"tasks": [{"taskArn": f"arn:aws:ecs:{region}:{account}:task/c/1"}]}])
    fake.meta = SimpleNamespace(endpoint_url=f"https://ecs.{region}.amazonaws.com")
    return fake


def test_a_client_that_is_made_anew_counts_what_the_one_before_it_holds():
    async def scenario() -> None:
        first = ecs_client(_of_account("1"))
        async with first.slots.hold({"cluster c": 1}):
            await first.describe_tasks("c", ["x"])
            anew = ecs_client(_of_account("1"))
            for answered in (False, True):
                if answered:
                    await anew.describe_tasks("c", ["x"])
                assert anew.slots.held("cluster c") == 1
                blocked = asyncio.ensure_future(anew.slots.hold({"cluster c": 1}).__aenter__())
                await asyncio.sleep(0.01)
                assert not blocked.done()
                blocked.cancel()
        assert anew.slots.held("cluster c") == 0

    asyncio.run(scenario())


def test_clusters_of_one_name_in_two_accounts_or_regions_are_counted_apart():
    async def scenario() -> None:
        clients = [ecs_client(_of_account(*of)) for of in (("1",), ("2",), ("1", "eu-west-1"))]
        for client in clients:
            await client.describe_tasks("c", ["x"])
        async with clients[0].slots.hold({"cluster c": 1}):
            assert [client.slots.held("cluster c") for client in clients] == [1, 0, 0]

    asyncio.run(scenario())


def test_all_calls_of_a_loop_share_one_client():
    fake = FakeEcs()

    async def two():
        return ecs_client(fake), ecs_client(fake)

    one, other = asyncio.run(two())
    assert one is other
    assert asyncio.run(two())[0] is not one
