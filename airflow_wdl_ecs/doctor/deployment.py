"""The examination of a deployment, or of an embedded AWS: its checks in order, and what builds on what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from ..aws import Clients, aws_errors
from ..ecs.settings import EcsSettings
from . import account, network, places, roles, trial
from .findings import Check, Finding, ok, skipped

CHECKS = (
    *("settings", "credentials", "cluster", "capacity", "task role", "execution role"),
    *("network", "bucket", "log group", "task"),
)
"""The checks of a deployment, in order."""


@dataclass(frozen=True)
class Deployment:
    """What is examined.

    :param clients: which give up soon, since a person waits.
    """

    settings: EcsSettings
    clients: Clients = field(repr=False)

    @cached_property
    def region(self) -> str:
        """The region of the ECS client."""
        with aws_errors("the AWS connection"):
            return str(self.clients("ecs").meta.region_name)

    @cached_property
    def identity(self) -> account.Identity | None:
        """Who AWS says that we are; None if it does not say."""
        return account.known_identity(self.clients)

    @cached_property
    def cluster(self) -> dict[str, Any] | None:
        """The cluster as DescribeClusters has it; None if there is none of its name."""
        return account.describe_cluster(self.settings.cluster, self.clients("ecs"))


def deployment_checks(d: Deployment, task: trial.Trial | None) -> list[Check]:
    """The checks of a deployment.

    :param task: the real task that is to be run; None for none.
    """
    settings, credentials, cluster, bucket, log_group = embedded_checks(d)
    checks = [settings, credentials, cluster, _capacity(d)]
    checks += [_role(d, "task role", "task_role_arn"), _role(d, "execution role", "execution_role_arn")]
    images = [d.settings.staging_image, *((task.image,) if task and task.image else (d.settings.image,))]
    look = partial(network.way_out, d.settings, d.clients, images)
    checks += [Check("network", look, ("credentials",), needed=False), bucket, log_group]
    if task is not None:
        # What the network lets through, the task knows best.
        checks.append(Check("task", task.findings, tuple(name for name in CHECKS if name not in ("network", "task"))))
    return checks


def embedded_checks(d: Deployment) -> list[Check]:
    """The checks of the embedded AWS, which needs no roles and has no network of its own."""
    s, c = d.settings, d.clients
    return [
        Check("settings", partial(_settings, s)),
        Check("credentials", partial(account.credentials, s, c), needed=False),
        Check("cluster", lambda: account.cluster(s, d.region, d.cluster), ("credentials",), needed=False),
        Check("bucket", lambda: places.bucket(s, c("s3"), d.region), ("credentials",)),
        Check("log group", lambda: places.log_group(s, c("logs"), d.region), ("credentials",), needed=False),
    ]


def _settings(settings: EcsSettings) -> Iterator[Finding]:
    settings.check()
    yield ok("complete, and in agreement with each other")


def _capacity(d: Deployment) -> Check:
    look = partial(_of_cluster, d)
    return Check("capacity", look, ("credentials", "cluster"), needed=False)


def _of_cluster(d: Deployment) -> Iterator[Finding]:
    yield from account.capacity(d.settings, d.clients("ecs"), d.cluster or {})


def _role(d: Deployment, name: str, setting: str) -> Check:
    def look() -> Iterator[Finding]:
        arn = getattr(d.settings, setting)
        if arn or not d.settings.fargate:
            yield from roles.role(setting, arn, d.clients("iam"), d.identity)
        else:
            yield skipped("the settings name none")

    return Check(name, look, ("credentials",), needed=False)
