"""The provider's metadata, by Airflow's own schema and through Airflow's own eyes."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import textwrap
from importlib.metadata import entry_points
from pathlib import Path

import airflow
import jsonschema

from airflow_wdl_ecs.ecs.settings import describe_settings
from airflow_wdl_ecs.get_provider_info import get_provider_info


def test_the_metadata_is_valid_by_airflows_schema():
    schema = json.loads(Path(airflow.__file__).with_name("provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)


def test_airflow_finds_the_provider_by_its_entry_point():
    (found,) = [point for point in entry_points(group="apache_airflow_provider") if "wdl_ecs" in point.value]
    assert found.load()() == get_provider_info()


def test_every_setting_is_an_option_with_help():
    options = get_provider_info()["config"]["wdl_ecs"]["options"]
    assert list(options) == [setting.name for setting in describe_settings()]
    assert all(option["description"] for option in options.values())


def test_the_modules_that_the_metadata_names_are_there():
    info = get_provider_info()
    kinds = ("operators", "triggers")
    modules = [module for kind in kinds for entry in info[kind] for module in entry["python-modules"]]
    assert modules
    for module in modules:
        importlib.import_module(module)


def test_airflow_reads_the_settings_from_its_configuration(monkeypatch):
    from airflow_wdl_ecs.host import resolve_settings

    monkeypatch.setenv("AIRFLOW__WDL_ECS__CLUSTER", "genomics")
    monkeypatch.setenv("AIRFLOW__WDL_ECS__SUBNETS", "subnet-1, subnet-2")
    settings = resolve_settings({"log_group": "/mine"})
    assert (settings.cluster, settings.subnets, settings.log_group) == ("genomics", ("subnet-1", "subnet-2"), "/mine")
    assert resolve_settings({"cluster": "other"}).cluster == "other"


def test_airflow_knows_the_links():
    from airflow.providers_manager import ProvidersManager

    from airflow_wdl_ecs import links

    named = get_provider_info()["extra-links"]
    assert set(named) <= set(ProvidersManager().extra_links_class_names)
    classes = {getattr(links, name.rpartition(".")[2]) for name in named}
    assert classes == {type(link) for link in (*links.CALL_LINKS, *links.RUN_LINKS)}


def test_the_plugin_is_found_by_its_entry_point_and_in_the_metadata():
    """Airflow loads the plugins that the metadata names only where providers are not discovered lazily."""
    (found,) = [point for point in entry_points(group="airflow.plugins") if "wdl_ecs" in point.value]
    (named,) = get_provider_info()["plugins"]
    module, _, name = named["plugin-class"].rpartition(".")
    assert found.load() is getattr(importlib.import_module(module), name)
    assert found.load().name == named["name"]


def test_the_plugin_imports_nothing_heavy():
    """Every process of Airflow loads it."""
    program = """
        import sys
        import airflow.plugins_manager
        before = set(sys.modules)
        import airflow_wdl_ecs.plugin
        print(sorted(name for name in set(sys.modules) - before if not name.startswith("airflow_wdl_ecs")))
    """
    said = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines()[-1] == "[]"
