"""Writes docs/settings.md from the settings' own table: ``python docs/generate_settings.py``."""

from __future__ import annotations

from pathlib import Path

from airflow_wdl_ecs.ecs.settings import EcsSettings, SettingInfo, describe_settings

PAGE = Path(__file__).with_name("settings.md")

HEAD = """# Settings

Where and how calls run on ECS is said once for an Airflow deployment, in the section `[wdl_ecs]` of its configuration:

    [wdl_ecs]
    cluster = genomics
    workspace = s3://my-bucket/wdl
    log_group = /wdl
    subnets = subnet-0a1b2c3d, subnet-4e5f6a7b
    task_role_arn = arn:aws:iam::123456789012:role/wdl-task
    execution_role_arn = arn:aws:iam::123456789012:role/wdl-execution

or by environment variables of every Airflow process: `AIRFLOW__WDL_ECS__CLUSTER=genomics`. A DAG
may override any of them: `wdl_dag("hello.plan.json", settings=EcsSettings(cluster="other"))`; what `EcsSettings` is not
given stays as the deployment says. `airflow config list --section wdl_ecs --show-values` shows what is in force.

Settings are checked when a run begins, by its `inputs` task: it names everything that is missing or contradictory, and
nothing is started. Credentials are not settings; they come from the Airflow connection (`aws_conn_id`) or from the role
of the machine.

"""


def page() -> str:
    """The whole page."""
    rows = [_row(setting) for setting in describe_settings()]
    required = [name for name in ("cluster", "workspace", "log_group") if name in EcsSettings.__dataclass_fields__]
    foot = (
        f"\nAlways required: {', '.join(f'`{name}`' for name in required)}. "
        "On Fargate also `subnets`, `task_role_arn` and `execution_role_arn`.\n"
    )
    return HEAD + "| setting | type | default | what it is |\n|---|---|---|---|\n" + "\n".join(rows) + "\n" + foot


def _row(setting: SettingInfo) -> str:
    choices = f" One of {', '.join(f'`{choice}`' for choice in setting.choices)}." if setting.choices else ""
    example = f" Example: `{setting.example}`." if setting.example else ""
    default = f"`{setting.default}`" if setting.default else ""
    return f"| `{setting.name}` | {setting.type} | {default} | {setting.help}{choices}{example} |"


if __name__ == "__main__":
    PAGE.write_text(page())
