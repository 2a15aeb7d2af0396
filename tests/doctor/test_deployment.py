"""Which checks a deployment has, by its settings."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from airflow_wdl_ecs.doctor import deployment, network
from airflow_wdl_ecs.doctor.deployment import CHECKS, Deployment, deployment_checks
from airflow_wdl_ecs.doctor.findings import Finding, ok
from airflow_wdl_ecs.doctor.trial import Trial
from airflow_wdl_ecs.ecs.settings import EcsSettings

CACHE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/docker-hub"


def no_client(service: str) -> Any:
    raise AssertionError(service)


def checks_of(settings: EcsSettings, **task: Any) -> dict[str, deployment.Check]:
    trial = Trial(settings, no_client, logging.getLogger(__name__), **task)
    return {check.name: check for check in deployment_checks(Deployment(settings, no_client), trial)}


def test_what_only_some_deployments_have_is_looked_at_only_there() -> None:
    assert tuple(checks_of(EcsSettings())) == CHECKS
    found = checks_of(EcsSettings(ebs_role_arn="arn", registry_credentials={"registry.example.org": "pull"}))
    assert set(found) - set(CHECKS) == {"EBS role", "registries"}


def test_the_task_builds_on_the_role_of_volumes_only_if_it_may_have_one() -> None:
    settings = EcsSettings(ebs_role_arn="arn")
    assert "EBS role" not in checks_of(settings)["task"].after
    assert "EBS role" in checks_of(settings, disk=300)["task"].after


@pytest.mark.parametrize(("image", "pulled"), [("", "library/ubuntu:24.04"), ("me/tool:1", "me/tool:1")])
def test_the_network_is_asked_for_images_by_their_mirrors(
    image: str, pulled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def way_out(settings: EcsSettings, clients: Any, images: list[str]) -> list[Finding]:
        asked.extend(images)
        return [ok("")]

    monkeypatch.setattr(network, "way_out", way_out)
    settings = EcsSettings(image="ubuntu:24.04", image_mirrors={"docker.io": CACHE}, staging_image="s/t:1")
    assert list(checks_of(settings, image=image)["network"].look())
    assert asked == ["s/t:1", f"{CACHE}/{pulled}"]
