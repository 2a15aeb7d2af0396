"""Which image is taken of those that a task accepts, and from where it is pulled."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_wdl_ecs.ecs.images import credentials_of, usable_image
from airflow_wdl_ecs.ecs.settings import EcsSettings
from airflow_wdl_ecs.errors import EvaluationError

SETTINGS = EcsSettings()
DIGEST = "@sha256:" + "0a" * 32
ECR = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"


@pytest.mark.parametrize(
    "name",
    [
        "ubuntu",
        "ubuntu:24.04",
        f"ubuntu{DIGEST}",
        f"quay.io/biocontainers/bwa:0.7.17--h5bf99c6_8{DIGEST}",
        f"{ECR}/team/tools:v1.2_x",
        "localhost:5000/a/b",
        "registry:5000/a",
        "us.gcr.io/broad-gotc-prod/samtools:1.0.0-1.11-1624651616",
        "a__b/c.d-e:T",
    ],
)
def test_names_of_images_are_taken_as_they_are(name):
    assert usable_image([name], SETTINGS) == name


def test_the_first_image_that_a_registry_can_have_is_taken():
    assert usable_image(["library://x/y", "/data/x.sif", "ubuntu:24.04", "debian"], SETTINGS) == "ubuntu:24.04"
    assert usable_image([], replace(SETTINGS, image="debian:12")) == "debian:12"


@pytest.mark.parametrize(
    "names",
    [["library://x/y"], ["Ubuntu"], ["ubuntu:"], ["ubuntu@sha256:12"], ["a b"], ["x;y"], ["ubuntu\n"], ["https://x/y"]],
)
def test_what_ecs_cannot_pull_is_said_before_it_is_asked(names):
    with pytest.raises(EvaluationError, match="not an image that ECS can pull") as caught:
        usable_image(names, SETTINGS)
    assert names[0] in caught.value.message
    assert "ubuntu:24.04" in caught.value.hint


def test_no_image_at_all():
    with pytest.raises(EvaluationError, match="names no container image"):
        usable_image([], SETTINGS)


@pytest.mark.parametrize(
    ("name", "pulled"),
    [
        ("ubuntu:24.04", f"{ECR}/docker-hub/library/ubuntu:24.04"),
        ("docker.io/ubuntu", f"{ECR}/docker-hub/library/ubuntu"),
        ("index.docker.io/biocontainers/bwa:1", f"{ECR}/docker-hub/biocontainers/bwa:1"),
        (f"staphb/samtools:1{DIGEST}", f"{ECR}/docker-hub/staphb/samtools:1{DIGEST}"),
        ("quay.io/biocontainers/bwa:1", f"{ECR}/quay/biocontainers/bwa:1"),
        ("ghcr.io/a/b:1", "ghcr.io/a/b:1"),
        (f"{ECR}/own:1", f"{ECR}/own:1"),
    ],
)
def test_a_registry_may_have_a_mirror(name, pulled):
    mirrors = {"docker.io": f"{ECR}/docker-hub", "quay.io": f"{ECR}/quay/"}
    assert usable_image([name], replace(SETTINGS, image_mirrors=mirrors)) == pulled


def test_credentials_are_those_of_the_registry():
    settings = replace(SETTINGS, registry_credentials={"docker.io": "arn:hub", "registry.example.org:5000": "pull"})
    assert credentials_of("ubuntu", settings) == "arn:hub"
    assert credentials_of("team/private:1", settings) == "arn:hub"
    assert credentials_of("registry.example.org:5000/a:1", settings) == "pull"
    assert credentials_of("registry.example.org/a:1", settings) is None
    assert credentials_of(f"{ECR}/a:1", settings) is None
