"""The same inputs and SOURCE_DATE_EPOCH make the same image on another machine: another state root, path, umask, time
zone, language, order of directories, owner of the files and file system."""

from __future__ import annotations

import json
import os
import tarfile
import tempfile
from pathlib import Path

from tests.e2e import engine
from tests.e2e.engine import Composer

_DOCKERFILE = """FROM scratch AS system
COPY system /
FROM system
ARG SOURCE_DATE_EPOCH
WORKDIR /made/here
COPY --chown=7:8 --chmod=640 files ./files
ADD files/archive.tar ./unpacked/
COPY <<EOF written
$SOURCE_DATE_EPOCH
EOF
RUN mkdir d; echo x > d/x; ls / > listed; umask > mask; echo "$TZ $HOME $(cat /proc/sys/kernel/hostname | ls)" > told
ENV A=1
"""


def _context(directory: Path, base: Path, *, is_reversed: bool) -> Path:
    with tarfile.open(base) as tar:
        if hasattr(tarfile, "tar_filter"):  # not before Python 3.11.4
            tar.extraction_filter = tarfile.tar_filter
        tar.extractall(directory / "system")
    (directory / "Dockerfile").write_text(_DOCKERFILE)
    (directory / "files").mkdir()
    for name in sorted("abc", reverse=is_reversed):
        (directory / "files" / name).write_text(name)
    with tarfile.open(directory / "files/archive.tar", "w") as tar:
        info = tarfile.TarInfo("inside")
        info.mtime, info.mode = 2_000_000_000, 0o604
        tar.addfile(info)
    for path in (directory / "files", *(directory / "files").iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (1, 1) if is_reversed else None)
        os.chown(path, *((12345, 54321) if is_reversed else (0, 0)))
    (directory / "Dockerfile").chmod(0o644)
    return directory


def _digest(composer: Composer, context: Path, umask: int) -> str:
    meta = context.parent / f"{context.name}.json"
    archive = context.parent / f"{context.name}.tar"
    words = ("--build-arg", "SOURCE_DATE_EPOCH=1700000000", "--metadata-file", str(meta), "-t", "same:1")
    words += ("-o", f"type=oci,dest={archive},compression=zstd")
    process = composer.start("image", "build", *words, str(context), umask=umask)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 0, told
    digest: str = json.loads(meta.read_text())["containerimage.digest"]
    with tarfile.open(archive) as tar:
        assert f"blobs/sha256/{digest.removeprefix('sha256:')}" in tar.getnames()
    return digest


def test_another_machine_makes_the_same_image(composer: Composer, base: str, tmp_path: Path) -> None:
    composer.run("engine", "stop")
    here = _context(tmp_path / "here", tmp_path / "base.tar", is_reversed=False)
    first = _digest(composer, here, 0o022)
    other = {"TZ": "Asia/Tokyo", "LANG": "C", "HOME": str(tmp_path), "HOSTNAME": "elsewhere"}
    with tempfile.TemporaryDirectory(prefix="some other place", dir="/dev/shm") as memory:
        there = _context(Path(memory) / "context", tmp_path / "base.tar", is_reversed=True)
        with engine.running(tmp_path / "other", other, lambda: False) as second:
            assert _digest(second, there, 0o077) == first
