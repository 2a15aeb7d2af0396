"""The embedded ECS through unmodified boto3, where moto's own would say something else than Amazon's."""

from __future__ import annotations

import datetime
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from airflow_wdl_ecs.local.endpoint import Endpoint, start_server, stop_server

from .conftest import Tasks, client_of, container, exit_codes, logged

pytestmark = pytest.mark.local

NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-1"], "assignPublicIp": "ENABLED"}}
FARGATE: dict[str, Any] = {"requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc"}


def code_of(error: pytest.ExceptionInfo[ClientError]) -> str:
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    return str(error.value.response["Error"]["Code"])


class TestRunTask:
    def test_fargate_with_overrides_and_without_security_groups(self, tasks: Tasks) -> None:
        definition = tasks.register(
            container("a", 'echo "$X $Y"', environment=[{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]),
            **FARGATE,
        )
        arn = tasks.run(
            definition,
            capacityProviderStrategy=[{"capacityProvider": "FARGATE_SPOT", "weight": 1}],
            networkConfiguration=NETWORK,
            startedBy="me",
            tags=[{"key": "k", "value": "v"}],
            overrides={
                "cpu": "512",
                "memory": "1024",
                "ephemeralStorage": {"sizeInGiB": 30},
                "containerOverrides": [
                    {"name": "a", "command": ['test "$X $Y" = "3 2"'], "environment": [{"name": "X", "value": "3"}]}
                ],
            },
        )
        task = tasks.stopped(arn)
        assert exit_codes(task) == {"a": 0}
        expected = {
            "cpu": "512",
            "memory": "1024",
            "ephemeralStorage": {"sizeInGiB": 30},
            "launchType": "FARGATE",
            "capacityProviderName": "FARGATE_SPOT",
            "startedBy": "me",
            "connectivity": "CONNECTED",
            "desiredStatus": "STOPPED",
            "stopCode": "EssentialContainerExited",
            "tags": [],
        }
        assert {name: task[name] for name in expected} == expected
        times = [task[n] for n in ("createdAt", "pullStartedAt", "startedAt", "stoppingAt", "stoppedAt")]
        assert all(isinstance(t, datetime.datetime) for t in times)
        assert times == sorted(times)
        tagged = tasks.ecs.describe_tasks(cluster="wdl", tasks=[arn], include=["TAGS"])["tasks"][0]
        assert tagged["tags"] == [{"key": "k", "value": "v"}]

    @pytest.mark.parametrize(("platform", "said"), [({}, "x86_64"), ({"cpuArchitecture": "ARM64"}, "arm64")])
    def test_the_architecture_is_what_the_definition_says(
        self, tasks: Tasks, platform: dict[str, str], said: str
    ) -> None:
        more = {"runtimePlatform": platform} if platform else {}
        arn = tasks.run(tasks.register(container("a", "true"), **more))
        assert tasks.describe(arn)["attributes"] == [{"name": "ecs.cpu-architecture", "value": said}]
        tasks.stopped(arn)

    def test_a_definition_hands_its_tags_on_if_it_is_asked_to(self, tasks: Tasks) -> None:
        team = {"key": "team", "value": "a"}
        definition = tasks.register(container("a", "true"), tags=[team])

        def tags_of(**request: Any) -> list[dict[str, str]]:
            arn = tasks.run(definition, tags=[{"key": "k", "value": "v"}], **request)
            tags: list[dict[str, str]] = tasks.ecs.describe_tasks(cluster="wdl", tasks=[arn], include=["TAGS"])[
                "tasks"
            ][0]["tags"]
            return tags

        own, cluster = {"key": "k", "value": "v"}, {"key": "aws:ecs:clusterName", "value": "wdl"}
        assert tags_of() == [own]
        assert tags_of(propagateTags="TASK_DEFINITION", enableECSManagedTags=True) == [own, team, cluster]
        with pytest.raises(ClientError, match="Duplicate tag keys"):
            tasks.run(definition, tags=[team], propagateTags="TASK_DEFINITION")

    def test_count_starts_several(self, tasks: Tasks) -> None:
        answer = tasks.ecs.run_task(cluster="wdl", taskDefinition=tasks.register(container("a", "exit 7")), count=3)
        assert len({task["taskArn"] for task in answer["tasks"]}) == 3
        assert [exit_codes(tasks.stopped(t["taskArn"])) for t in answer["tasks"]] == [{"a": 7}] * 3

    def test_client_token(self, tasks: Tasks) -> None:
        definition = tasks.register(container("a", "true"))
        token = uuid.uuid4().hex
        first = tasks.run(definition, clientToken=token)
        tasks.stopped(first)
        assert tasks.run(definition, clientToken=token) == first
        with pytest.raises(ClientError) as error:
            tasks.run(definition, clientToken=token, startedBy="other")
        assert code_of(error) == "ConflictException"
        assert tasks.run(definition, clientToken=token + "2") != first

    def test_the_same_token_at_the_same_time_starts_one_task(self, tasks: Tasks) -> None:
        definition = tasks.register(container("a", "true"))
        token = uuid.uuid4().hex
        with ThreadPoolExecutor(8) as pool:
            arns = list(pool.map(lambda _: tasks.run(definition, clientToken=token), range(16)))
        assert len(set(arns)) == 1

    @pytest.mark.parametrize(
        ("more", "code"),
        [
            ({"cluster": "none"}, "ClusterNotFoundException"),
            ({"taskDefinition": "none"}, "ClientException"),
            ({"taskDefinition": "test-1:999"}, "ClientException"),
            ({"count": 11}, "InvalidParameterException"),
            ({"startedBy": "x" * 129}, "InvalidParameterException"),
            ({"capacityProviderStrategy": [{"capacityProvider": "none"}]}, "InvalidParameterException"),
            ({"launchType": "FARGATE"}, "InvalidParameterException"),
            ({"overrides": {"containerOverrides": [{"name": "none"}]}}, "InvalidParameterException"),
        ],
    )
    def test_rejections_are_client_errors(self, tasks: Tasks, more: dict[str, Any], code: str) -> None:
        request = {"cluster": "wdl", "taskDefinition": tasks.register(container("a", "true")), **more}
        with pytest.raises(ClientError) as error:
            tasks.ecs.run_task(**request)
        assert code_of(error) == code

    def test_awsvpc_needs_a_network_and_fargate_a_size(self, tasks: Tasks) -> None:
        definition = tasks.register(container("a", "true"), **FARGATE)
        with pytest.raises(ClientError, match="Network Configuration") as error:
            tasks.run(definition, launchType="FARGATE")
        assert code_of(error) == "InvalidParameterException"
        with pytest.raises(ClientError, match="No Fargate configuration") as error:
            tasks.run(definition, launchType="FARGATE", networkConfiguration=NETWORK, overrides={"cpu": "4096"})
        assert code_of(error) == "ClientException"

    def test_an_inactive_definition_is_rejected(self, tasks: Tasks) -> None:
        definition = tasks.register(container("a", "true"))
        tasks.ecs.deregister_task_definition(taskDefinition=definition)
        with pytest.raises(ClientError, match="inactive"):
            tasks.run(definition)

    def test_a_container_without_command_is_rejected(self, tasks: Tasks) -> None:
        definition = tasks.register({"name": "a", "image": "any"})
        with pytest.raises(ClientError, match="neither entryPoint nor command"):
            tasks.run(definition)


class TestRegister:
    def test_registered_definition_comes_back_and_revisions_count(self, tasks: Tasks) -> None:
        family = uuid.uuid4().hex
        for revision in (1, 2):
            arn = tasks.register(container("a", "true"), family=family, volumes=[{"name": "v"}])
            assert arn.endswith(f"task-definition/{family}:{revision}")
        described = tasks.ecs.describe_task_definition(taskDefinition=family)["taskDefinition"]
        assert (described["revision"], described["memory"], described["volumes"]) == (2, "512", [{"name": "v"}])
        assert len(tasks.ecs.list_task_definitions(familyPrefix=family)["taskDefinitionArns"]) == 2

    def test_a_bad_definition_is_a_client_error(self, tasks: Tasks) -> None:
        with pytest.raises(ClientError, match="cycle") as error:
            tasks.register(
                container("a", "true", dependsOn=[{"containerName": "b", "condition": "START"}]),
                container("b", "true", dependsOn=[{"containerName": "a", "condition": "START"}]),
            )
        assert code_of(error) == "ClientException"


class TestDescribeAndList:
    def test_unknown_tasks_are_missing(self, tasks: Tasks) -> None:
        arn = f"arn:aws:ecs:us-east-1:123456789012:task/wdl/{'0' * 32}"
        answer = tasks.ecs.describe_tasks(cluster="wdl", tasks=[arn])
        assert (answer["tasks"], answer["failures"]) == ([], [{"arn": arn, "reason": "MISSING"}])

    def test_at_most_100(self, tasks: Tasks) -> None:
        with pytest.raises(ClientError) as error:
            tasks.ecs.describe_tasks(cluster="wdl", tasks=[str(i) for i in range(101)])
        assert code_of(error) == "InvalidParameterException"

    def test_a_task_is_missing_in_another_cluster(self, tasks: Tasks) -> None:
        tasks.ecs.create_cluster(clusterName="wd")
        arn = tasks.run(tasks.register(container("a", "true")))
        assert tasks.ecs.describe_tasks(cluster="wd", tasks=[arn])["failures"][0]["reason"] == "MISSING"
        assert tasks.ecs.list_tasks(cluster="wd")["taskArns"] == []

    def test_describing_changes_nothing(self, tasks: Tasks) -> None:
        arn = tasks.run(tasks.register(container("a", "sleep 30")))
        tasks.until(arn, lambda task: task["lastStatus"] == "RUNNING")
        for _ in range(10):
            task = tasks.describe(arn)
            assert (task["lastStatus"], task["containers"][0]["lastStatus"]) == ("RUNNING", "RUNNING")
            assert "exitCode" not in task["containers"][0]
        tasks.ecs.stop_task(cluster="wdl", task=arn)

    def test_pages_states_and_filters(self, tasks: Tasks) -> None:
        who = uuid.uuid4().hex
        definition = tasks.register(container("a", "sleep 60"), cpu="10", memory="10")
        arns = [tasks.run(definition, startedBy=who) for _ in range(5)]
        pages = tasks.ecs.get_paginator("list_tasks").paginate(cluster="wdl", startedBy=who, maxResults=2)
        assert [len(page["taskArns"]) for page in pages] == [2, 2, 1]
        tasks.ecs.stop_task(cluster="wdl", task=arns[0])
        tasks.stopped(arns[0])
        assert tasks.ecs.list_tasks(cluster="wdl", startedBy=who)["taskArns"] == arns[1:]
        stopped = tasks.ecs.list_tasks(cluster="wdl", startedBy=who, desiredStatus="STOPPED")
        assert stopped["taskArns"] == arns[:1]
        family = definition.rsplit("/", 1)[1].split(":")[0]
        assert tasks.ecs.list_tasks(cluster="wdl", family=family)["taskArns"] == arns[1:]
        with pytest.raises(ClientError, match="only filter"):
            tasks.ecs.list_tasks(cluster="wdl", startedBy=who, family=family)
        for arn in arns[1:]:
            tasks.ecs.stop_task(cluster="wdl", task=arn)

    def test_cluster_counts(self, tasks: Tasks) -> None:
        tasks.ecs.create_cluster(clusterName="counted")
        other = Tasks(tasks.ecs, "counted")
        arn = other.run(other.register(container("a", "sleep 30"), family="counted"))
        other.until(arn, lambda task: task["lastStatus"] == "RUNNING")
        cluster = tasks.ecs.describe_clusters(clusters=["counted"])["clusters"][0]
        assert (cluster["runningTasksCount"], cluster["pendingTasksCount"]) == (1, 0)
        tasks.ecs.stop_task(cluster="counted", task=arn)

    def test_describe_while_running_many(self, tasks: Tasks) -> None:
        """moto's own fails here with dictionaries that change size."""
        definition = tasks.register(container("a", "true"), cpu="10", memory="10")
        arns: list[str] = []
        done = threading.Event()

        def look() -> int:
            looks = 0
            while not done.is_set():
                tasks.ecs.list_tasks(cluster="wdl")
                if arns:
                    assert not tasks.ecs.describe_tasks(cluster="wdl", tasks=arns[-100:])["failures"]
                looks += 1
            return looks

        with ThreadPoolExecutor(8) as pool:
            lookers = [pool.submit(look) for _ in range(4)]
            for arn in pool.map(lambda _: tasks.run(definition), range(60)):
                arns.append(arn)
            for arn in arns:
                tasks.stopped(arn, timeout=60)
            done.set()
            assert all(looker.result() for looker in lookers)


class TestStopTask:
    def test_of_an_unknown_task(self, tasks: Tasks) -> None:
        with pytest.raises(ClientError, match="not found") as error:
            tasks.ecs.stop_task(cluster="wdl", task="0" * 32)
        assert code_of(error) == "InvalidParameterException"

    def test_sigterm_comes_first_and_can_be_handled(self, tasks: Tasks) -> None:
        arn = tasks.run(tasks.register(container("a", "trap 'exit 9' TERM; while :; do sleep 0.05; done")))
        tasks.until(arn, lambda task: task["lastStatus"] == "RUNNING")
        time.sleep(0.2)
        stopping = tasks.ecs.stop_task(cluster="wdl", task=arn, reason="because")["task"]
        assert stopping["desiredStatus"] == "STOPPED"
        task = tasks.stopped(arn)
        assert exit_codes(task) == {"a": 9}
        assert (task["stopCode"], task["stoppedReason"]) == ("UserInitiated", "because")

    def test_sigkill_after_the_stop_timeout(self, tasks: Tasks) -> None:
        arn = tasks.run(tasks.register(container("a", "trap '' TERM; while :; do sleep 0.05; done", stopTimeout=2)))
        tasks.until(arn, lambda task: task["lastStatus"] == "RUNNING")
        time.sleep(0.2)
        started = time.monotonic()
        tasks.ecs.stop_task(cluster="wdl", task=arn)
        tasks.until(arn, lambda task: task["lastStatus"] == "STOPPING", timeout=1)
        task = tasks.stopped(arn)
        assert exit_codes(task) == {"a": 137}
        assert 1.9 < time.monotonic() - started < 5

    def test_a_second_stop_does_not_change_the_reason(self, tasks: Tasks) -> None:
        arn = tasks.run(tasks.register(container("a", "sleep 30")))
        tasks.ecs.stop_task(cluster="wdl", task=arn, reason="first")
        tasks.ecs.stop_task(cluster="wdl", task=arn, reason="second")
        tasks.stopped(arn)
        tasks.ecs.stop_task(cluster="wdl", task=arn, reason="third")
        assert tasks.describe(arn)["stoppedReason"] == "first"


class TestForgetting:
    def test_stopped_tasks_are_forgotten_and_queued_ones_wait(self, tmp_path: Path) -> None:
        endpoint = start_server(
            tmp_path, containers="plain", options=("--forget-after", "1", "--max-tasks", "1", "--region", "eu-west-1")
        )
        try:
            tasks = Tasks(client_of(endpoint, "ecs"))
            definition = tasks.register(container("a", "sleep 60"))
            first = tasks.run(definition)
            tasks.until(first, lambda task: task["lastStatus"] == "RUNNING")
            second, third = tasks.run(definition), tasks.run(definition)
            assert ":eu-west-1:" in first
            assert tasks.describe(second)["lastStatus"] == "PROVISIONING"
            tasks.ecs.stop_task(cluster="wdl", task=second)
            stopped = tasks.stopped(second, timeout=2)
            assert "startedAt" not in stopped
            assert exit_codes(stopped) == {"a": None}
            tasks.ecs.stop_task(cluster="wdl", task=first)
            tasks.until(third, lambda task: task["lastStatus"] == "RUNNING")
            time.sleep(1.2)
            answer = tasks.ecs.describe_tasks(cluster="wdl", tasks=[first, third])
            assert [f["reason"] for f in answer["failures"]] == ["MISSING"]
            assert [t["taskArn"] for t in answer["tasks"]] == [third]
        finally:
            stop_server(tmp_path)


def test_fifty_at_once(embedded_aws: Endpoint, tasks: Tasks) -> None:
    """Fifty tasks of a second each run side by side, even on a small machine."""
    definition = tasks.register(container("a", "sleep 1"), cpu="256", memory="512")
    started = time.monotonic()
    with ThreadPoolExecutor(10) as pool:
        arns = list(pool.map(lambda _: tasks.run(definition), range(50)))
    described = [tasks.stopped(arn, timeout=60) for arn in arns]
    assert [exit_codes(task) for task in described] == [{"a": 0}] * 50
    assert time.monotonic() - started < 25


def test_calls_are_counted(embedded_aws: Endpoint, tasks: Tasks, s3: Any) -> None:
    before = embedded_aws.calls()
    tasks.ecs.list_tasks(cluster="wdl")
    s3.list_buckets()
    after = embedded_aws.calls()
    assert after["ecs:ListTasks"] == before.get("ecs:ListTasks", 0) + 1
    assert after["s3:GET"] == before.get("s3:GET", 0) + 1


def test_logs_are_live_and_by_line(tasks: Tasks, logs: Any) -> None:
    arn = tasks.run(
        tasks.register(
            container("a", "echo one; echo two >&2; echo; printf 'no end'; sleep 30", logConfiguration=logged("p"))
        )
    )
    stream = f"p/a/{arn.rsplit('/', 1)[1]}"

    def messages() -> list[str]:
        events = logs.get_log_events(logGroupName="/wdl", logStreamName=stream, startFromHead=True)["events"]
        return [event["message"] for event in events]

    tasks.until(arn, lambda task: task["lastStatus"] == "RUNNING" and messages() == ["one", "two"])
    tasks.ecs.stop_task(cluster="wdl", task=arn)
    tasks.stopped(arn)
    assert messages() == ["one", "two", "no end"]


def test_a_missing_log_group_fails_the_task(tasks: Tasks) -> None:
    task = tasks.stopped(tasks.run(tasks.register(container("a", "true", logConfiguration=logged(group="/none")))))
    assert task["stopCode"] == "TaskFailedToStart"
    assert "ResourceInitializationError" in task["stoppedReason"]
    assert "/none" in task["stoppedReason"]
