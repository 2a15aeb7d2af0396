"""Nobody but this machine can reach what the local Airflow opens."""

from __future__ import annotations

import ipaddress

import psutil
import pytest

from .conftest import CommandLine

pytestmark = pytest.mark.e2e


def test_the_local_airflow_and_its_aws_listen_on_loopback_alone(cli: CommandLine) -> None:
    assert cli("local", "start").status == 0
    processes = [psutil.Process(pid) for pid in cli.processes().values()]
    listening = {
        (child.name(), connection.laddr.ip, connection.laddr.port)
        for process in processes
        for child in (process, *process.children(recursive=True))
        for connection in child.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert len({port for _, _, port in listening}) >= 2, listening  # the API server's, and the embedded AWS's
    assert not [found for found in listening if not ipaddress.ip_address(found[1]).is_loopback]
