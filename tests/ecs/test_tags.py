"""Tags: what ECS takes, what this package keeps for itself, and who has the last word."""

from __future__ import annotations

import pytest

from airflow_wdl_ecs.ecs.settings import EcsSettings
from airflow_wdl_ecs.ecs.tags import identity_tags, problems_of
from airflow_wdl_ecs.errors import SettingsError
from airflow_wdl_ecs.task import CallIdentity


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"team": "genomics"}, ""),
        ({"k" * 128: "v" * 256}, ""),
        ({"Projekt Ä/1": "a+b-c=d.e_f:g/h@i"}, ""),
        ({"empty": ""}, ""),
        ({f"k{number}": "" for number in range(46)}, ""),
        ({f"k{number}": "" for number in range(47)}, "there are 47 tags, and a task takes 46 beside the 4"),
        ({"k" * 129: ""}, "its key has 129 characters, and a key has 128 at most"),
        ({"team": "v" * 257}, "tag 'team': its value has 257 characters, and a value has 256 at most"),
        ({"team": "R&D"}, "tag 'team': its value has '&'; permitted are letters, digits, spaces"),
        ({"a,b": ""}, "tag 'a,b': its key has ','"),
        ({"team": "a\nb"}, "its value has '\\n'"),
        ({" ": "x"}, "a tag has no key"),
        ({"AWS:owner": "me"}, "its key begins with aws:"),
        ({"owner": "aws:me"}, "its value begins with aws:"),
        ({"wdl:run": "another"}, "keys that begin with wdl: are this package's own"),
        ({"WDL:Run": "another"}, "keys that begin with wdl: are this package's own"),
        ({"AmazonECSManaged": "x"}, "ECS gives this tag to EBS volumes itself"),
    ],
)
def test_what_ecs_does_not_take_is_refused_and_not_changed(tags: dict[str, str], said: str) -> None:
    found = list(problems_of(tags))
    assert len(found) == bool(said), found
    assert said in "\n".join(found)


def test_every_wrong_tag_is_named() -> None:
    assert len(list(problems_of({"a": "&", "b": "&", "c": "fine"}))) == 2


def test_what_this_package_says_of_a_task_is_made_to_fit() -> None:
    tags = identity_tags(CallIdentity("d", "manual__2026-01-01T00:00:00+00:00", "c" * 300, (0, 3)))
    assert tags == {
        "wdl:dag": "d",
        "wdl:run": "manual__2026-01-01T00:00:00+00:00",
        "wdl:call": "c" * 256,
        "wdl:shard": "0.3",
    }
    odd = identity_tags(CallIdentity("d", "AWS:a|b", "c"))
    assert (odd["wdl:run"], odd["wdl:shard"]) == ("AWS_a_b", "-")
    assert list(problems_of({name.replace(":", "_"): value for name, value in odd.items()})) == []


def test_a_dags_tags_are_laid_over_the_deployments_one_by_one() -> None:
    settings = EcsSettings.from_options({"tags": "team=a, cost-centre=42"}, {"tags": {"team": "b", "project": "p"}})
    assert settings.tags == {"team": "b", "cost-centre": "42", "project": "p"}
    assert EcsSettings.from_json(settings.to_json()).tags == settings.tags
    assert EcsSettings.from_options({"gpu_types": "a=b"}, {"gpu_types": {"c": "d"}}).gpu_types == {"c": "d"}


def test_a_deployment_with_a_wrong_tag_is_told_so_before_anything_runs() -> None:
    with pytest.raises(SettingsError) as error:
        EcsSettings(tags={"wdl:run": "x", "team": "R&D"}).check()
    said = str(error.value)
    assert "tags: tag 'wdl:run': keys that begin with wdl: are this package's own; set [wdl_ecs] tags" in said
    assert "tags: tag 'team': its value has '&'" in said
