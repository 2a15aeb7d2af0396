"""What the embedded AWS does wrong when it is told to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import BotoCoreError, ClientError

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

    def test_request_faults_are_used_up_in_order(self) -> None:
        desk = FaultDesk()
        desk.set(
            b'{"requests": [{"operation": "s3:PUT", "kind": "drop", "key": "a.json", "skip": 1, "times": 2},'
            b' {"operation": "*", "kind": "error", "times": null}]}'
        )
        kinds = [fault.kind for _ in range(4) if (fault := desk.take_request_fault("s3:PUT", "/b/a.json"))]
        assert kinds == ["error", "drop", "drop", "error"]
        assert (found := desk.take_request_fault("ecs:RunTask", "")) is not None
        assert found.kind == "error"

    def test_a_rate_is_about_that(self) -> None:
        desk = FaultDesk()
        desk.set(b'{"requests": [{"operation": "*", "kind": "error", "rate": 0.25, "times": null}]}')
        assert 150 < sum(desk.take_request_fault("s3:GET", "/") is not None for _ in range(1000)) < 350

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

    def test_states_that_come_again_and_out_of_order(self, faulty: Endpoint, tasks: Tasks) -> None:
        arn = tasks.run(tasks.register(container("a", "true")))
        tasks.stopped(arn)
        faulty.set_faults(stale_for=3600, stale_rate=0.5)
        seen = "".join(tasks.describe(arn)["lastStatus"][0] for _ in range(40))
        assert set(seen) == {"P", "S"}
        assert "SP" in seen

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
        faulty.set_faults(tasks=[{"kind": "image_pull", "says": "not found"}])
        assert tasks.stopped(tasks.run(definition))["stoppedReason"].endswith(": not found")
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

    def test_a_killed_container(self, faulty: Endpoint, tasks: Tasks) -> None:
        faulty.set_faults(tasks=[{"kind": "kill", "container": "a"}])
        task = tasks.stopped(tasks.run(tasks.register(container("a", "sleep 30"))))
        assert exit_codes(task) == {"a": 137}
        assert "reason" not in task["containers"][0]

    def test_a_clock_that_is_ahead(self, faulty: Endpoint, tasks: Tasks) -> None:
        arn = tasks.run(tasks.register(container("a", "true")))
        tasks.stopped(arn)
        before = tasks.describe(arn)["createdAt"]
        faulty.set_faults(clock_skew=3600)
        assert (tasks.describe(arn)["createdAt"] - before).total_seconds() == 3600

    def test_errors_by_operation_and_key(self, faulty: Endpoint, tasks: Tasks) -> None:
        s3 = client_of(faulty, "s3")
        s3.put_object(Bucket=faulty.bucket, Key="other", Body=b"1")
        faulty.set_faults(
            requests=[
                {"operation": "s3:GET", "key": "mine", "kind": "error", "code": "SlowDown", "status": 503, "times": 9},
                {"operation": "ecs:ListTasks", "kind": "error", "code": "ServerException", "times": None},
            ]
        )
        assert s3.get_object(Bucket=faulty.bucket, Key="other")["Body"].read() == b"1"
        with pytest.raises(ClientError, match="SlowDown"):
            s3.get_object(Bucket=faulty.bucket, Key="mine")
        with pytest.raises(ClientError, match="ServerException"):
            tasks.ecs.list_tasks(cluster="wdl")
        tasks.ecs.list_clusters()

    @pytest.mark.parametrize("after", [False, True])
    def test_a_request_is_held_until_the_faults_are_replaced(self, faulty: Endpoint, after: bool) -> None:
        s3 = client_of(faulty, "s3")
        key = f"held-{after}"
        faulty.set_faults(requests=[{"operation": "s3:PUT", "key": key, "kind": "hold", "after": after}])
        with ThreadPoolExecutor(1) as pool:
            putting = pool.submit(s3.put_object, Bucket=faulty.bucket, Key=key, Body=b"x")
            deadline = time.monotonic() + 20
            while not faulty.held():
                assert time.monotonic() < deadline
                time.sleep(0.02)
            assert faulty.held() == [f"s3:PUT /{faulty.bucket}/{key}"]
            there = s3.list_objects_v2(Bucket=faulty.bucket, Prefix=key)["KeyCount"]
            assert there == after
            assert not putting.done()
            faulty.set_faults()
            putting.result(20)
        assert s3.get_object(Bucket=faulty.bucket, Key=key)["Body"].read() == b"x"
        assert faulty.held() == []

    @pytest.mark.parametrize("after", [False, True])
    def test_a_connection_that_breaks_off(self, faulty: Endpoint, after: bool) -> None:
        s3 = client_of(faulty, "s3")
        key = f"dropped-{after}"
        faulty.set_faults(requests=[{"operation": "s3:PUT", "key": key, "kind": "drop", "after": after, "times": None}])
        with pytest.raises(BotoCoreError):
            s3.put_object(Bucket=faulty.bucket, Key=key, Body=b"x")
        faulty.set_faults()
        assert s3.list_objects_v2(Bucket=faulty.bucket, Prefix=key)["KeyCount"] == after

    def test_an_answer_that_is_cut_short(self, faulty: Endpoint) -> None:
        s3 = client_of(faulty, "s3")
        s3.put_object(Bucket=faulty.bucket, Key="cut", Body=b"x" * 1000)
        faulty.set_faults(requests=[{"operation": "s3:GET", "key": "cut", "kind": "truncate"}])
        with pytest.raises(BotoCoreError):
            s3.get_object(Bucket=faulty.bucket, Key="cut")["Body"].read()
        assert len(s3.get_object(Bucket=faulty.bucket, Key="cut")["Body"].read()) == 1000

    def test_a_fault_for_an_unknown_task_is_refused(self, faulty: Endpoint) -> None:
        with pytest.raises(OSError, match="not found"):
            faulty.set_faults(tasks=[{"kind": "spot", "task": "0" * 32}])
