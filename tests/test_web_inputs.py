"""Files of the web in a run's folder: once, whole, and from where everybody may read; S3 and the web are made up."""

from __future__ import annotations

import io
import ssl
import threading
import urllib.error
from collections.abc import Iterator
from dataclasses import replace
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from airflow_wdl_ecs import web_inputs
from airflow_wdl_ecs.errors import InputsError, WdlEcsError
from airflow_wdl_ecs.layout import Layout
from airflow_wdl_ecs.local.endpoint import Endpoint
from airflow_wdl_ecs.run import begin_run
from airflow_wdl_ecs.storage import RunStore
from airflow_wdl_ecs.wdl.lower import compile_wdl
from airflow_wdl_ecs.wdl.web import MustBePublic, shown
from airflow_wdl_ecs.web_inputs import COPIES, copied

from .direct import DirectRunner
from .ecs.test_settings import COMPLETE
from .fake_aws import FakeS3
from .test_run import clients as clients  # noqa: PLC0414 - a fixture

FOLDER = "s3://b/wdl/runs/d/r/web/"


class Web:
    """URL -> contents; a connection breaks off after as many bytes as ``breaks`` says, one after the other."""

    def __init__(self) -> None:
        self.files: dict[str, bytes | Exception] = {}
        self.breaks: list[int] = []
        self.etag = '"1"'
        self.resumable = True
        self.asked: list[tuple[str, str | None, bool]] = []

    def open(self, url: str, *, timeout: float, public: MustBePublic, headers: dict[str, str]) -> Any:
        self.asked.append((url, headers.get("Range"), public(url)))
        found = self.files.get(url, urllib.error.HTTPError(url, 404, "Not Found", Message(), None))
        if isinstance(found, Exception):
            raise found
        start = int(headers["Range"][6:-1]) if "Range" in headers and self.resumable else 0
        told = Message()
        told["Content-Length"] = str(len(found) - start)
        if self.etag:
            told["ETag"] = self.etag
        end = start + self.breaks.pop(0) if self.breaks else len(found)
        answer: Any = io.BytesIO(found[start:end])
        answer.headers, answer.status = told, 206 if start else 200
        return answer


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Web:
    web = Web()
    monkeypatch.setattr(web_inputs, "open_url", web.open)
    monkeypatch.setattr(web_inputs.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(web_inputs, "PART", 1000)
    return web


@pytest.fixture
def s3() -> FakeS3:
    return FakeS3()


@pytest.fixture
def store(s3: FakeS3) -> RunStore:
    return RunStore(s3, Layout("s3://b/wdl", "d", "r"))


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 12_345])
def test_a_file_arrives_whole_whatever_its_size(web: Web, s3: FakeS3, store: RunStore, size: int) -> None:
    data = web.files["https://h/d/reads%20one.fq"] = bytes(number % 251 for number in range(size))
    where = copied(s3, store, ["https://h/d/reads%20one.fq"])
    uri = where["https://h/d/reads%20one.fq"]
    assert uri.startswith(FOLDER)
    assert uri.endswith("/reads one.fq")
    assert store.get(uri) == data
    assert {upload["state"] for upload in s3.uploads.values()} <= {"complete"}


def test_a_file_is_fetched_once_in_a_run(web: Web, s3: FakeS3, store: RunStore) -> None:
    web.files["https://h/x"] = b"x" * 10
    first = copied(s3, store, ["https://h/x", "https://h/x"])
    web.files["https://h/x"] = b"y" * 10
    assert copied(s3, store, ["https://h/x"]) == first
    assert [url for url, *_ in web.asked] == ["https://h/x"]
    store.delete(first["https://h/x"])
    copied(s3, RunStore(s3, store.layout), ["https://h/x"])
    assert store.get(first["https://h/x"]) == b"y" * 10


def test_files_of_one_folder_stand_side_by_side_and_others_apart(web: Web, s3: FakeS3, store: RunStore) -> None:
    urls = [
        "https://h/d/x.bam",
        "https://h/d/x.bam.bai",
        "https://h/e/x.bam",
        "http://h/d/x.bam",
        "https://h/d/x.bam?v=2",
    ]
    web.files.update(dict.fromkeys(urls, b""))
    where = copied(s3, store, urls)
    folders = [where[url].rpartition("/")[0] for url in urls]
    assert folders[0] == folders[1]
    assert len(set(folders)) == 4


