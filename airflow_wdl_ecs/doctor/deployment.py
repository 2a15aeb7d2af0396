"""The examination of a deployment, or of an embedded AWS: its checks in order, and what builds on what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from ..aws import Clients, aws_errors
from ..ecs.images import usable_image
from ..ecs.settings import EcsSettings
from . import account, network, places, registries, roles, trial
from .findings import Check, Finding, ok, skipped

CHECKS = (
    *("settings", "credentials", "cluster", "capacity", "task role", "execution role"),
    *("network", "bucket", "log group", "task"),
)
"""The checks that every deployment has, in order."""


@dataclass(frozen=True)
class Deployment:
    """What is examined.

    :param clients: which give up soon, since a person waits.
    :param connected: whether Airflow has the connection that the settings name.
    """

    settings: EcsSettings
    clients: Clients = field(repr=False)
    connected: Callable[[], bool] = field(default=lambda: True, repr=False)

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
    checks += _by_settings(d)
    look = partial(_network, d, task.image if task else "")
    checks += [Check("network", look, ("credentials",), needed=False), bucket, log_group]
    if task is not None:
        # What the network lets through, the task knows best.
        after = [name for name in CHECKS if name not in ("network", "task")]
        checks.append(Check("task", task.findings, [*after, *(("EBS role",) if task.disk else ())]))
    return checks


def embedded_checks(d: Deployment) -> list[Check]:
    """The checks of the embedded AWS, which needs no roles and has no network of its own."""
    s, c = d.settings, d.clients
    return [
        Check("settings", partial(_settings, s)),
        Check("credentials", partial(account.credentials, s, c, d.connected), needed=False),
        Check("cluster", lambda: account.cluster(s, d.region, d.cluster), ("credentials",), needed=False),
        Check("bucket", lambda: places.bucket(s, c("s3"), d.region), ("credentials",)),
        Check("log group", lambda: places.log_group(s, c("logs"), d.region), ("credentials",), needed=False),
    ]


def _settings(settings: EcsSettings) -> Iterator[Finding]:
    settings.check()
    yield ok("complete, and in agreement with each other")


def _by_settings(d: Deployment) -> list[Check]:
    """Checks of what a deployment has only if its settings name it."""
    s, checks = d.settings, []
    if s.ebs_role_arn:
        checks.append(
            Check(
                "EBS role",
                lambda: roles.role("ebs_role_arn", s.ebs_role_arn, d.clients("iam"), d.identity, roles.ECS),
                ("credentials",),
                needed=False,
            )
        )
    if s.registry_credentials:
        look = partial(registries.secrets, s, d.clients)
        checks.append(Check("registries", look, ("credentials",), needed=False))
    return checks


def _network(d: Deployment, image: str) -> Iterator[Finding]:
    """The network's way out to where the images of tasks are pulled from.

    :param image: that the command of the task is to have; empty for that of the settings.
    """
    named = image or d.settings.image
    images = [d.settings.staging_image, *([usable_image([named], d.settings)] if named else [])]
    yield from network.way_out(d.settings, d.clients, images)


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
