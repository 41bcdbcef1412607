"""What there is to compare in two images that were built from one Dockerfile: configuration and file tree."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import hashlib
import json
import lzma
import os
import posixpath
import re
import tarfile
from pathlib import Path
from typing import Any

_COMPARED = (
    *("Env", "Cmd", "Entrypoint", "WorkingDir", "User", "Labels", "ExposedPorts", "Volumes"),
    *("StopSignal", "Shell", "Healthcheck", "OnBuild"),
)


def make_context(root: Path) -> None:
    """The context of all cases: files, modes, links, archives and an ignore file."""
    (root / "dir/sub/deep").mkdir(parents=True)
    (root / "dir/sub").chmod(0o750)
    for name, content, mode in (
        ("a.txt", "a", 0o644),
        ("b.txt", "bb", 0o600),
        ("c.md", "ccc", 0o755),
        ("with space", "s", 0o644),
        ("[x].txt", "x", 0o644),
        ("ignored.log", "no", 0o644),
        ("kept.log", "yes", 0o644),
        ("dir/one.txt", "1", 0o644),
        ("dir/run.sh", "#!/bin/sh", 0o775),
        ("dir/sub/two.txt", "2", 0o640),
        ("dir/sub/deep/three.log", "3", 0o644),
        ("dir/.hidden", "h", 0o644),
        (".dockerignore", "*.log\n**/*.log\n!kept.log\n.dockerignore\n", 0o644),
    ):
        (root / name).write_text(content)
        (root / name).chmod(mode)
    (root / "dir/link").symlink_to("one.txt")
    (root / "dir/dangling").symlink_to("/no/such/file")
    (root / "dirlink").symlink_to("dir")
    (root / "filelink").symlink_to("a.txt")
    (root / "hard").hardlink_to(root / "a.txt")
    for suffix in ("", ".gz", ".bz2", ".xz"):
        with tarfile.open(root / f"files.tar{suffix}", f"w:{suffix[1:]}") as tar:  # type: ignore[call-overload]
            for name, kind, mode in (("in", tarfile.DIRTYPE, 0o711), ("in/f", tarfile.REGTYPE, 0o604)):
                info = tarfile.TarInfo(name)
                info.type, info.mode, info.uid, info.gid = kind, mode, 7, 8
                tar.addfile(info)
            link = tarfile.TarInfo("in/l")
            link.type, link.linkname = tarfile.SYMTYPE, "f"
            tar.addfile(link)


_MOUNT_POINTS = ("dev", "etc", "proc", "run", "sys")
"""Directories of the root that steps make when the base has none."""
BASE = "composer-base"
"""The image that cases with RUN are built on: one layer with a shell and a few programs, which do not count."""


def describe(archive: Path, *, skipped: int = 0) -> dict[str, Any]:
    """The only image of an archive in Docker's form. Empty settings are as those that are not there; labels of
    Docker Compose do not count, nor the lowest ``skipped`` layers."""
    with tarfile.open(archive) as tar:
        (image,) = json.loads(_member(tar, "manifest.json"))
        return _described(tar, image, skipped)


def describe_all(archive: Path, skipped: dict[str, int]) -> dict[str, dict[str, Any]]:
    """The images of an archive by their names without tags; ``skipped``: how many of the lowest layers of each do not
    count."""
    with tarfile.open(archive) as tar:
        found = {}
        for image in json.loads(_member(tar, "manifest.json")):
            for name in (tag.rpartition(":")[0] for tag in image["RepoTags"]):
                found[name] = _described(tar, image, skipped[name])
        return found


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    assert file is not None
    return file.read()


def _described(tar: tarfile.TarFile, image: dict[str, Any], skipped: int) -> dict[str, Any]:
    config = json.loads(_member(tar, image["Config"])).get("config") or {}
    tree: dict[str, Any] = {}
    for layer in image["Layers"][skipped:]:
        file = tar.extractfile(layer)
        assert file is not None
        with tarfile.open(fileobj=file) as entries:
            _apply(entries, tree)
    config["Labels"] = {
        key: value
        for key, value in (config.get("Labels") or {}).items()
        if not key.startswith("com.docker.compose.")
    }
    for name in _MOUNT_POINTS if skipped else ():
        tree.pop(name, None)
    settings = {key: config[key] for key in _COMPARED if config.get(key) not in (None, "", [], {})}
    if settings.get("WorkingDir") == "/":
        del settings["WorkingDir"]
    return {"config": settings, "tree": dict(sorted(tree.items()))}


def skipped_layers(dockerfile: str) -> int:
    """How many layers of the image that a case makes are those of its base."""
    bases = re.findall(r"^\s*FROM\s+(\S+)", dockerfile.removeprefix("\ufeff"), re.MULTILINE | re.IGNORECASE)
    return 1 if bases[-1:] == [BASE] else 0


def _apply(entries: tarfile.TarFile, tree: dict[str, Any]) -> None:
    for entry in entries:
        path = posixpath.normpath(entry.name).lstrip("/")
        name = posixpath.basename(path)
        if path == ".":
            continue
        if name.startswith(".wh."):
            gone = posixpath.join(posixpath.dirname(path), name[4:])
            if name == ".wh..wh..opq":
                gone = posixpath.dirname(path)
            for old in [old for old in tree if old.startswith(gone + "/")]:
                del tree[old]
            if name != ".wh..wh..opq" and tree.pop(gone, None) is None:
                tree[gone] = ["gone"]
            continue
        if entry.islnk():
            tree[path] = tree[posixpath.normpath(entry.linkname).lstrip("/")]
            continue
        file = entries.extractfile(entry) if entry.isreg() else None
        content = _digest(name, file.read()) if file is not None else entry.linkname
        mode = 0 if entry.issym() else entry.mode & 0o7777
        tree[path] = [os.fsdecode(entry.type), oct(mode), entry.uid, entry.gid, content]


def _digest(name: str, content: bytes) -> str:
    """Of what is in an archive: how it is compressed depends on the machine."""
    for suffix, decompress in ((".gz", gzip.decompress), (".bz2", bz2.decompress), (".xz", lzma.decompress)):
        if name.endswith(suffix):
            with contextlib.suppress(OSError, EOFError, lzma.LZMAError):  # only called so
                content = decompress(content)
    return hashlib.sha256(content).hexdigest()[:12]
