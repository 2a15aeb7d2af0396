"""Shared file systems that a deployment shows to its tasks: read from the setting, written as ECS has them (pure).

A mount is a path in the command's container and where it comes from, as a URI: ``efs://`` for Amazon EFS, ``host://``
for a folder of the EC2 instances, such as the mount of an FSx for Lustre file system. A file on one is named by its
path in the container, or, unless an access point is mounted, by its ``efs://`` URI; it is passed to the command as it
is, and nobody stages it. The staging containers do not have the mounts.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from ..errors import Problem, SettingsError
from .setting import how_to_set

_FLAGS = {"true": True, "false": False}
_OF_EFS = frozenset({"access_point", "iam", "tls", "write"})
_OF_HOST = frozenset({"write"})
_FILE_SYSTEM = re.compile(r"fs-[0-9a-f]{8,40}")
_ACCESS_POINT = re.compile(r"fsap-[0-9a-f]{8,40}")


@dataclass(frozen=True)
class Mount:
    """A shared file system in the command's container.

    :param path: absolute, without a slash at its end.
    :param file_system: of EFS, its id; empty for a folder of the host.
    :param root: the folder in the file system, or on the host, that is seen there.
    :param access_point: of EFS, its id; empty for none. :param iam: whether the task's role has to be allowed to mount.
    :param tls: whether what is read is encrypted on its way. :param write: whether commands may write.
    """

    path: str
    root: str
    file_system: str = ""
    access_point: str = ""
    iam: bool = False
    tls: bool = True
    write: bool = False


def read_mount(path: str, source: str) -> Mount:
    """A mount as the setting says it.

    :param source: ``efs://fs-ID/folder?access_point=fsap-ID&iam=true&tls=false&write=true``, or
        ``host:///folder?write=true``; everything after the ``?`` may be left out.
    :raises ValueError: saying what is wrong with it.
    """
    if posixpath.normpath(path) != (path.rstrip("/") or "/") or not path.startswith("/") or path == "/":
        raise ValueError(f"{path!r} is no absolute path below /")
    parts = urlsplit(source)
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    known = {"efs": _OF_EFS, "host": _OF_HOST}.get(parts.scheme)
    if known is None:
        raise ValueError(
            f"{source!r} is neither efs://fs-ID/folder nor host:///folder (FSx for Lustre, OpenZFS and ONTAP are "
            "mounted by the EC2 instances, and are host:// here; ECS mounts FSx for Windows in Windows alone)"
        )
    unknown = sorted(set(given) - known)
    if unknown:
        raise ValueError(f"{source!r}: there is no {', '.join(unknown)} of {parts.scheme}://")
    flags = {name: _flag(source, name, text) for name, text in given.items() if name != "access_point"}
    root = posixpath.normpath(f"/{unquote(parts.path).lstrip('/')}")
    if parts.scheme == "host":
        if parts.netloc or root == "/":
            raise ValueError(f"{source!r} is no folder of the host: write host:///folder")
        return Mount(path.rstrip("/"), root, write=flags.get("write", False))
    mount = Mount(
        path.rstrip("/"),
        root,
        file_system=parts.netloc,
        access_point=given.get("access_point", ""),
        iam=flags.get("iam", False),
        tls=flags.get("tls", True),
        write=flags.get("write", False),
    )
    _check_efs(source, mount)
    return mount


def _flag(source: str, name: str, text: str) -> bool:
    if text not in _FLAGS:
        raise ValueError(f"{source!r}: {name} is true or false, not {text!r}")
    return _FLAGS[text]


def _check_efs(source: str, mount: Mount) -> None:
    if not _FILE_SYSTEM.fullmatch(mount.file_system):
        raise ValueError(f"{source!r} names no file system such as fs-0a1b2c3d")
    if mount.access_point and not _ACCESS_POINT.fullmatch(mount.access_point):
        raise ValueError(f"{source!r}: {mount.access_point!r} is no access point such as fsap-0a1b2c3d")
    if mount.access_point and mount.root != "/":
        raise ValueError(f"{source!r}: an access point says which folder it is, so that there can be no other")
    if (mount.iam or mount.access_point) and not mount.tls:
        raise ValueError(f"{source!r}: an access point and iam=true need tls=true")


def wrong_mounts(pairs: Mapping[str, str], *, container_root: str, fargate: bool, task_role: bool) -> Iterator[str]:
    """What is wrong with the setting, each in a line."""
    found: list[Mount] = []
    for path, source in pairs.items():
        try:
            found.append(read_mount(path, source))
        except ValueError as error:
            yield str(error)
    places = [
        *((mount.path, f"the mount {mount.path}") for mount in found),
        (container_root.rstrip("/"), "container_root"),
    ]
    for at, (path, what) in enumerate(places):
        for other, named in places[at + 1 :]:
            if f"{path}/".startswith(f"{other}/") or f"{other}/".startswith(f"{path}/"):
                yield f"{what} and {named} are one within the other"
    for mount in found:
        if fargate and not mount.file_system:
            yield f"{mount.path} is a folder of the host, which Fargate has not: it is for EC2"
        if mount.iam and not task_role:
            yield f"{mount.path} is to be mounted with iam=true, which needs task_role_arn"


@lru_cache(maxsize=16)
def _read(pairs: tuple[tuple[str, str], ...]) -> tuple[Mount, ...]:
    return tuple(read_mount(path, source) for path, source in pairs)


def mounts_of(pairs: Mapping[str, str]) -> tuple[Mount, ...]:
    """The mounts of the setting.

    :raises SettingsError: if one cannot be read.
    """
    try:
        return _read(tuple(pairs.items()))
    except ValueError as error:
        raise SettingsError([Problem(f"mounts: {error}; set {how_to_set('mounts')}")]) from None


def volumes(mounts: Sequence[Mount]) -> list[dict[str, Any]]:
    """The volumes of a task definition."""
    return [{"name": f"shared-{number}", **_volume(mount)} for number, mount in enumerate(mounts)]


def _volume(mount: Mount) -> dict[str, Any]:
    if not mount.file_system:
        return {"host": {"sourcePath": mount.root}}
    found: dict[str, Any] = {
        "fileSystemId": mount.file_system,
        "rootDirectory": mount.root,
        "transitEncryption": "ENABLED" if mount.tls else "DISABLED",
    }
    if mount.access_point or mount.iam:
        access_point = {"accessPointId": mount.access_point} if mount.access_point else {}
        found["authorizationConfig"] = {**access_point, "iam": "ENABLED" if mount.iam else "DISABLED"}
    return {"efsVolumeConfiguration": found}


def mount_points(mounts: Sequence[Mount]) -> list[dict[str, Any]]:
    """The mount points of the command's container."""
    return [
        {"sourceVolume": f"shared-{number}", "containerPath": mount.path, "readOnly": not mount.write}
        for number, mount in enumerate(mounts)
    ]


def path_of(mounts: Sequence[Mount], name: str) -> str | None:
    """What a file or directory on a shared file system is called in the container, without a slash at its end.

    :param name: its path in the container, or its ``efs://`` URI.
    :return: None for what is on none of them, and for the URI of what is there by an access point alone: which folder
        that is in the file system is not known here.
    """
    if name.startswith("efs://"):
        file_system, _, rest = name.removeprefix("efs://").partition("/")
        at = posixpath.normpath(f"/{rest}")
        of_it = [mount for mount in mounts if mount.file_system == file_system and not mount.access_point]
        within = [mount for mount in of_it if _below(at, mount.root)]
        if not within or ".." in rest.split("/"):
            return None
        nearest = max(within, key=lambda mount: len(mount.root))
        return posixpath.normpath(f"{nearest.path}/{posixpath.relpath(at, nearest.root)}")
    if not name.startswith("/"):
        return None
    path = posixpath.normpath(name)
    return path if any(_below(path, mount.path) for mount in mounts) else None


def _below(path: str, folder: str) -> bool:
    return folder in ("/", path) or path.startswith(f"{folder}/")
