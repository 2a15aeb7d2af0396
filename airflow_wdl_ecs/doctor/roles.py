"""Whether the roles that ECS is given are there, may be assumed by it, and may be passed to it by us."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..aws import aws_errors, error_code, is_unanswered, was_denied
from ..ecs.settings import how_to_set
from ..errors import WdlEcsError
from .account import Identity
from .findings import OUT_OF_REACH, Finding, ok, problem, unknown

TASKS = "ecs-tasks.amazonaws.com"
"""The service that takes the roles of tasks."""
ECS = "ecs.amazonaws.com"
"""The one that takes the role with which volumes are made."""
_ROLE = re.compile(r"arn:aws[\w-]*:iam::(\d{12}):role/(?:[^\s]*/)?([\w+=,.@-]+)")
_ASSUME = ("sts:AssumeRole", "sts:*", "*")


def role(setting: str, arn: str, iam: Any, identity: Identity | None, service: str = TASKS) -> Iterator[Finding]:
    """Whether a role is there, whether a service may take it, and whether we may give it to that.

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
    found = _trust(setting, arn, name, iam, service)
    yield found
    if found.verdict != "problem":
        yield _passing(arn, iam, identity, service)


def _trust(setting: str, arn: str, name: str, iam: Any, service: str) -> Finding:
    """Whether the role is there, and whether the service may take it."""
    try:
        with aws_errors("GetRole", arn):
            found = iam.get_role(RoleName=name)["Role"]
    except WdlEcsError as error:
        if error.__cause__ is not None and error_code(error.__cause__) == "NoSuchEntity":
            return problem(f"there is no role {arn}", f"create it (docs: Deploy, Roles), or set {how_to_set(setting)}")
        if is_unanswered(error):
            mend = "iam:GetRole lets it be asked" if was_denied(error) else OUT_OF_REACH
            return unknown(f"whether {arn} is there and is for {service}: {error.message}", mend)
        raise
    if not trusts(found.get("AssumeRolePolicyDocument", {}), service):
        return problem(
            f"{arn} may not be assumed by {service}",
            f'its trust policy must allow sts:AssumeRole to {{"Service": "{service}"}}',
        )
    return ok(f"{arn} is there, and {service} may assume it")


def trusts(policy: Mapping[str, Any], service: str) -> bool:
    """Whether a trust policy lets a service assume its role; its conditions are not looked at."""
    statements = policy.get("Statement", [])
    for statement in [statements] if isinstance(statements, Mapping) else statements:
        principal = statement.get("Principal", {})
        services = principal.get("Service", []) if isinstance(principal, Mapping) else principal
        allowed = statement.get("Effect") == "Allow" and {service, "*"} & set(_listed(services))
        if allowed and any(action in _ASSUME for action in _listed(statement.get("Action", []))):
            return True
    return False


def _listed(value: str | Iterable[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def decisions(iam: Any, source: str, action: str, resource: str, context: Mapping[str, str]) -> list[str]:
    """What IAM decides of an action by the policies of a user or role: ``allowed``, or how it is denied.

    :param source: the ARN of the user or role. :param context: condition key -> value.
    :raises WdlEcsError: if IAM does not say.
    """
    entries = [
        {"ContextKeyName": key, "ContextKeyValues": [value], "ContextKeyType": "string"}
        for key, value in context.items()
    ]
    with aws_errors("SimulatePrincipalPolicy", source):
        answer = iam.simulate_principal_policy(
            PolicySourceArn=source, ActionNames=[action], ResourceArns=[resource], ContextEntries=entries
        )
    return [result["EvalDecision"] for result in answer["EvaluationResults"]]


def _passing(arn: str, iam: Any, identity: Identity | None, service: str) -> Finding:
    """Whether we may pass the role to a service, as far as IAM says."""
    if identity is None:
        return unknown(f"whether we may pass {arn} to ECS: it is not known who we are")
    if identity.principal.endswith(":root"):
        return ok("the account's root user may pass it")
    try:
        source = identity.principal
        if identity.role_name:
            with aws_errors("GetRole", identity.principal):  # a session does not tell the path of its role
                source = iam.get_role(RoleName=identity.role_name)["Role"]["Arn"]
        found = decisions(iam, source, "iam:PassRole", arn, {"iam:PassedToService": service})
    except WdlEcsError as error:
        return unknown(f"whether we may pass it to ECS, which a task will show: {error.message}")
    if found == ["allowed"]:
        return ok(f"{source} may pass it to {service}")
    return problem(
        f"{source} may not pass {arn} to {service} ({', '.join(found)})",
        f"allow it iam:PassRole on {arn} with iam:PassedToService {service}",
    )
