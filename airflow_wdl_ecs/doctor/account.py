"""Who AWS takes us for, and whether the cluster and its capacity are there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..aws import Clients, aws_errors, error_code
from ..ecs.settings import EcsSettings, how_to_set
from ..errors import SettingsError, WdlEcsError
from .findings import OUT_OF_REACH, Finding, ok, problem, skipped

_CLUSTER_ARN = re.compile(r"arn:[^:]*:ecs:([^:]+):\d{12}:cluster/")
_NOT_UNDERSTOOD = ("InvalidParameterException", "ClientException")
_ASSUMED = re.compile(r"arn:([^:]+):sts::(\d{12}):assumed-role/([^/]+)/")


@dataclass(frozen=True)
class Identity:
    """Whom AWS takes the credentials for.

    :param account: 12 digits. :param arn: as STS gives it, of a user, a role's session or the account's root.
    """

    account: str
    arn: str

    @property
    def role_name(self) -> str:
        """The name of the role whose session it is; empty if it is none."""
        found = _ASSUMED.match(self.arn)
        return found[3] if found else ""

    @property
    def principal(self) -> str:
        """The user, or the role whose session it is, as IAM has it where the role's path is ``/``."""
        found = _ASSUMED.match(self.arn)
        return f"arn:{found[1]}:iam::{found[2]}:role/{found[3]}" if found else self.arn


def known_identity(clients: Clients) -> Identity | None:
    """Who we are; None if STS does not say."""
    try:
        return _identity(clients("sts"))
    except WdlEcsError:
        return None


def _identity(sts: Any) -> Identity:
    with aws_errors("GetCallerIdentity"):
        answer = sts.get_caller_identity()
    return Identity(str(answer["Account"]), str(answer["Arn"]))


def credentials(
    settings: EcsSettings, clients: Clients, connected: Callable[[], bool] = lambda: True
) -> Iterator[Finding]:
    """Whether AWS takes the credentials, and for whom.

    :param connected: whether Airflow has the connection that the settings name.
    """
    named = settings.aws_conn_id
    chained = not named or not connected()
    connection = f"the connection {named}"
    if chained:
        connection = "boto3's own chain" + (f": Airflow has no connection {named}" if named else "")
    try:
        with aws_errors("the credentials of", connection):
            sts = clients("sts")
    except WdlEcsError as error:  # whatever keeps a client from being made keeps every call from running
        yield problem(error.message, error.hint or OUT_OF_REACH)
        return
    except Exception as error:  # what Airflow raises of a connection that it cannot read, or a role not assumed
        mend = f"check the Airflow connection that aws_conn_id names; set {how_to_set('aws_conn_id')}"
        yield problem(f"no AWS client comes of {connection}: {type(error).__name__}: {error}", mend)
        return
    try:
        found = _identity(sts)
    except SettingsError as error:
        if not chained:
            raise
        make = f"make the Airflow connection {named}" if named else f"set {how_to_set('aws_conn_id')}"
        yield problem(f"{error.message} ({connection})", f"{make}, or give this machine a role")
        return
    yield ok(f"account {found.account}, region {sts.meta.region_name}, as {found.arn} ({connection})")


def describe_cluster(name: str, ecs: Any) -> dict[str, Any] | None:
    """The cluster as DescribeClusters has it; None if there is none of its name."""
    with aws_errors("DescribeClusters", name):
        found: list[dict[str, Any]] = ecs.describe_clusters(clusters=[name]).get("clusters", []) if name else []
    return found[0] if found else None


