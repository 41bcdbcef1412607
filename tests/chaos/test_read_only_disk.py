"""A state root that can only be read: no engine starts there, and one that runs loses nothing that runs."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Project
from tests.e2e.engine import Composer

STACK = """
services:
  store: {image: composer.local/host, command: sleep infinity}
  other: {image: composer.local/host, init: true, command: sleep infinity}
"""


def test_an_engine_is_not_started(composer: Composer, project: Project) -> None:
    directory = project.write(STACK)
    lib = composer.paths.lib
    lib.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", lib], check=True)
    try:
        failed = composer.run("up", "-d", cwd=directory, status=1)
        assert f"write {lib}/engine.log: Read-only file system" in failed.stderr
        assert "set COMPOSER_ROOT to a directory that can be written" in failed.stderr
        assert composer.run("engine", "status", status=3).stdout.startswith("The engine is not running")
    finally:
        subprocess.run(["umount", lib], check=True)
    composer.run("up", "-d", cwd=directory)
    composer.run("down", "-t", "0", cwd=directory)


class Ext4:
    """A file system that turns read-only when the kernel finds an error in it."""

    def __init__(self, image: Path, place: Path) -> None:
        self.image = image
        self.place = place

    def mount(self) -> None:
        words = ["mount", "-o", "loop,errors=remount-ro", self.image, self.place]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"needs a kernel with ext4 and loop devices: {done.stderr}")

    def fail(self) -> None:
        for line in Path("/proc/self/mounts").read_text().splitlines():
            device, place, *_ = line.split()
            if place == str(self.place):
                Path(f"/sys/fs/ext4/{Path(device).name}/trigger_fs_error").write_text("1")

    def umount(self, *flags: str) -> None:
        subprocess.run(["umount", *flags, self.place], check=True)


@pytest.fixture
def ext4(composer: Composer, tmp_path: Path) -> Iterator[Ext4]:
    composer.paths.lib.mkdir()
    image = tmp_path / "image"
    with open(image, "wb") as file:
        file.truncate(128 << 20)
    try:
        subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", image], check=True)
    except FileNotFoundError:
        pytest.skip("needs a kernel with ext4, and the mke2fs command")
    made = Ext4(image, composer.paths.lib)
    made.mount()
    try:
        yield made
    finally:
        try:
            composer.remove_everything()
        finally:
            composer.end_by_force()
            made.umount("-l")


def test_a_file_system_that_turns_read_only(composer: Composer, project: Project, ext4: Ext4) -> None:
    directory = project.write(STACK)
    composer.run("up", "-d", cwd=directory)
    pid = composer.inspect(f"{project.name}-store-1")["State"]["Pid"]
    ext4.fail()

    composer.run("exec", "-T", "store", "true", cwd=directory)
    composer.run("stop", "-t", "0", "other", cwd=directory)
    assert composer.inspect(f"{project.name}-other-1")["State"]["Status"] == "exited"
    assert "cannot be written" in composer.run("engine", "status").stdout
    composer.run("ps", "-a", cwd=directory)
    failed = composer.run("up", "-d", cwd=directory, status=1)
    assert "Read-only file system" in failed.stderr
    failed = composer.run("rm", "-f", "other", cwd=directory, status=1)
    assert "Read-only file system" in failed.stderr

    # The next core has to do with what it finds.
    composer.kill("composer-core")
    assert composer.inspect(f"{project.name}-store-1")["State"]["Pid"] == pid
    composer.run("exec", "-T", "store", "true", cwd=directory)
    composer.run("stop", "-t", "0", cwd=directory)
    composer.run("engine", "stop")

    ext4.umount()
    ext4.mount()
    composer.run("down", "-t", "0", cwd=directory)
    assert composer.containers() == []
    assert list((ext4.place / "containers").iterdir()) == []
