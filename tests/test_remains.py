"""What an attempt has left in S3, and whether it is whole."""

from __future__ import annotations

from airflow_wdl_ecs.layout import Layout
from airflow_wdl_ecs.remains import last_words, result_of, staging_log, what_is_not_whole
from airflow_wdl_ecs.storage import RunStore
from airflow_wdl_ecs.task import OutputFile, TaskResult

from .fake_aws import FakeS3

LAYOUT = Layout("s3://b/ws", "d", "r")
PREFIX = LAYOUT.attempt("c", (), 0)


def stored(objects: dict[str, bytes]) -> tuple[FakeS3, RunStore]:
    s3 = FakeS3()
    key = PREFIX.removeprefix("s3://b/")
    for name, data in objects.items():
        s3.put_object(Bucket="b", Key=f"{key}{name}", Body=data)
    s3.calls.clear()
    return s3, RunStore(s3, LAYOUT)


def result(files: dict[str, int], stdout: int = 0, stderr: int = 0) -> TaskResult:
    return TaskResult(0, tuple(OutputFile(*item) for item in files.items()), stdout_size=stdout, stderr_size=stderr)


def test_what_is_whole_costs_one_list_however_many_files_there_are():
    files = {f"a/{n}": b"x" * n for n in range(300)}
    s3, store = stored({**{f"work/{name}": data for name, data in files.items()}, "stdout": b"12"})
    assert what_is_not_whole(store, PREFIX, result({name: len(data) for name, data in files.items()}, stdout=2)) == ""
    assert [name for name, _ in s3.calls] == ["list"]


def test_a_few_are_asked_for_one_by_one():
    s3, store = stored({"work/a": b"x", "stdout": b"12"})
    assert what_is_not_whole(store, PREFIX, result({"a": 1}, stdout=3)) == f"{PREFIX}stdout has 2 of 3 bytes"
    assert [name for name, _ in s3.calls] == ["head", "head"]


def test_what_left_nothing_costs_nothing():
    s3, store = stored({})
    assert what_is_not_whole(store, PREFIX, result({})) == ""
    assert s3.calls == []


def test_what_is_missing_or_of_another_size_is_named():
    _, store = stored({"work/short": b"12", "work/long": b"1234567", "work/ok": b"", "stderr": b"1"})
    said = what_is_not_whole(store, PREFIX, result({"short": 5, "long": 5, "ok": 0, "none": 1}, stdout=3, stderr=1))
    assert said.split("; ") == [
        f"{PREFIX}work/short has 2 of 5 bytes",
        f"{PREFIX}work/long has 7 of 5 bytes",
        f"{PREFIX}work/none is missing",
        f"{PREFIX}stdout is missing",
    ]
    said = what_is_not_whole(store, PREFIX, result({f"n{n}": 1 for n in range(9)}))
    assert said.count("is missing") == 5
    assert said.endswith(", and 4 more")


def test_a_name_that_is_no_utf8_is_not_looked_for():
    _, store = stored({})
    assert what_is_not_whole(store, PREFIX, result({"caf\ufffd": 5})) == ""


def test_a_result_that_cannot_be_read_is_none():
    for data in (b"", b"[]", b'{"exit_code": "x"}', b'{"exit_code": 0'):
        _, store = stored({"result.json": data})
        assert result_of(store, PREFIX) is None
    assert result_of(stored({})[1], PREFIX) is None
    _, store = stored({"result.json": b'{"exit_code": 3, "problems": ["caf\xe9"], "times": {"command_started": 1.5}}'})
    found = result_of(store, PREFIX)
    assert found is not None
    assert (found.exit_code, found.problems, found.times) == (3, ("caf\ufffd",), {"command_started": 1.5})


def test_last_words():
    _, store = stored({"stderr": b"one\ntwo\nthr\xff", "stage-in.log": b"fatal\n"})
    assert last_words(store, PREFIX, 2) == ["two", "thr\ufffd"]
    assert staging_log(store, PREFIX) == "fatal"
    assert last_words(stored({})[1], PREFIX, 2) == []
