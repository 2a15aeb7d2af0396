"""What a run publishes, where, and what of it is written; S3 is a dictionary."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest

from airflow_wdl_ecs import publishing
from airflow_wdl_ecs.ecs.settings import EcsSettings
from airflow_wdl_ecs.errors import AwsError, EvaluationError, SettingsError
from airflow_wdl_ecs.publishing import check_bucket, publication_of, publish
from airflow_wdl_ecs.run import begin_run
from airflow_wdl_ecs.sensitive import DiscreetLog
from airflow_wdl_ecs.wdl.lower import compile_wdl

from .direct import LOG
from .ecs.test_settings import COMPLETE
from .fake_aws import FakeS3

PLAN = compile_wdl("""
version development
workflow w {
  input { String sample  String? api_token  File? panel }
  output {
    File bam = "x"
    Array[File] reads = []
    Directory folder = "y"
    File? maybe = panel
    String note = "n"
  }
}
""")
FOLDER = "wdl/runs/d/r"
OUTPUTS = {
    "bam": f"s3://b/{FOLDER}/calls/t/_/0/work/x.bam",
    "reads": [f"s3://b/{FOLDER}/calls/t/0/0/work/r.fq", f"s3://b/{FOLDER}/calls/t/1/0/work/r.fq"],
    "folder": f"s3://b/{FOLDER}/calls/t/_/0/work/dir",
    "maybe": "s3://in/panel.bed",
    "note": "n",
}
FILES = {
    f"{FOLDER}/calls/t/_/0/work/x.bam": b"bam",
    f"{FOLDER}/calls/t/0/0/work/r.fq": b"0",
    f"{FOLDER}/calls/t/1/0/work/r.fq": b"1",
    f"{FOLDER}/calls/t/_/0/work/dir/a": b"a",
    f"{FOLDER}/calls/t/_/0/work/dir/b/c": b"c",
}
MOMENT = datetime(2026, 11, 25, 23, 30, 5, tzinfo=timezone(timedelta(hours=-2)))
LOGGED = DiscreetLog(LOG, ())


@pytest.fixture
def s3():
    found = FakeS3()
    found.put_object(Bucket="in", Key="panel.bed", Body=b"panel")
    found.put_object(Bucket="in", Key="other.bed", Body=b"other")
    for key, body in FILES.items():
        found.put_object(Bucket="b", Key=key, Body=body)
    return found


def begun(s3, inputs=None, scope=None, **settings):
    ecs = SimpleNamespace(meta=SimpleNamespace(region_name="eu-west-1", endpoint_url="http://127.0.0.1"))
    given = EcsSettings.from_options({}, {**COMPLETE.to_json(), **settings})
    inputs = {"sample": "NA1", "panel": "s3://in/panel.bed", **(inputs or {})}
    return begin_run(given, {"s3": s3, "ecs": ecs}.__getitem__, PLAN, inputs, dag_id="d", run_id="r", scope=scope)


def published(s3, outputs=OUTPUTS, inputs=None, **settings):
    run = begun(s3, inputs, **settings)
    publication = publication_of(run, MOMENT)
    assert publication is not None
    return publish(run, publication, outputs, LOGGED)


def written(s3, name, bucket="lab"):
    return json.loads(s3.objects[bucket, name])


def test_a_run_publishes_nothing_unless_it_is_said_where(s3):
    assert publication_of(begun(s3), MOMENT) is None
    assert publication_of(begun(s3, publish_to="s3://lab/", publish_mode="none"), MOMENT) is None


def test_the_folder_is_of_the_run_and_its_date_is_in_utc(s3):
    to = "s3://lab/{workflow}/{group}/{dag_id}/{input.sample}/{date}/{year}-{month}-{day}_{time}/{run_id}"
    found = publication_of(begun(s3, publish_to=to), MOMENT)
    assert found.folder == "s3://lab/w/d/NA1/2026-11-26/2026-11-26_013005/r/"
    assert publication_of(begun(s3, publish_to="s3://lab"), MOMENT).folder == "s3://lab/"


def test_each_task_group_of_a_dag_run_has_a_folder_of_its_own(s3):
    def folder(scope, to):
        return publication_of(begun(s3, scope=scope, publish_to=to), MOMENT).folder

    assert folder("tumor", "s3://lab/{run_id}/") == "s3://lab/r/tumor/"
    assert folder("normal", "s3://lab") == "s3://lab/normal/"
    assert folder("tumor", "s3://lab/{group}/{run_id}") == "s3://lab/tumor/r/"


@pytest.mark.parametrize("mode", ["copy", "link"])
def test_a_file_on_a_shared_file_system_stays_where_it_is(s3, mode):
    mounts = {"/refs": "efs://fs-0a1b2c3d"}
    outputs = {**OUTPUTS, "bam": "/refs/x.bam", "folder": "/refs/d", "reads": [OUTPUTS["reads"][0], "/refs/r.fq"]}
    found = published(s3, outputs, mounts=mounts, publish_to="s3://lab/", publish_mode=mode)
    assert found.files == 2
    told = written(s3, "outputs.json")
    assert (told["w.bam"], told["w.folder"], told["w.reads"][1]) == ("/refs/x.bam", "/refs/d", "/refs/r.fq")
    assert "/refs/" not in s3.objects["lab", "manifest.json"].decode()
    with pytest.raises(EvaluationError, match="output bam: this run may not read /etc/passwd"):
        published(s3, {**OUTPUTS, "bam": "/etc/passwd"}, mounts=mounts, publish_to="s3://lab/", publish_mode=mode)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"publish_to": "/data/results"}, "s3://BUCKET/PREFIX/"),
        ({"publish_to": "s3://"}, "s3://BUCKET/PREFIX/"),
        ({"publish_to": "s3://{input.sample}/x"}, "the bucket cannot have fields"),
        ({"publish_to": "s3://lab/../x"}, "cannot have . or .."),
        ({"publish_to": "s3://lab/{dag}"}, "there is no field {dag}; there are {dag_id}, {run_id}"),
        ({"publish_to": "s3://lab/{name}"}, "there is no field {name}"),
        ({"publish_to": "s3://lab/{input.api_token}"}, "and no secret"),
        ({"publish_to": "s3://b/wdl/"}, "which is in the workspace s3://b/wdl/"),
        (
            {"publish_to": "s3://lab/x", "publish_prefixes": "s3://lab/y/, s3://lab/x1"},
            "may not publish to s3://lab/x/",
        ),
        ({"publish_to": "s3://lab/", "publish_names": {"bma": "x"}}, "w has no output bma; bam?"),
    ],
)
def test_what_is_wrong_is_told_before_anything_runs(s3, settings, said):
    run = begun(s3, {"api_token": "hunter22"}, **settings)
    with pytest.raises(SettingsError) as caught:
        publication_of(run, MOMENT)
    assert said in str(caught.value)
    assert "hunter22" not in str(caught.value)


def test_where_runs_may_publish_is_for_the_deployment_to_say(s3):
    run = begun(s3, publish_to="s3://lab/x/{run_id}", publish_prefixes="s3://lab/x")
    assert publication_of(run, MOMENT).folder == "s3://lab/x/r/"


def test_a_bucket_that_is_not_there_is_told_at_the_beginning_and_one_may_write_without_looking(s3):
    run = begun(s3, publish_to="s3://missing/x")
    with pytest.raises(SettingsError, match="make the bucket missing, or change publish_to"):
        check_bucket(run, publication_of(run, MOMENT))
    run = begun(s3, publish_to="s3://forbidden/x")
    check_bucket(run, publication_of(run, MOMENT))


def test_files_are_copied_and_outputs_json_comes_last(s3):
    found = published(s3, publish_to="s3://lab/{run_id}/", publish_names={"bam": "{input.sample}{suffix}"})
    assert (found.files, found.size) == (6, 3 + 1 + 1 + 1 + 1 + 5)
    there = {key: body for (bucket, key), body in s3.objects.items() if bucket == "lab"}
    assert {key: body for key, body in there.items() if not key.endswith((".json", ".txt"))} == {
        "r/NA1.bam": b"bam",
        "r/reads/0/r.fq": b"0",
        "r/reads/1/r.fq": b"1",
        "r/folder/dir/a": b"a",
        "r/folder/dir/b/c": b"c",
        "r/maybe/panel.bed": b"panel",
    }
    assert written(s3, "r/outputs.json") == {
        "w.bam": "s3://lab/r/NA1.bam",
        "w.reads": ["s3://lab/r/reads/0/r.fq", "s3://lab/r/reads/1/r.fq"],
        "w.folder": "s3://lab/r/folder/dir",
        "w.maybe": "s3://lab/r/maybe/panel.bed",
        "w.note": "n",
    }
    puts = [key for operation, key in s3.calls if operation == "put"]
    of_run = [f"{FOLDER}/publishing.json", f"{FOLDER}/published.json"]
    assert puts[-5:] == ["r/manifest.json", "r/checksums.txt", "r/outputs.json", *of_run]


def test_the_manifest_says_where_each_file_comes_from_and_what_it_is(s3):
    published(s3, publish_to="s3://lab/")
    manifest = written(s3, "manifest.json")
    assert (manifest["workflow"], manifest["dag_id"], manifest["run_id"], manifest["mode"]) == ("w", "d", "r", "copy")
    assert manifest["files"][0] == {
        "uri": "s3://lab/bam/x.bam",
        "source": OUTPUTS["bam"],
        "size": 3,
        "etag": hashlib.md5(b"bam").hexdigest(),
        "checksum": {"algorithm": "SHA256", "value": hashlib.sha256(b"bam").hexdigest(), "of": "object"},
    }
    lines = s3.objects["lab", "checksums.txt"].decode().splitlines()
    assert lines[0] == f"{hashlib.sha256(b'bam').hexdigest()}  bam/x.bam"
    assert [line.partition("  ")[2] for line in lines[3:5]] == ["folder/dir/a", "folder/dir/b/c"]


def test_a_link_writes_what_says_where_the_files_are_and_what_s3_knows_of_them(s3):
    s3.about["b", f"{FOLDER}/calls/t/_/0/work/x.bam"] = {"ChecksumCRC64NVME": "AAAAAAAAAAE="}
    found = published(s3, publish_to="s3://lab/", publish_mode="link")
    assert found.files == 6
    assert sorted(key for bucket, key in s3.objects if bucket == "lab") == ["manifest.json", "outputs.json"]
    assert written(s3, "outputs.json") == {f"w.{name}": value for name, value in OUTPUTS.items()}
    first, second, *_ = written(s3, "manifest.json")["files"]
    assert first["checksum"] == {"algorithm": "CRC64NVME", "value": "0000000000000001", "of": "object"}
    assert (first["uri"], "source" in first) == (OUTPUTS["bam"], False)
    assert (second["checksum"], second["etag"]) == (None, hashlib.md5(b"0").hexdigest())


def test_to_publish_again_writes_the_same_and_copies_nothing(s3):
    first = published(s3, publish_to="s3://lab/")
    before = dict(s3.objects)
    s3.asked.clear()
    assert published(s3, publish_to="s3://lab/") == first
    assert s3.asked == []
    assert s3.objects == before
    # Another place is another matter.
    published(s3, publish_to="s3://lab/again/")
    assert len(s3.asked) == 6
    assert before.keys() < s3.objects.keys()


def test_what_an_earlier_try_has_copied_stays(s3, monkeypatch):
    monkeypatch.setattr(publishing, "RECORD_EVERY", 0.0)
    refused = lambda operation, arguments: "InvalidRequest" if arguments["Key"] == "maybe/panel.bed" else None  # noqa: E731
    s3.refuse = refused
    with pytest.raises(AwsError):
        published(s3, publish_to="s3://lab/")
    run = begun(s3, publish_to="s3://lab/")
    copied = {copy["target"] for copy in run.store.get_json(f"{run.folder}publishing.json")["copies"]}
    assert run.store.published() is None
    assert ("lab", "outputs.json") not in s3.objects
    s3.refuse, s3.asked = lambda operation, arguments: None, []
    published(s3, publish_to="s3://lab/")
    again = {f"s3://lab/{arguments['Key']}" for _, arguments in s3.asked}
    assert "s3://lab/maybe/panel.bed" in again
    assert again.isdisjoint(copied)
    assert len(again | copied) == 6


def test_what_has_been_published_is_told_to_reports(s3):
    found = published(s3, publish_to="s3://lab/")
    told = begun(s3).store.published()
    assert (
        told
        == found.to_json()
        == {
            "uri": "s3://lab/outputs.json",
            "folder": "s3://lab/",
            "mode": "copy",
            "files": 6,
            "bytes": 12,
        }
    )


def test_what_the_run_may_not_read_is_not_copied_for_it(s3):
    s3.put_object(Bucket="b", Key="wdl/runs/other/r/secret", Body=b"x")
    for uri in ("s3://in/other.bed", "s3://b/wdl/runs/other/r/secret"):
        with pytest.raises(EvaluationError, match="output bam: this run may not read"):
            published(s3, {**OUTPUTS, "bam": uri}, publish_to="s3://lab/")
    assert not [key for bucket, key in s3.objects if bucket == "lab"]


def test_nothing_gets_into_the_workspace_from_beside_it(s3):
    with pytest.raises(EvaluationError, match=r"cannot be published as s3://b/wdl/runs/other/r/outputs\.json"):
        published(s3, publish_to="s3://b/", publish_names={"bam": "wdl/runs/other/r/outputs.json"})


def test_secrets_are_in_nothing_that_is_written(s3):
    named = f"{FOLDER}/calls/t/_/0/work/hunter22.bam"
    inside = f"{FOLDER}/calls/t/_/0/work/dir/hunter22"
    s3.put_object(Bucket="b", Key=named, Body=b"s")
    s3.put_object(Bucket="b", Key=inside, Body=b"i")
    outputs = {**OUTPUTS, "bam": f"s3://b/{named}", "note": "it is hunter22"}
    published(s3, outputs, {"api_token": "hunter22"}, publish_to="s3://lab/")
    there = {key: body for (bucket, key), body in s3.objects.items() if bucket == "lab"}
    assert there["bam/***.bam"] == b"s"
    assert there["folder/dir/***"] == b"i"
    assert "hunter22" not in "".join(there) + b"".join(there.values()).decode()
    assert written(s3, "outputs.json")["w.note"] == "it is ***"
    assert written(s3, "outputs.json")["w.bam"] == "s3://lab/bam/***.bam"


@pytest.mark.parametrize(("bucket", "said"), [("forbidden", "s3:PutObject"), ("missing", "make the bucket missing")])
def test_a_place_that_cannot_be_written_says_what_to_do(s3, bucket, said):
    for outputs in (OUTPUTS, {"note": "n"}):
        with pytest.raises(SettingsError) as caught:
            published(s3, outputs, publish_to=f"s3://{bucket}/x/")
        assert f"cannot publish to the bucket {bucket}" in str(caught.value)
        assert f"s3://{bucket}/x/" in str(caught.value)
        assert said in str(caught.value)


def test_checksums_are_for_sha256sum_and_what_it_cannot_check_is_a_comment():
    of = publishing.Checksum
    copies = [
        publishing.Copied("s", "e", "s3://l/a b", 1, "e", of("SHA256", "ab12")),
        publishing.Copied("s", "e", "s3://l/back\\slash", 1, "e", of("SHA256", "cd")),
        publishing.Copied("s", "e", "s3://l/huge", 1, "e-3", of("SHA256", "ef", "parts", 3, 8)),
        publishing.Copied("s", "e", "s3://l/none", 1, "etag", None),
    ]
    assert publishing.checksums("s3://l/", copies).splitlines() == [
        "ab12  a b",
        "\\cd  back\\\\slash",
        "# huge: its SHA256 of its 3 parts is ef",
        "# none: its ETag is etag",
    ]
