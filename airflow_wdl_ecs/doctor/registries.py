"""Whether the secrets with the credentials of private registries are there, and ECS may read them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ..aws import Clients, aws_errors, error_code, is_unanswered, was_denied
from ..ecs.settings import EcsSettings, how_to_set
from ..errors import WdlEcsError
from .findings import OUT_OF_REACH, Finding, ok, problem, unknown
from .roles import decisions

READ = "secretsmanager:GetSecretValue"
_ARN = re.compile(r"arn:[^:]*:secretsmanager:([^:]+):\d{12}:secret:")


def secrets(settings: EcsSettings, clients: Clients) -> Iterator[Finding]:
    """Whether each secret is there, and whether the execution role, with which ECS reads it, may do so.

    What is in them is not asked.
    """
    if not settings.execution_role_arn:
        yield problem(
            f"no execution role is set, with which ECS would read {', '.join(settings.registry_credentials.values())}",
            f"set {how_to_set('execution_role_arn')}",
        )
        return
    manager = clients("secretsmanager")
    for registry, secret in settings.registry_credentials.items():
        of_arn = _ARN.match(secret)
        if of_arn and of_arn[1] != manager.meta.region_name:
            yield unknown(f"{registry}: {secret} is in another region")
            continue
        arn, finding = _there(registry, secret, manager)
        yield finding
        if arn:
            yield _readable(registry, arn, settings.execution_role_arn, clients("iam"))


def _there(registry: str, secret: str, manager: Any) -> tuple[str, Finding]:
    """The ARN of a secret, and that it is there; or nothing, and what is found instead."""
    mend = f"set {how_to_set('registry_credentials')}"
    try:
        with aws_errors("DescribeSecret", secret):
            about = manager.describe_secret(SecretId=secret)
    except WdlEcsError as error:
        if error.__cause__ is not None and error_code(error.__cause__) == "ResourceNotFoundException":
            create = "create it, a JSON object with username and password"
            return "", problem(f"{registry}: there is no secret {secret}", f"{create}, or {mend}")
        if is_unanswered(error):
            mend = "secretsmanager:DescribeSecret lets it be asked" if was_denied(error) else OUT_OF_REACH
            return "", unknown(f"{registry}: whether {secret} is there: {error.message}", mend)
        raise
    if about.get("DeletedDate"):
        restore = f"aws secretsmanager restore-secret --secret-id {secret}"
        return "", problem(f"{registry}: {secret} is being deleted", f"{restore}, or {mend}")
    return about["ARN"], ok(f"{registry}: {secret} is there")


def _readable(registry: str, arn: str, role: str, iam: Any) -> Finding:
    try:
        found = decisions(iam, role, READ, arn, {})
    except WdlEcsError as error:
        return unknown(f"{registry}: whether {role} may read it, which a task will show: {error.message}")
    if found == ["allowed"]:
        return ok(f"{registry}: {role} may read it")
    return problem(
        f"{registry}: no policy of {role} lets it read {arn} ({', '.join(found)})",
        f"allow it {READ} on the secret (the secret's own policy may do so, too, and is not looked at)",
    )
