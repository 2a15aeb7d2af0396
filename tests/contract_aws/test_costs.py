"""The contract costs no more than it says, and says it before."""

from __future__ import annotations

import pytest

from . import costs
from .costs import Budget, OverBudgetError, Plan
from .offer import offer


def request(token: str = "a", **more: object) -> dict[str, object]:
    overrides = {"cpu": "256", "memory": "512"}
    return {"clientToken": token, "count": 1, "overrides": overrides, **more}


def test_the_price_is_what_the_list_says_for_as_long_as_a_task_may_take():
    # A sixth of an hour of a quarter of a vCPU, half a GiB and an address.
    one = (0.25 * 0.04048 + 0.5 * 0.004445 + 0.005) / 6
    assert costs.price([Plan(3)], "us-east-1") == pytest.approx(3 * one)
    assert costs.price([Plan(3)], "eu-west-1") == pytest.approx(6 * one)
    assert costs.price([Plan(1, disk=120)], "us-east-1") == pytest.approx(one + 100 * 0.000111 / 6)
    assert costs.price([], "us-east-1") == 0


def test_what_is_planned_fits_and_no_task_more():
    budget = Budget(costs.price([Plan(2)], "us-east-1"), "us-east-1")
    budget.allow(request("a"))
    budget.allow(request("b"))
    budget.allow(request("a"))
    assert budget.tasks == 2
    with pytest.raises(OverBudgetError, match="was not started"):
        budget.allow(request("c"))
    assert budget.spent == pytest.approx(budget.limit)


def test_a_larger_task_takes_more():
    budget = Budget(costs.price([Plan(1)], "us-east-1"), "us-east-1")
    with pytest.raises(OverBudgetError):
        budget.allow(request(overrides={"cpu": "512", "memory": "1024"}))
    with pytest.raises(OverBudgetError):
        budget.allow(request(overrides={"cpu": "256", "memory": "512", "ephemeralStorage": {"sizeInGiB": 100}}))
    assert (budget.tasks, budget.spent) == (0, 0)


@pytest.mark.parametrize("what", [{"clientToken": ""}, {"count": 2}, {"overrides": {"cpu": "256"}}])
def test_what_has_no_price_is_refused(what):
    with pytest.raises(OverBudgetError, match="has no price"):
        Budget(100, "us-east-1").allow(request(**what))


AWS = {
    "AWS_CONTRACT": "1",
    "AWS_CONTRACT_REGION": "eu-west-1",
    "AWS_CONTRACT_CLUSTER": "wdl",
    "AWS_CONTRACT_WORKSPACE": "s3://bucket/wdl",
    "AWS_CONTRACT_LOG_GROUP": "/wdl",
    "AWS_CONTRACT_SUBNETS": "subnet-1, subnet-2",
    "AWS_CONTRACT_TASK_ROLE_ARN": "arn:aws:iam::123456789012:role/task",
    "AWS_CONTRACT_EXECUTION_ROLE_ARN": "arn:aws:iam::123456789012:role/execution",
}


@pytest.mark.parametrize("environment", [{}, {"AWS_CONTRACT": ""}, {"AWS_CONTRACT": "0", "AWS_CONTRACT_CLUSTER": "a"}])
def test_without_being_asked_to_nothing_runs_on_aws(environment):
    found = offer([Plan(3)], environment)
    assert found.target is None
    assert str(found) == "contract on the embedded ECS: 3 tasks at most, for 0.009 US dollars at most of 1"


def test_what_runs_on_aws_may_cost_what_is_planned():
    found = offer([Plan(3), Plan(1, cpu=512, memory=1024)], AWS)
    assert str(found).startswith("contract on AWS, eu-west-1, cluster wdl: 4 tasks at most, for 0.0")
    assert found.target is not None
    assert found.target.settings.subnets == ("subnet-1", "subnet-2")
    assert found.target.budget.limit == found.dollars
    assert found.target.budget.region == "eu-west-1"


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"AWS_CONTRACT_LIMIT_USD": "0.005"}, "US dollars at most of 0.005. Select fewer tests, or raise"),
        ({**AWS, "AWS_CONTRACT_LIMIT_USD": "0.01"}, "US dollars at most of 0.01. Select fewer tests, or raise"),
        ({"AWS_CONTRACT_LIMIT_USD": "nan"}, "at most of nan. Select fewer tests"),
        ({"AWS_CONTRACT_LIMIT_USD": "much"}, "AWS_CONTRACT_LIMIT_USD is no number: much"),
        ({"AWS_CONTRACT": "1"}, "AWS_CONTRACT=1: cluster is not set"),
        ({**AWS, "AWS_CONTRACT_REGION": ""}, "AWS_CONTRACT=1: AWS_CONTRACT_REGION is not set"),
        ({**AWS, "AWS_CONTRACT_LAUNCH_TYPE": "EC2"}, "the contract runs on Fargate"),
        ({**AWS, "AWS_CONTRACT_CLUSTR": "a"}, "there is no setting clustr; cluster?"),
    ],
)
def test_what_is_too_dear_or_not_known_is_refused(environment, said):
    with pytest.raises(pytest.UsageError) as error:
        offer([Plan(3)], environment)
    assert said in str(error.value)


def test_every_test_of_the_contract_that_starts_tasks_has_said_how_many(request):
    """The price of those that this session has collected is less than the default limit, anywhere."""
    mine = [item for item in request.session.items if item.get_closest_marker("contract")]
    starting = [item for item in mine if "target" in item.fixturenames]
    assert [item.name for item in starting if not item.get_closest_marker("planned")] == []
    assert costs.price(costs.plan_of(mine), "elsewhere") < 0.5
