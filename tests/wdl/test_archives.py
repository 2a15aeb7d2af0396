"""A source archive is unpacked if it stays in its folder, and else leaves nothing anywhere."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

from airflow_wdl_ecs import cli
from airflow_wdl_ecs.errors import AuthorError
from airflow_wdl_ecs.wdl.load import archive_inputs, load

MAIN = "version 1.1\nworkflow w { output { Int n = 1 } }\n"
GOOD = {"MANIFEST.json": json.dumps({"mainWorkflowURL": "main.wdl"}), "main.wdl": MAIN}


def tar(path: Path, files: dict[str, str], *others: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for other in others:
            archive.addfile(other, io.BytesIO(b"\0" * other.size))
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


@pytest.mark.parametrize("name", ["good.tar", "good.tar.gz"])
def test_a_tar_archive_is_a_source(tmp_path, name):
    archive = tar(tmp_path / name, GOOD)
    assert load(archive).pos.uri == f"{archive}/main.wdl"
    assert archive_inputs(archive) is None


@pytest.mark.parametrize("member", ["../planted", "a/../../planted", "/tmp/planted-by-an-archive"])
def test_a_member_outside_is_not_written(tmp_path, member, capsys):
    within = tmp_path / "a" / "b"
    within.mkdir(parents=True)
    archive = tar(within / "bad.tar", {member: "x", **GOOD})
    assert cli.main(["check", str(archive)]) == 2
    assert "outside the archive's folder" in capsys.readouterr().out
    with pytest.raises(AuthorError, match="outside"):
        archive_inputs(archive)
    assert not Path("/tmp/planted-by-an-archive").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_a_member_that_is_no_file_is_not_made(tmp_path, kind):
    member = tarfile.TarInfo("link.wdl")
    member.type, member.linkname = kind, "/etc/passwd"
    with pytest.raises(AuthorError, match="neither a file nor a folder"):
        load(tar(tmp_path / "bad.tar", GOOD, member))


def test_a_link_in_a_zip_is_not_made(tmp_path):
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        link = zipfile.ZipInfo("link.wdl")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        for name, text in GOOD.items():
            archive.writestr(name, text)
    with pytest.raises(AuthorError, match="neither a file nor a folder"):
        load(tmp_path / "bad.zip")


def test_an_archive_that_unpacks_to_very_much_is_refused_before_it_does(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in {**GOOD, "big": "0" * 70 * 1024 * 1024}.items():
            archive.writestr(name, text)
    member = tarfile.TarInfo("big")
    member.size = 10**12
    with gzip.open(tmp_path / "bomb.tar.gz", "wb") as file:
        file.write(member.tobuf() + b"\0" * 1024)
    tar(tmp_path / "many.tar", {f"f{n}": "" for n in range(5000)})
    started = time.process_time()
    for name in ("bomb.zip", "bomb.tar.gz", "many.tar"):
        with pytest.raises(AuthorError, match=r"unpacks to more than|more than 4000 members"):
            load(tmp_path / name)
    assert time.process_time() - started < 10


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tar", "a.zip", "a.tgz"])
@pytest.mark.parametrize("kept", [0, 5, 60])
def test_a_broken_archive_is_the_authors_error(tmp_path, name, kept):
    whole = tar(tmp_path / f"whole.{name.partition('.')[2].replace('tgz', 'tar.gz')}", GOOD)
    if name.endswith(".zip"):
        with zipfile.ZipFile(whole, "w") as archive:
            for each, text in GOOD.items():
                archive.writestr(each, text)
    broken = tmp_path / name
    broken.write_bytes(b"\x1f\x8b" * (kept == 5) + whole.read_bytes()[:kept])
    with pytest.raises(AuthorError, match="not a source archive"):
        load(broken)
