"""An engine for each test, on a state root of its own. When a test fails, its engine's state is shown."""

from __future__ import annotations

import io
import os
import re
import subprocess
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import engine
from tests.e2e.engine import Composer, write_project


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.when == "call":  # type: ignore[attr-defined]
        item.stash[_FAILED] = report.failed  # type: ignore[attr-defined]
    return report


_FAILED = pytest.StashKey[bool]()
_PROGRAMS = (
    *("sh", "cat", "chmod", "chown", "env", "id", "ln", "ls", "mkdir", "mkfifo", "mv", "rm", "sleep", "sort"),
    *("stat", "touch"),
)


@pytest.fixture
def composer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Composer]:
    """The command, on an engine that does not run yet."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    # Short: a unix socket's path has room for 107 bytes.
    root = tmp_path / "root"
    with engine.running(root, {}, lambda: request.node.stash.get(_FAILED, False)) as made:
        yield made


@pytest.fixture
def base(composer: Composer, tmp_path: Path) -> str:
    """An image with a shell and a few programs of this machine."""
    files = {f"/usr/bin/{name}" for name in _PROGRAMS}
    for name in sorted(files):
        listed = subprocess.run(["ldd", name], capture_output=True, text=True, check=True).stdout
        files |= set(re.findall(r"(/\S+) \(0x", listed))
    path = tmp_path / "base.tar"
    with tarfile.open(path, "w", dereference=True) as tar:
        for name in sorted(files):
            tar.add(name, name)
        link = tarfile.TarInfo("bin")
        link.type, link.linkname = tarfile.SYMTYPE, "usr/bin"
        tar.addfile(link)
        for number, name in enumerate(("gone", "gone/file")):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = (tarfile.REGTYPE if number else tarfile.DIRTYPE), 0o755
            tar.addfile(entry, io.BytesIO())
    composer.run("image", "import", str(path), "base")
    return "base"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A directory for a Compose file, with a name of its own."""
    return Project(tmp_path / f"p{uuid.uuid4().hex[:6]}")


class Project:
    """``write`` the file, then run commands with ``cwd=project.directory``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.name = directory.name

    def write(self, compose: str, **files: str) -> Path:
        return write_project(self.directory, compose, **files)
