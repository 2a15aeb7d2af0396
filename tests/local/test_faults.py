"""What the embedded AWS does wrong when it is told to."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError

from airflow_wdl_ecs.local.endpoint import Endpoint
from airflow_wdl_ecs.local.faults import FaultDesk

from .conftest import Tasks, client_of, container, exit_codes


class TestDesk:
    """The desk itself, without a server."""

    def test_throttle_is_a_bucket(self) -> None:
        desk = FaultDesk()
        desk.set(b'{"throttle": {"ecs:DescribeTasks": 3}}')
        assert [desk.throttled("ecs:DescribeTasks") for _ in range(5)] == [False, False, False, True, True]
        assert not desk.throttled("ecs:RunTask")
        time.sleep(0.4)
        assert not desk.throttled("ecs:DescribeTasks")

    def test_failures_and_task_faults_are_used_up(self) -> None:
        desk = FaultDesk()
        desk.set(b'{"run_task_failures": ["AGENT", "x"], "tasks": [{"kind": "spot", "times": 2}, {"kind": "host"}]}')
        assert [desk.take_run_task_failure() for _ in range(3)] == ["AGENT", "x", None]
        assert [[f.kind for f in desk.take_task_faults()] for _ in range(3)] == [["spot", "host"], ["spot"], []]

    @pytest.mark.parametrize("data", [b'{"latencies": {}}', b'{"tasks": [{"kind": "flood"}]}', b"no json"])
    def test_what_is_no_fault_is_refused(self, data: bytes) -> None:
        with pytest.raises(ValueError, match=r"flood|latencies|JSON"):
            FaultDesk().set(data)


@pytest.mark.local
class TestServer:
    @pytest.fixture
    def faulty(self, embedded_aws: Endpoint) -> Iterator[Endpoint]:
        yield embedded_aws
        embedded_aws.set_faults()

    def test_run_task_failures(self, faulty: Endpoint, tasks: Tasks) -> None:
        faulty.set_faults(run_task_failures=["RESOURCE:MEMORY"])
        definition = tasks.register(container("a", "true"))
        answer = tasks.ecs.run_task(cluster="wdl", taskDefinition=definition, clientToken="failing")
        assert answer["tasks"] == []
        assert [failure["reason"] for failure in answer["failures"]] == ["RESOURCE:MEMORY"]
        tasks.run(definition, clientToken="failing")

    def test_throttling(self, faulty: Endpoint, tasks: Tasks) -> None:
        faulty.set_faults(throttle={"ecs:ListTasks": 1})
        tasks.ecs.list_tasks(cluster="wdl")
        with pytest.raises(ClientError, match="ThrottlingException"):
            tasks.ecs.list_tasks(cluster="wdl")
        tasks.ecs.list_clusters()

    def test_slow_down_of_s3(self, faulty: Endpoint) -> None:
        faulty.set_faults(throttle={"s3:GET": 0.1})
        with pytest.raises(ClientError, match="SlowDown"):
            client_of(faulty, "s3").list_buckets()

    def test_latency(self, faulty: Endpoint, tasks: Tasks) -> None:
        faulty.set_faults(latency={"ecs:ListTasks": 0.5})
        started = time.monotonic()
        tasks.ecs.list_tasks(cluster="wdl")
        assert time.monotonic() - started >= 0.5

    def test_missing_at_first(self, faulty: Endpoint, tasks: Tasks) -> None:
        faulty.set_faults(missing_for=1.0)
        arn = tasks.run(tasks.register(container("a", "true")))
        answer = tasks.ecs.describe_tasks(cluster="wdl", tasks=[arn])
        assert [failure["reason"] for failure in answer["failures"]] == ["MISSING"]
        time.sleep(1.0)
        tasks.stopped(arn)

    def test_stale_states(self, faulty: Endpoint, tasks: Tasks) -> None:
        arn = tasks.run(tasks.register(container("a", "true")))
        tasks.stopped(arn)
        faulty.set_faults(stale_for=3600)
        assert tasks.describe(arn)["lastStatus"] == "PROVISIONING"
        assert "stoppedAt" not in tasks.describe(arn)
        faulty.set_faults(stale_for=0.01)
        time.sleep(0.05)
        assert tasks.describe(arn)["lastStatus"] == "STOPPED"

    def test_forgotten_when_stopped(self, faulty: Endpoint, tasks: Tasks) -> None:
        arn = tasks.run(tasks.register(container("a", "sleep 30")))
        faulty.set_faults(forget_after=0)
        tasks.describe(arn)
        tasks.ecs.stop_task(cluster="wdl", task=arn)
        deadline = time.monotonic() + 10
        while not tasks.ecs.describe_tasks(cluster="wdl", tasks=[arn])["failures"]:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def test_spot_interruption_of_the_next_task(self, faulty: Endpoint, tasks: Tasks) -> None:
        faulty.set_faults(tasks=[{"kind": "spot", "after": 0.5}])
        definition = tasks.register(container("command", "trap 'exit 6' TERM; while :; do sleep 0.05; done"))
        task = tasks.stopped(tasks.run(definition))
        assert (task["stopCode"], exit_codes(task)) == ("SpotInterruption", {"command": 6})
        arn = tasks.run(definition)
        tasks.until(arn, lambda task: task["lastStatus"] == "RUNNING")
        tasks.ecs.stop_task(cluster="wdl", task=arn)

    def test_host_termination_of_a_running_task(self, faulty: Endpoint, tasks: Tasks) -> None:
        arn = tasks.run(tasks.register(container("a", "trap '' TERM; while :; do sleep 0.05; done")))
        tasks.until(arn, lambda task: task["lastStatus"] == "RUNNING")
        faulty.set_faults(tasks=[{"kind": "host", "task": arn}])
        task = tasks.stopped(arn)
        assert exit_codes(task) == {"a": None}
        assert task["stoppedReason"].startswith("Host EC2")

    def test_image_that_cannot_be_pulled(self, faulty: Endpoint, tasks: Tasks) -> None:
        faulty.set_faults(tasks=[{"kind": "image_pull", "container": "command"}])
        definition = tasks.register(
            container("command", "true", essential=False),
            container("a", "true", dependsOn=[{"containerName": "command", "condition": "COMPLETE"}]),
        )
        task = tasks.stopped(tasks.run(definition))
        assert task["stopCode"] == "TaskFailedToStart"
        assert task["stoppedReason"].startswith("CannotPullContainerError")
        assert exit_codes(task) == {"command": None, "a": None}

    def test_out_of_memory_of_one_container(self, faulty: Endpoint, tasks: Tasks) -> None:
        faulty.set_faults(tasks=[{"kind": "out_of_memory"}])
        definition = tasks.register(
            container("command", "sleep 30", essential=False),
            container("a", "exit 8", dependsOn=[{"containerName": "command", "condition": "COMPLETE"}]),
        )
        task = tasks.stopped(tasks.run(definition))
        assert exit_codes(task) == {"command": 137, "a": 8}
        assert task["containers"][0]["reason"].startswith("OutOfMemoryError")
        assert task["stopCode"] == "EssentialContainerExited"

    def test_a_fault_for_an_unknown_task_is_refused(self, faulty: Endpoint) -> None:
        with pytest.raises(OSError, match="not found"):
            faulty.set_faults(tasks=[{"kind": "spot", "task": "0" * 32}])
