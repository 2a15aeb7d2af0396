"""Shared file systems: how the setting is read, what is refused, and which files are on them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_wdl_ecs.ecs.mounts import Mount, mounts_of, path_of, read_mount
from airflow_wdl_ecs.ecs.settings import EcsSettings
from airflow_wdl_ecs.errors import SettingsError

from .test_settings import COMPLETE


@pytest.mark.parametrize(
    ("path", "source", "mount"),
    [
        ("/refs", "efs://fs-0a1b2c3d", Mount("/refs", "/", "fs-0a1b2c3d")),
        ("/refs/", "efs://fs-0a1b2c3d/a%20b/", Mount("/refs", "/a b", "fs-0a1b2c3d")),
        (
            "/refs",
            "efs://fs-0a1b2c3d?access_point=fsap-0a1b2c3d&iam=true",
            Mount("/refs", "/", "fs-0a1b2c3d", "fsap-0a1b2c3d", iam=True),
        ),
        ("/refs", "efs://fs-0a1b2c3d?tls=false&write=true", Mount("/refs", "/", "fs-0a1b2c3d", tls=False, write=True)),
        ("/scratch", "host:///mnt/fsx/?write=true", Mount("/scratch", "/mnt/fsx", write=True)),
    ],
)
def test_a_mount_is_read(path: str, source: str, mount: Mount) -> None:
    assert read_mount(path, source) == mount


@pytest.mark.parametrize(
    ("path", "source", "said"),
    [
        ("refs", "efs://fs-0a1b2c3d", "no absolute path"),
        ("/", "efs://fs-0a1b2c3d", "no absolute path"),
        ("/a/../b", "efs://fs-0a1b2c3d", "no absolute path"),
        ("/refs", "fs-0a1b2c3d", "neither efs://"),
        ("/refs", "fsx://fs-0a1b2c3d", "FSx for Windows in Windows alone"),
        ("/refs", "efs://refs", "no file system such as"),
        ("/refs", "efs://fs-0a1b2c3d?iam=yes", "iam is true or false, not 'yes'"),
        ("/refs", "efs://fs-0a1b2c3d?acces_point=fsap-0a1b2c3d", "there is no acces_point of efs"),
        ("/refs", "efs://fs-0a1b2c3d?access_point=mine", "no access point such as"),
        ("/refs", "efs://fs-0a1b2c3d/a?access_point=fsap-0a1b2c3d", "there can be no other"),
        ("/refs", "efs://fs-0a1b2c3d?iam=true&tls=false", "need tls=true"),
        ("/refs", "host://mnt/fsx", "write host:///folder"),
        ("/refs", "host:///", "write host:///folder"),
        ("/refs", "host:///mnt?iam=true", "there is no iam of host"),
    ],
)
def test_what_is_no_mount_is_said_with_how_to_set_it(path: str, source: str, said: str) -> None:
    with pytest.raises(SettingsError, match="mounts: ") as caught:
        replace(COMPLETE, launch_type="EC2", mounts={path: source}).check()
    assert said in str(caught.value)
    assert "[wdl_ecs] mounts" in str(caught.value)
    with pytest.raises(SettingsError, match="mounts: "):
        mounts_of({path: source})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"mounts": {"/refs": "host:///refs"}}, "which Fargate has not"),
        ({"mounts": {"/refs": "efs://fs-0a1b2c3d", "/refs/hg38": "efs://fs-4e5f6a7b"}}, "one within the other"),
        ({"mounts": {"/wdl/refs": "efs://fs-0a1b2c3d"}}, "the mount /wdl/refs and container_root are one within"),
        (
            {"launch_type": "EC2", "task_role_arn": "", "mounts": {"/refs": "efs://fs-0a1b2c3d?iam=true"}},
            "needs task_role_arn",
        ),
    ],
)
def test_what_does_not_fit_the_other_settings_is_refused(changed: dict, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        replace(COMPLETE, **changed).check()
    assert said in str(caught.value)


def test_the_setting_is_read_from_text_and_back() -> None:
    text = "/refs=efs://fs-0a1b2c3d/genomes?access_point=fsap-1, /scratch=host:///mnt/fsx?write=true"
    settings = EcsSettings.from_options({"mounts": text})
    assert settings.mounts == {
        "/refs": "efs://fs-0a1b2c3d/genomes?access_point=fsap-1",
        "/scratch": "host:///mnt/fsx?write=true",
    }
    assert EcsSettings.from_json(settings.to_json()) == settings
    replace(COMPLETE, mounts={"/refs": "efs://fs-0a1b2c3d/genomes"}).check()


MOUNTS = mounts_of({"/refs": "efs://fs-0a1b2c3d/genomes", "/all": "efs://fs-0a1b2c3d", "/scratch": "host:///mnt/fsx"})


def test_what_an_access_point_shows_is_named_by_its_path_alone() -> None:
    mounts = mounts_of(
        {
            "/a": "efs://fs-0a1b2c3d?access_point=fsap-0a1b2c3d",
            "/b": "efs://fs-4e5f6a7b?access_point=fsap-1a1b2c3d",
            "/c": "efs://fs-4e5f6a7b/genomes",
        }
    )
    assert path_of(mounts, "/a/x.fa") == "/a/x.fa"
    assert path_of(mounts, "efs://fs-0a1b2c3d/x.fa") is None
    assert path_of(mounts, "efs://fs-4e5f6a7b/genomes/x.fa") == "/c/x.fa"
    assert path_of(mounts, "efs://fs-4e5f6a7b/x.fa") is None


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("/refs/hg38/a.fa", "/refs/hg38/a.fa"),
        ("/refs//hg38/./a.fa", "/refs/hg38/a.fa"),
        ("/refs/", "/refs"),
        ("/scratch/x", "/scratch/x"),
        ("/refs/../etc/passwd", None),
        ("/refseq/x", None),
        ("/mnt/fsx/x", None),
        ("s3://refs/x", None),
        ("refs/x", None),
        ("efs://fs-0a1b2c3d/genomes/a.fa", "/refs/a.fa"),
        ("efs://fs-0a1b2c3d/genomes", "/refs"),
        ("efs://fs-0a1b2c3d/other/a.fa", "/all/other/a.fa"),
        ("efs://fs-0a1b2c3d/genomes/../other", None),
        ("efs://fs-4e5f6a7b/a.fa", None),
    ],
)
def test_what_a_file_on_a_mount_is_called(name: str, path: str | None) -> None:
    assert path_of(MOUNTS, name) == path
