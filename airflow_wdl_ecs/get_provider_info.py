"""What Airflow learns of this provider when it discovers it: by its own ``provider_info`` schema.

Airflow calls this at every start of every process, so it imports nothing heavy.
"""

from __future__ import annotations

from typing import Any

from . import __version__
from .ecs.settings import SECTION, describe_settings

LINKS = ("EcsTaskLink", "CommandLogLink", "S3FolderLink", "WdlRunLink")


def get_provider_info() -> dict[str, Any]:
    """The provider's metadata (airflow/provider_info.schema.json)."""
    return {
        "package-name": "airflow-wdl-ecs",
        "name": "WDL on Amazon ECS",
        "description": "Run WDL (Workflow Description Language) workflows on Amazon ECS.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": "WDL on Amazon ECS",
                "external-doc-url": "https://openwdl.org/",
                "tags": ["service"],
            }
        ],
        "operators": [
            {
                "integration-name": "WDL on Amazon ECS",
                "python-modules": ["airflow_wdl_ecs.operators", "airflow_wdl_ecs.workflow_operators"],
            },
        ],
        "triggers": [
            {"integration-name": "WDL on Amazon ECS", "python-modules": ["airflow_wdl_ecs.triggers"]},
        ],
        "extra-links": [f"airflow_wdl_ecs.links.{name}" for name in LINKS],
        "plugins": [{"name": "wdl_runs", "plugin-class": "airflow_wdl_ecs.plugin.WdlRunsPlugin"}],
        "cli": ["airflow_wdl_ecs.cli.airflow_commands"],
        "config": {
            SECTION: {
                "description": "Where and how the calls of WDL workflows run on Amazon ECS.",
                "options": {
                    setting.name: {
                        "description": setting.help,
                        "version_added": "0.1.0",
                        "type": setting.type,
                        "example": setting.example,
                        "default": setting.default,
                    }
                    for setting in describe_settings()
                },
            }
        },
    }
