"""Whether the roles of the tasks are there, may be assumed by ECS, and may be passed to it by us."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..aws import aws_errors, error_code, is_unanswered
from ..ecs.settings import how_to_set
from ..errors import WdlEcsError
from .account import Identity
from .findings import Finding, ok, problem, unknown

SERVICE = "ecs-tasks.amazonaws.com"
_ROLE = re.compile(r"arn:aws[\w-]*:iam::(\d{12}):role/(?:[^\s]*/)?([\w+=,.@-]+)")
_ASSUME = ("sts:AssumeRole", "sts:*", "*")


def role(setting: str, arn: str, iam: Any, identity: Identity | None) -> Iterator[Finding]:
    """Whether a role is there, whether ECS tasks may have it, and whether we may give it to them.

    :param setting: the setting that names it. :param identity: ours, if it is known.
    """
    if not arn:
        yield ok("none is set: tasks have what their instances' role may do")
        return
    parts = _ROLE.fullmatch(arn)
    if parts is None:
        yield problem(f"{arn!r} is no ARN of a role", f"set {how_to_set(setting)}")
        return
    account, name = parts.groups()
    if identity is not None and identity.account != account:
        yield problem(
            f"{arn} is of account {account}, and we are in {identity.account}: ECS takes roles of its own account only",
            f"set {how_to_set(setting)}",
        )
        return
    found = _trust(setting, arn, name, iam)
    yield found
    if found.verdict != "problem":
        yield _passing(arn, iam, identity)


def _trust(setting: str, arn: str, name: str, iam: Any) -> Finding:
    """Whether the role is there, and whether ECS tasks may have it."""
    try:
        with aws_errors("GetRole", arn):
            found = iam.get_role(RoleName=name)["Role"]
    except WdlEcsError as error:
        if error.__cause__ is not None and error_code(error.__cause__) == "NoSuchEntity":
            return problem(f"there is no role {arn}", f"create it (docs: Deploy, Roles), or set {how_to_set(setting)}")
        if is_unanswered(error):
            return unknown(
                f"whether {arn} is there and is for ECS tasks: {error.message}", "iam:GetRole lets it be asked"
            )
        raise
    if not trusts_tasks(found.get("AssumeRolePolicyDocument", {})):
        return problem(
            f"{arn} may not be assumed by {SERVICE}",
            f'its trust policy must allow sts:AssumeRole to {{"Service": "{SERVICE}"}}',
        )
    return ok(f"{arn} is there, and ECS tasks may assume it")


def trusts_tasks(policy: Mapping[str, Any]) -> bool:
    """Whether a trust policy lets ECS tasks assume its role; its conditions are not looked at."""
    statements = policy.get("Statement", [])
    for statement in [statements] if isinstance(statements, Mapping) else statements:
        principal = statement.get("Principal", {})
        services = principal.get("Service", []) if isinstance(principal, Mapping) else principal
        allowed = statement.get("Effect") == "Allow" and {SERVICE, "*"} & set(_listed(services))
        if allowed and any(action in _ASSUME for action in _listed(statement.get("Action", []))):
            return True
    return False


def _listed(value: str | Iterable[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _passing(arn: str, iam: Any, identity: Identity | None) -> Finding:
    """Whether we may pass the role to ECS tasks, as far as IAM says."""
    if identity is None:
        return unknown(f"whether we may pass {arn} to ECS: it is not known who we are")
    if identity.principal.endswith(":root"):
        return ok("the account's root user may pass it")
    try:
        source = identity.principal
        if identity.role_name:
            with aws_errors("GetRole", identity.principal):  # a session does not tell the path of its role
                source = iam.get_role(RoleName=identity.role_name)["Role"]["Arn"]
        with aws_errors("SimulatePrincipalPolicy", source):
            answer = iam.simulate_principal_policy(
                PolicySourceArn=source,
                ActionNames=["iam:PassRole"],
                ResourceArns=[arn],
                ContextEntries=[
                    {
                        "ContextKeyName": "iam:PassedToService",
                        "ContextKeyValues": [SERVICE],
                        "ContextKeyType": "string",
                    }
                ],
            )
    except WdlEcsError as error:
        return unknown(f"whether we may pass it to ECS, which the task will show: {error.message}")
    decisions = [result["EvalDecision"] for result in answer["EvaluationResults"]]
    if decisions == ["allowed"]:
        return ok(f"{source} may pass it to ECS tasks")
    return problem(
        f"{source} may not pass {arn} to ECS tasks ({', '.join(decisions)})",
        f"allow it iam:PassRole on {arn} with iam:PassedToService {SERVICE}",
    )
