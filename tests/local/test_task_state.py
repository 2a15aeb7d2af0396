"""The agent's rules, as decided without a process."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_wdl_ecs.local.task_state import (
    Condition,
    ContainerRules,
    ContainerState,
    Dependency,
    Never,
    Ready,
    Stop,
    TaskState,
    Waiting,
    essential_exit,
    last_status,
    may_start,
    may_stop,
)

PENDING = ContainerState()
RUNNING = ContainerState("RUNNING", started_at=100.0)
SUCCEEDED = ContainerState("STOPPED", 0, started_at=100.0)
FAILED = ContainerState("STOPPED", 1, started_at=100.0)
NEVER_RAN = ContainerState("STOPPED", 143, "CannotStartContainerError: dependency graph: ...")


def rules(name: str, *depends: tuple[str, Condition], essential: bool = False, **more: float) -> ContainerRules:
    return ContainerRules(name, essential, tuple(Dependency(*d) for d in depends), **more)


def task(**containers: ContainerState) -> TaskState:
    return TaskState(containers, created_at=0.0, admitted=True)


@pytest.mark.parametrize(
    ("condition", "other", "expected"),
    [
        ("START", PENDING, Waiting),
        ("START", RUNNING, Ready),
        ("START", FAILED, Ready),
        ("COMPLETE", RUNNING, Waiting),
        ("COMPLETE", FAILED, Ready),
        ("SUCCESS", RUNNING, Waiting),
        ("SUCCESS", SUCCEEDED, Ready),
        ("SUCCESS", FAILED, Never),
        ("START", NEVER_RAN, Never),
        ("COMPLETE", NEVER_RAN, Never),
        ("SUCCESS", NEVER_RAN, Never),
    ],
)
def test_conditions(condition: Condition, other: ContainerState, expected: type) -> None:
    b = rules("b", ("a", condition))
    verdict = may_start(b, {"a": rules("a"), "b": b}, task(a=other, b=PENDING), now=101.0)
    assert isinstance(verdict, expected)
    if isinstance(verdict, Never):
        assert "dependency graph: " in verdict.reason


def test_every_dependency_must_be_met() -> None:
    c = rules("c", ("a", "SUCCESS"), ("b", "START"))
    all_rules = {"a": rules("a"), "b": rules("b"), "c": c}
    assert isinstance(may_start(c, all_rules, task(a=SUCCEEDED, b=PENDING, c=PENDING), 0), Waiting)
    assert isinstance(may_start(c, all_rules, task(a=RUNNING, b=RUNNING, c=PENDING), 0), Waiting)
    assert may_start(c, all_rules, task(a=SUCCEEDED, b=RUNNING, c=PENDING), 0) == Ready()


def test_start_timeout_bounds_the_whole_run_of_the_dependency() -> None:
    b = rules("b", ("a", "COMPLETE"))
    all_rules = {"a": rules("a", start_timeout=10), "b": b}
    state = task(a=RUNNING, b=PENDING)
    assert may_start(b, all_rules, state, now=109.0) == Waiting(until=110.0)
    verdict = may_start(b, all_rules, state, now=110.0)
    assert isinstance(verdict, Never)
    assert "timed out" in verdict.reason


def test_containers_stop_in_reverse_order() -> None:
    all_rules = {"a": rules("a"), "b": rules("b", ("a", "START"))}
    assert not may_stop("a", all_rules, task(a=RUNNING, b=RUNNING))
    assert may_stop("b", all_rules, task(a=RUNNING, b=RUNNING))
    assert may_stop("a", all_rules, task(a=RUNNING, b=SUCCEEDED))


def test_last_status_is_the_least_advanced_container() -> None:
    state = task(a=SUCCEEDED, b=RUNNING, c=PENDING)
    assert last_status(replace(state, admitted=False)) == "PROVISIONING"
    assert last_status(state) == "PENDING"
    assert last_status(state.with_container("c", RUNNING)) == "RUNNING"
    stopping = replace(state, stop=Stop("UserInitiated", ""))
    assert last_status(stopping) == "STOPPING"
    assert last_status(replace(stopping, containers={"a": FAILED})) == "DEPROVISIONING"
    assert last_status(replace(stopping, finished=True)) == "STOPPED"


def test_only_an_essential_container_ends_the_task() -> None:
    all_rules = {"a": rules("a"), "b": rules("b", essential=True)}
    assert essential_exit(all_rules, task(a=FAILED, b=RUNNING)) is None
    stop = essential_exit(all_rules, task(a=RUNNING, b=SUCCEEDED))
    assert stop == Stop("EssentialContainerExited", "Essential container in task exited")


def test_an_essential_container_that_cannot_start_fails_the_task() -> None:
    failed = ContainerState("STOPPED", 127, "CannotStartContainerError: no such file")
    assert essential_exit({"a": rules("a", essential=True)}, task(a=failed)) == Stop("TaskFailedToStart", failed.reason)
