"""What an image's tag means now, as far as that can be known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from airflow_wdl_ecs.ecs import image_digests
from airflow_wdl_ecs.ecs.image_digests import image_digest

from ..fake_aws import FakeEcs, refusal

DIGEST = f"sha256:{'a' * 64}"
ECR = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/tools/{}"


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_digests, "_known", image_digests.Recent(16))


def asked(image: str, *answers: Any, region: str = "eu-west-1") -> tuple[image_digests.ImageDigest, list[Any]]:
    ecr = FakeEcs(describe_images=list(answers))
    ecr.meta = SimpleNamespace(region_name=region)  # type: ignore[attr-defined]
    return image_digest(image, {"ecr": ecr}.__getitem__), ecr.asked


ANSWER = {"imageDetails": [{"imageDigest": DIGEST}]}


@pytest.mark.parametrize("image", [f"debian@{DIGEST}", f"debian:12@{DIGEST}", ECR.format(f"bwa@{DIGEST}")])
def test_an_image_that_names_its_digest_has_it_without_being_asked_for(image: str) -> None:
    found, calls = asked(image)
    assert (found.digest, calls) == (DIGEST, [])


@pytest.mark.parametrize(("name", "tag"), [("bwa:1.0", "1.0"), ("bwa", "latest"), ("a/b/bwa:x_y", "x_y")])
def test_ecr_says_what_a_tag_means(name: str, tag: str) -> None:
    found, calls = asked(ECR.format(name), ANSWER)
    assert found.digest == DIGEST
    repository = f"tools/{name.partition(':')[0]}"
    wanted = {"registryId": "123456789012", "repositoryName": repository, "imageIds": [{"imageTag": tag}]}
    assert calls == [("describe_images", wanted)]


def test_it_is_believed_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    ecr = FakeEcs(describe_images=[ANSWER, {"imageDetails": [{"imageDigest": "sha256:new"}]}])
    ecr.meta = SimpleNamespace(region_name="eu-west-1")  # type: ignore[attr-defined]
    clients = {"ecr": ecr}.__getitem__
    assert [image_digest(ECR.format("bwa:1"), clients).digest for _ in range(3)] == [DIGEST] * 3
    assert ecr.count("describe_images") == 1
    monkeypatch.setattr(image_digests, "GOOD_FOR", 0.0)
    assert image_digest(ECR.format("bwa:1"), clients).digest == "sha256:new"


def test_what_ecr_does_not_say_is_not_asked_for_more_often(monkeypatch: pytest.MonkeyPatch) -> None:
    ecr = FakeEcs(describe_images=[refusal("AccessDeniedException"), ANSWER])
    ecr.meta = SimpleNamespace(region_name="eu-west-1")  # type: ignore[attr-defined]
    clients = {"ecr": ecr}.__getitem__
    found = [image_digest(ECR.format("bwa:1"), clients) for _ in range(10)]
    assert ecr.count("describe_images") == 1
    assert all(not each.digest and "AWS refused DescribeImages" in each.why_not for each in found)
    monkeypatch.setattr(image_digests, "GOOD_FOR", 0.0)
    assert image_digest(ECR.format("bwa:1"), clients).digest == DIGEST


@pytest.mark.parametrize(
    ("image", "answer", "region", "why"),
    [
        ("debian:12", ANSWER, "eu-west-1", "only those of tags in Amazon ECR"),
        ("public.ecr.aws/debian/debian:12", ANSWER, "eu-west-1", "only those of tags in Amazon ECR"),
        (ECR.format("bwa:1"), ANSWER, "us-east-1", "another region"),
        (ECR.format("bwa:1"), refusal("AccessDeniedException"), "eu-west-1", "AWS refused DescribeImages"),
        (ECR.format("bwa:1"), refusal("ImageNotFoundException"), "eu-west-1", "AWS refused DescribeImages"),
    ],
)
def test_what_is_not_known_says_why(image: str, answer: Any, region: str, why: str) -> None:
    found, _ = asked(image, answer, region=region)
    assert found.digest == ""
    assert why in found.why_not
