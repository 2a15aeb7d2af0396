"""The embedded AWS listens where only this machine can reach it."""

from __future__ import annotations

import ipaddress

import psutil
import pytest

from airflow_wdl_ecs.local.endpoint import Endpoint

pytestmark = pytest.mark.local


def test_every_socket_that_it_listens_on_is_on_loopback(embedded_aws: Endpoint) -> None:
    server = psutil.Process(embedded_aws.pid)
    listening = [
        connection.laddr
        for process in (server, *server.children(recursive=True))
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert embedded_aws.port in [address.port for address in listening]
    assert all(ipaddress.ip_address(address.ip).is_loopback for address in listening), listening