def test_signed_files_of_one_folder_stand_side_by_side_and_those_of_one_name_apart(
    web: Web, s3: FakeS3, store: RunStore
) -> None:
    bam, index = "https://h/d/x.bam?X-Amz-Signature=1", "https://h/d/x.bam.bai?X-Amz-Signature=2"
    first, second = "https://h/get?file=1", "https://h/get?file=2"
    web.files.update({bam: b"bam", index: b"index", first: b"1", second: b"2"})
    where = copied(s3, store, [bam, index, first, second])
    assert where[bam].rpartition("/")[0] == where[index].rpartition("/")[0]
    assert where[bam].endswith("/x.bam")
    assert [store.get(where[url]) for url in (bam, index, first, second)] == [b"bam", b"index", b"1", b"2"]
    web.asked.clear()
    assert copied(s3, store, [second, first, index, bam]) == where
    assert web.asked == []


def test_a_file_that_another_query_names_is_another_file(web: Web, s3: FakeS3, store: RunStore) -> None:
    web.files = {"https://h/x?v=1": b"1", "https://h/x?v=2": b"2"}
    first, second = (copied(s3, store, [url])[url] for url in web.files)
    assert first != second, "whoever has been given the first must not get the second"


def test_what_breaks_off_goes_on_where_it_was(web: Web, s3: FakeS3, store: RunStore) -> None:
    data = web.files["https://h/x"] = bytes(number % 251 for number in range(5000))
    web.breaks = [1500, 0, 2000]
    uri = copied(s3, store, ["https://h/x"])["https://h/x"]
    assert store.get(uri) == data
    assert [range_ for _, range_, _ in web.asked] == [None, "bytes=1500-", "bytes=1500-", "bytes=3500-"]


@pytest.mark.parametrize(
    ("etag", "resumable", "said"),
    [("", True, "cannot go on where it was"), ('W/"1"', True, "cannot go on"), ('"1"', False, "has changed")],
)
def test_what_cannot_go_on_fails_and_leaves_no_parts(
    web: Web, s3: FakeS3, store: RunStore, etag: str, resumable: bool, said: str
) -> None:
    web.files["https://h/x"] = b"x" * 5000
    web.breaks, web.etag, web.resumable = [1500], etag, resumable
    with pytest.raises(WdlEcsError, match=said) as caught:
        copied(s3, store, ["https://h/x"])
    assert not isinstance(caught.value, InputsError)
    assert [upload["state"] for upload in s3.uploads.values()] == ["aborted"]
    assert not any(key.endswith("/x") for _, key in s3.objects)


def test_what_hinders_the_cleaning_up_does_not_hide_why_it_failed(web: Web, s3: FakeS3, store: RunStore) -> None:
    web.files["https://h/x"] = b"x" * 5000
    web.breaks, web.resumable = [1500], False
    s3.refuse = lambda operation, arguments: "AccessDenied" if operation == "abort_multipart_upload" else None
    with pytest.raises(WdlEcsError, match="the file has changed while it was read"):
        copied(s3, store, ["https://h/x"])


def test_throttling_fails_no_copy(web: Web, s3: FakeS3, store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_wdl_ecs.aws.time.sleep", lambda seconds: None)
    web.files["https://h/x"] = b"x" * 5000
    refused = iter(["SlowDown", "SlowDown"])
    s3.refuse = lambda operation, arguments: next(refused, None) if operation == "create_multipart_upload" else None
    assert store.size(copied(s3, store, ["https://h/x"])["https://h/x"]) == 5000


def test_a_server_that_is_down_is_asked_again_and_then_given_up(web: Web, s3: FakeS3, store: RunStore) -> None:
    web.files["https://h/x"] = urllib.error.HTTPError("https://h/x", 503, "Slow down", Message(), None)
    with pytest.raises(WdlEcsError, match="503") as caught:
        copied(s3, store, ["https://h/x"])
    assert not isinstance(caught.value, InputsError)
    assert len(web.asked) == web_inputs.TRIES


def test_everything_that_cannot_be_fetched_is_said_at_once_and_what_came_is_kept(
    web: Web, s3: FakeS3, store: RunStore
) -> None:
    web.files["https://h/fine"] = b"x"
    untrusted = ssl.SSLCertVerificationError("certificate verify failed: self-signed certificate")
    web.files["https://h/tls"] = urllib.error.URLError(untrusted)
    with pytest.raises(InputsError) as caught:
        copied(s3, store, ["https://h/fine", "https://h/no?key=s3cret", "https://h/tls"])
    text = str(caught.value)
    assert "cannot fetch https://h/no?...: HTTP Error 404: Not Found" in text
    assert "cannot fetch https://h/tls" in text
    assert "self-signed" in text
    assert "s3cret" not in text
    web.asked.clear()
    copied(s3, store, ["https://h/fine"])
    assert web.asked == []


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://h/", "no URL of a file"),
        ("https:///x", "no URL of a file"),
        ("https://h/d/..", "no URL of a file"),
        ("https://h/a%2Fb", "no URL of a file"),
        ("https://h/a%0Ab", "no URL of a file"),
        (f"https://h/{'x' * 256}", "longer than 255 bytes"),
        ("https://me:s3cret@h/x", "password"),
        ("https://[me:s3cret@h/x", "no URL of a file"),
    ],
)
def test_what_is_no_file_is_refused_before_anything_is_asked(
    web: Web, s3: FakeS3, store: RunStore, url: str, said: str
) -> None:
    with pytest.raises(InputsError, match=said) as caught:
        copied(s3, store, [url])
    assert "s3cret" not in str(caught.value)
    assert web.asked == []