def cluster(settings: EcsSettings, region: str, found: Mapping[str, Any] | None) -> Iterator[Finding]:
    """Whether the cluster is there and active.

    :param region: of the ECS client. :param found: as DescribeClusters has it.
    """
    name, mend = settings.cluster, f"set {how_to_set('cluster')}"
    if not name:
        yield skipped("the settings name none")
        return
    of_arn = _CLUSTER_ARN.match(name)
    if of_arn and of_arn[1] != region:
        yield problem(f"{name} is in {of_arn[1]}, and ECS is asked in {region}", f"set {how_to_set('region')}")
        return
    if found is None or found.get("status") == "INACTIVE":
        create = f"aws ecs create-cluster --region {region} --cluster-name {name.rsplit('/', 1)[-1]}"
        yield problem(f"there is no cluster {name} in {region}", f"{mend}, or create it: {create}")
    elif found.get("status") != "ACTIVE":
        yield problem(f"{name} is {found.get('status')}", "wait until it is ACTIVE, or name another one")
    else:
        running, pending = found.get("runningTasksCount", 0), found.get("pendingTasksCount", 0)
        yield ok(f"{name} in {region} is active; {running} tasks run, {pending} are pending")


def capacity(settings: EcsSettings, ecs: Any, found: Mapping[str, Any]) -> Iterator[Finding]:
    """Whether the cluster has what the settings launch tasks on.

    :param found: the cluster as DescribeClusters has it.
    """
    has = found.get("capacityProviders", [])
    missing = [name for name in settings.providers if name not in has]
    if missing:
        listed = ", ".join(has) or "none"
        yield problem(
            f"the cluster has no capacity provider {', '.join(missing)} (it has: {listed})",
            "add it by aws ecs put-cluster-capacity-providers with all that it is to have, or change "
            f"{how_to_set('capacity_providers')} and spot_capacity_providers",
        )
        return
    instances = found.get("registeredContainerInstancesCount", 0)
    own = [name for name in settings.providers if not name.startswith("FARGATE")]
    if not (settings.fargate or settings.capacity_providers or instances):
        # What Spot's providers start takes no task that is run by its launch type.
        yield problem(
            "launch_type is EC2, and the cluster has no container instance",
            "let instances register with the cluster, or set capacity_providers to one that starts them",
        )
    elif own:
        yield from _own_providers(ecs, own, instances)
    elif settings.fargate:
        yield ok(", ".join(settings.providers) or "Fargate, by its launch type")
    else:
        yield ok(f"{instances} container instances")
    if instances and not settings.fargate:
        yield from _constraints(settings, ecs)


def _own_providers(ecs: Any, names: list[str], instances: int) -> Iterator[Finding]:
    """Whether capacity providers of the account's own are active, and have instances or may start some."""
    with aws_errors("DescribeCapacityProviders", ", ".join(names)):
        found = ecs.describe_capacity_providers(capacityProviders=names)["capacityProviders"]
    wrong = [f"{one['name']} is {one.get('status')}" for one in found if one.get("status") != "ACTIVE"]
    if wrong:
        yield problem("; ".join(wrong), "create the capacity provider anew, or name another one")
        return
    groups = [one.get("autoScalingGroupProvider", {}) for one in found]
    scaled = any(group.get("managedScaling", {}).get("status") == "ENABLED" for group in groups)
    if not instances and not scaled:
        yield problem(
            f"{', '.join(names)}: no container instance, and managed scaling is off, so that none is started",
            "enable the capacity provider's managed scaling, or start instances",
        )
        return
    yield ok(f"{', '.join(names)}: {instances} container instances" + (", more are started when asked" * scaled))


def _constraints(settings: EcsSettings, ecs: Any) -> Iterator[Finding]:
    """Whether instances of the cluster fulfil the placement constraints, each by itself."""
    mend = f"set {how_to_set('placement_constraints')}"
    for text in settings.placement_constraints:
        if text == "distinctInstance":
            continue
        try:
            with aws_errors("ListContainerInstances", text):
                answer = ecs.list_container_instances(
                    cluster=settings.cluster, filter=text, status="ACTIVE", maxResults=1
                )
        except WdlEcsError as error:
            if error.__cause__ is not None and error_code(error.__cause__) in _NOT_UNDERSTOOD:
                yield problem(f"placement_constraints: {error.message}", mend)
                continue
            raise
        if answer["containerInstanceArns"]:
            yield ok(f"placement_constraints: instances fulfil {text}")
        elif settings.providers:
            yield ok(f"placement_constraints: no instance fulfils {text} now; those that are started must")
        else:
            yield problem(f"placement_constraints: no instance fulfils {text}", f"{mend}, or start such instances")
