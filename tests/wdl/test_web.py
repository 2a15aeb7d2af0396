"""No address of instance metadata is asked, however it is spelt, and wherever it stands."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from airflow_wdl_ecs.errors import AuthorError
from airflow_wdl_ecs.wdl.load import load
from airflow_wdl_ecs.wdl.web import RefusedAddressError, check_address, open_url

SPELT = [
    "http://169.254.169.254/latest/meta-data/",
    "http://169.254.170.2/v2/credentials/x",
    "http://169.254.170.23/v1/credentials",
    "http://2852039166/latest/",
    "http://0xa9fea9fe/latest/",
    "http://0251.0376.0251.0376/latest/",
    "http://169.254.43518/",
    "http://user:password@169.254.169.254/",
    "http://169.254.169.254:80/",
    "https://169.254.169.254/",
    "http://[fd00:ec2::254]/latest/",
    "http://[::ffff:169.254.169.254]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[fe80::1]/",
]


@pytest.fixture(autouse=True)
def no_connection(monkeypatch):
    """A connection to anything but loopback is a failure of the test, not an attempt."""
    real = socket.create_connection

    def connect(address, *args, **kwargs):
        assert address[0] in ("127.0.0.1", "localhost"), f"connected to {address}"
        return real(address, *args, **kwargs)

    monkeypatch.setattr(socket, "create_connection", connect)


@pytest.mark.parametrize("url", SPELT)
def test_instance_metadata_is_refused_however_it_is_spelt(url):
    with pytest.raises(OSError, match="instance metadata") as caught:
        open_url(url, timeout=1)
    assert isinstance(getattr(caught.value, "reason", caught.value), RefusedAddressError)


@pytest.mark.parametrize("url", SPELT)
def test_an_import_from_instance_metadata_is_a_problem_at_its_place(url):
    with pytest.raises(AuthorError, match="instance metadata") as caught:
        load(f'version 1.0\nimport "{url}x.wdl" as x\nworkflow w {{}}\n')
    assert caught.value.problems[0].position.line == 2


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "8.8.8.8", "::1", "2600::1", "fd12::1"])
def test_other_addresses_may_be_asked(address):
    check_address(address)


def test_a_name_that_resolves_to_instance_metadata_is_refused(monkeypatch):
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", 80))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: found)
    with pytest.raises(OSError, match="instance metadata"):
        open_url("http://innocent.example/x.wdl", timeout=1)


class _Redirecting(BaseHTTPRequestHandler):
    target = ""

    def do_GET(self):
        if self.path == "/plain.wdl":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"version 1.0\ntask t { command {} }\n")
        else:
            self.send_response(302)
            self.send_header("Location", type(self).target)
            self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with HTTPServer(("127.0.0.1", 0), _Redirecting) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{found.server_port}"
        found.shutdown()


@pytest.mark.local
@pytest.mark.parametrize("target", [*SPELT[:4], "file:///etc/passwd", "ftp://127.0.0.1/x", "data:text/plain,x"])
def test_a_redirection_leads_nowhere_else(server, target):
    _Redirecting.target = target
    with pytest.raises(OSError, match=r"instance metadata|only http|HTTP Error 302|not allowed") as caught:
        open_url(f"{server}/redirected.wdl", timeout=5)
    assert "root:" not in str(caught.value)


@pytest.mark.local
def test_what_is_on_the_web_is_read(server):
    _Redirecting.target = f"{server}/plain.wdl"
    assert [task.name for task in load(f"{server}/redirected.wdl").tasks] == ["t"]


def test_a_document_of_the_web_imports_no_local_file(tmp_path):
    (tmp_path / "secret").write_text("secret")
    asked = []

    def read(location: str) -> str:
        asked.append(location)
        if location == "https://h/a.wdl":
            imports = f'import "file://{tmp_path}/secret" as x\nimport "{tmp_path}/secret" as y\n'
            return f"version 1.0\n{imports}workflow w {{}}\n"
        raise OSError("not there")

    with pytest.raises(AuthorError):
        load("https://h/a.wdl", read=read)
    assert all(location.startswith("https://h/") for location in asked)
    assert Path(tmp_path / "secret").exists()