def test_what_gives_access_is_neither_shown_nor_recorded(web: Web, s3: FakeS3, store: RunStore) -> None:
    url = "https://h/x?X-Amz-Signature=s3cret"
    web.files[url] = b"x"
    copied(s3, store, [url])
    assert b"s3cret" not in (store.get(store.layout.named(COPIES)) or b"")
    assert shown(url) == "https://h/x?..."
    assert shown("https://me:s3cret@h/x") == "https://h/x"
    assert shown("HTTPS://h/x?X-Amz-Signature=s3cret") == "https://h/x?..."
    assert shown("s3://bucket/a#b?c") == "s3://bucket/a#b?c"
    assert shown("/data/a?b") == "/data/a?b"


# --- the beginning of a run

WORKFLOW = """version 1.2
workflow w {
  input { File a  Array[File] more = ["https://h/default.txt"]  Directory? d  File? own = "s3://in/own" }
  call t { input: f = a, more = more }
  output { String text = t.text }
}
task t {
  input { File f  Array[File] more  File list = "https://h/list.txt" }
  command <<< cat '~{f}' ~{sep=" " more} '~{list}'; echo ~{basename(f)} >>>
  output { String text = read_string(stdout()) }
}
"""


def test_a_run_has_copies_of_its_inputs_and_of_the_defaults_that_it_uses(web: Web, s3: FakeS3, clients: Any) -> None:
    web.files = {f"https://h/{name}": name.encode() for name in ("a.txt", "default.txt", "list.txt")}
    given = {"a": "https://h/a.txt"}
    run = begin_run(COMPLETE, clients, compile_wdl(WORKFLOW), given, dag_id="d", run_id="r")
    uris = [run.inputs["a"], *run.inputs["more"], run.inputs["t.list"]]
    assert [run.store.read(uri) for uri in uris] == [b"a.txt", b"default.txt", b"list.txt"]
    assert "own" not in run.inputs
    assert {public for *_, public in web.asked} == {True}
    again = begin_run(COMPLETE, clients, compile_wdl(WORKFLOW), given, dag_id="d", run_id="r")
    assert (again.inputs, len(web.asked)) == (run.inputs, 3)


def test_a_directory_is_not_on_the_web(web: Web, clients: Any) -> None:
    with pytest.raises(InputsError, match="a Directory cannot be fetched from the web: https://h/d"):
        begin_run(
            COMPLETE, clients, compile_wdl(WORKFLOW), {"a": "https://h/a", "d": "https://h/d/"}, dag_id="d", run_id="r"
        )
    assert web.asked == []


def test_prefixes_say_what_may_be_fetched_and_what_need_not_be_public(web: Web, clients: Any) -> None:
    settings = replace(COMPLETE, input_prefixes=("https://h/data/", "http://intern"))
    plan = compile_wdl(WORKFLOW)
    with pytest.raises(InputsError, match=r"may not take files from there: https://h/a\.txt"):
        begin_run(settings, clients, plan, {"a": "https://h/a.txt", "more": [], "t.list": None}, dag_id="d", run_id="r")
    web.files = {"https://h/data/a.txt": b"", "http://intern/l": b""}
    given = {"a": "https://h/data/a.txt", "more": [], "t.list": "http://intern/l"}
    begin_run(settings, clients, plan, given, dag_id="d", run_id="r")
    assert {public for *_, public in web.asked} == {False}
    web.asked.clear()
    web.files["https://elsewhere/a"] = b""
    settings = replace(settings, input_prefixes=("https://", "http://intern"))
    given = {"a": "https://elsewhere/a", "more": [], "t.list": "http://intern/l"}
    begin_run(settings, clients, plan, given, dag_id="d", run_id="r2")
    assert {url: public for url, _, public in web.asked} == {"https://elsewhere/a": True, "http://intern/l": False}


