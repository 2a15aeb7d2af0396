"""Where a run's outputs are published when it has ended well, and under which names (see ``publishing``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .resource_settings import ResourceSettings
from .setting import setting


@dataclass(frozen=True)
class PublishSettings(ResourceSettings):
    """The part of `settings.EcsSettings` that says where outputs are published."""

    publish_to: str = setting(
        "",
        "text",
        "Where the outputs of a run are published when it has ended well: an S3 prefix, which may have fields such as "
        "{dag_id}, {date}, {run_id} and {input.NAME}; empty to publish nothing.",
        example="s3://lab-results/{dag_id}/{date}/{run_id}/",
    )
    publish_mode: str = setting(
        "copy",
        "text",
        "How: `copy` has S3 copy the files there, `link` writes there only what says where they are, `none` does "
        "nothing.",
        example="link",
        choices=("copy", "link", "none"),
    )
    publish_names: Mapping[str, str] = setting(
        {},
        "pairs",
        "Names below publish_to, by output; `*` is for the outputs that are not named, which is "
        "{output}/{index}/{name} otherwise.",
        example="bam={input.sample}{suffix}, *=other/{output}/{index}/{name}",
    )
    publish_prefixes: tuple[str, ...] = setting(
        (),
        "list",
        "S3 prefixes below which runs may publish; empty for all that Airflow's role may write. Whoever starts a run "
        "may say where it publishes.",
        example="s3://lab-results/, s3://archive/2026/",
    )