@pytest.mark.parametrize(
    ("uri", "prefixes", "said"),
    [
        (
            "https://me:s3cret@h/x.fa?X-Amz-Signature=s3cret",
            ("s3://in/",),
            "may not take files from there: https://h/x",
        ),
        ("ftp://me:s3cret@h/x.fa", (), "not an s3:// URI of a file: ftp://h/x.fa"),
        ("HTTPS://h/x?sig=s3cret", (), "not an s3:// URI of a file: https://h/x"),
    ],
)
def test_no_secret_of_a_url_that_is_refused_is_shown(clients: Any, uri: str, prefixes: Any, said: str) -> None:
    settings = replace(COMPLETE, input_prefixes=prefixes)
    given = {"a": uri, "more": [], "t.list": None}
    with pytest.raises(InputsError, match=said) as caught:
        begin_run(settings, clients, compile_wdl(WORKFLOW), given, dag_id="d", run_id="r")
    assert "s3cret" not in str(caught.value)


def test_what_no_server_can_be_asked_for_fails_at_once_and_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, s3: FakeS3, store: RunStore
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(web_inputs.time, "sleep", slept.append)
    with pytest.raises(InputsError, match=r"cannot fetch https://8\.8\.8\.8:port/x") as caught:
        copied(s3, store, ["https://8.8.8.8:port/x?key=s3cret"])
    assert "s3cret" not in str(caught.value)
    assert slept == []


class _Server(BaseHTTPRequestHandler):
    elsewhere = ""

    def do_GET(self) -> None:
        if self.path.startswith("/away"):
            self.send_response(302)
            self.send_header("Location", type(self).elsewhere)
            self.end_headers()
            return
        if self.path.startswith("/moved/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/moved"))
            self.end_headers()
            return
        self.send_response(200)
        body = f"{self.path}\n".encode()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{found.server_port}"
        found.shutdown()


@pytest.mark.local
def test_a_url_need_not_be_quoted(server: str, s3: FakeS3, store: RunStore) -> None:
    url = f"{server}/d/é a%20b.txt?q=ü x%2F&z=a/b"
    where = copied(s3, store, [url], named=[f"{server}/"])
    assert where[url].endswith("/é a b.txt")
    assert store.get(where[url]) == b"/d/%C3%A9%20a%20b.txt?q=%C3%BC%20x%2F&z=a/b\n"


@pytest.mark.local
def test_a_redirection_to_what_nobody_has_named_has_to_be_public(
    server: str, s3: FakeS3, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = server.rpartition(":")[2]
    monkeypatch.setattr(_Server, "elsewhere", f"http://localhost:{port}/inner")
    with pytest.raises(InputsError, match="is no public address"):
        copied(s3, store, [f"{server}/away"], named=[f"{server}/"])
    where = copied(s3, store, [f"{server}/away"], named=[f"{server}/", f"http://localhost:{port}"])
    assert store.get(where[f"{server}/away"]) == b"/inner\n"


@pytest.mark.local
async def test_calls_have_the_copies_on_the_embedded_aws(server: str, embedded_aws: Endpoint) -> None:
    plan = compile_wdl(WORKFLOW)
    inputs = {"a": f"{server}/moved/a.txt", "more": [f"{server}/b.txt", f"{server}/c.txt"], "t.list": f"{server}/l"}
    runner = DirectRunner(embedded_aws, input_prefixes=f"{server}/,s3://")
    with pytest.raises(WdlEcsError, match="not an s3:// prefix"):
        begin_run(runner.settings, runner.client, plan, inputs, dag_id="direct", run_id="web")
    with pytest.raises(InputsError, match=r"127\.0\.0\.1 is no public address"):
        begin_run(DirectRunner(embedded_aws).settings, runner.client, plan, inputs, dag_id="direct", run_id="web")
    runner = DirectRunner(embedded_aws, input_prefixes=f"{server}/")
    begin_run(runner.settings, runner.client, plan, inputs, dag_id="direct", run_id="web")
    outputs = await runner.run_begun(plan, "web")
    assert outputs == {"text": "/a.txt\n/b.txt\n/c.txt\n/l\na.txt"}
