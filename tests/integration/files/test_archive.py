"""Tars out of and into a root: nothing leads outside, whatever the links say."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.errors import ComposerError, InvalidArgument, NotFound
from runtime.files.archive import extract, stat_path, write_path, write_root
from runtime.files.difference import ADDED, DELETED, MODIFIED, differences
from runtime.kernel import syscalls


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    made = tmp_path / "outside"
    made.mkdir()
    (made / "secret").write_text("secret")
    return made


@pytest.fixture
def tree(tmp_path: Path, outside: Path) -> Path:
    made = tmp_path / "root"
    (made / "d/s").mkdir(parents=True)
    (made / "d/s/x").write_text("x")
    (made / "d/y").symlink_to("s/x")
    (made / "out").symlink_to(outside)
    (made / "up").symlink_to("../outside")
    os.mkfifo(made / "d/fifo")
    return made


@pytest.fixture
def root(tree: Path) -> Iterator[int]:
    fd = os.open(tree, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def packed(*members: tuple[str, bytes, str]) -> io.BytesIO:
    """A tar of (name, kind, content or link)."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, kind, text in members:
            info = tarfile.TarInfo(name)
            info.type, info.mode = kind, 0o755 if kind == tarfile.DIRTYPE else 0o640
            info.uid, info.gid, info.mtime = os.getuid(), os.getgid(), 1000
            if kind == tarfile.REGTYPE:
                info.size = len(text)
                tar.addfile(info, io.BytesIO(text.encode()))
            else:
                info.linkname = text
                tar.addfile(info)
    made.seek(0)
    return made


def names(root: int, path: str) -> list[str]:
    made = io.BytesIO()
    write_path(root, path, made)
    made.seek(0)
    with tarfile.open(fileobj=made) as tar:
        return tar.getnames()


def test_a_tree_comes_out_with_its_links_and_special_files(root: int) -> None:
    assert names(root, "/d") == ["d", "d/fifo", "d/s", "d/s/x", "d/y"]
    assert names(root, "/d/.") == [".", "./fifo", "./s", "./s/x", "./y"]


@pytest.mark.parametrize(
    "path", ["/out/secret", "/up/secret", "/d/../../outside/secret", "/out/", "/missing"]
)
def test_nothing_of_the_outside_comes_out(root: int, path: str) -> None:
    with pytest.raises(NotFound):
        names(root, path)


def test_links_that_lead_nowhere(root: int, tree: Path) -> None:
    """In a circle, or through a process to wherever its root is: that is not followed, and said as in Docker."""
    (tree / "a").symlink_to("b")
    (tree / "b").symlink_to("a")
    (tree / "process").symlink_to("/proc/1/root")
    (tree / "proc/1").mkdir(parents=True)
    proc = os.open("/proc/self", os.O_PATH | os.O_DIRECTORY)
    try:
        for start, path in ((root, "a/x"), (root, "process/x"), (proc, "root/etc/hostname")):
            with pytest.raises(NotFound, match="Could not find the file"):
                stat_path(start, path)
            with pytest.raises(NotFound, match="Could not find the file"):
                write_path(start, path, io.BytesIO())
            with pytest.raises(NotFound, match="Could not find the file"):
                extract(start, path, packed(("x", tarfile.REGTYPE, "x")))
    finally:
        os.close(proc)


def test_a_link_itself_comes_out(root: int) -> None:
    assert names(root, "/out") == ["out"]
    assert stat_path(root, "/d/y").link_target == "/d/s/x"


@pytest.mark.parametrize(
    "members",
    [
        [("out/new", tarfile.REGTYPE, "x")],
        [("up/new", tarfile.REGTYPE, "x")],
        [("l", tarfile.SYMTYPE, "../outside"), ("l/new", tarfile.REGTYPE, "x")],
        [("h", tarfile.LNKTYPE, "out/secret")],
    ],
)
def test_nothing_is_written_outside(root: int, outside: Path, members: list[tuple[str, bytes, str]]) -> None:
    try:
        extract(root, "/", packed(*members))
    except ComposerError:
        pass
    assert sorted(os.listdir(outside)) == ["secret"]
    assert os.stat(outside / "secret").st_nlink == 1


@pytest.mark.parametrize("name", ["../x", "a/../../x"])
def test_names_that_lead_out_are_refused(root: int, name: str) -> None:
    with pytest.raises(ComposerError):
        extract(root, "/d", packed((name, tarfile.REGTYPE, "x")))


def test_a_file_replaces_a_link_and_not_what_it_leads_to(root: int, tree: Path, outside: Path) -> None:
    (tree / "l").symlink_to(outside / "secret")
    extract(root, "/", packed(("l", tarfile.REGTYPE, "new")))
    assert (tree / "l").read_text() == "new"
    assert not (tree / "l").is_symlink()
    assert (outside / "secret").read_text() == "secret"


def test_modes_and_times_are_kept_and_names_changed(root: int, tree: Path) -> None:
    archive = packed(
        ("a", tarfile.DIRTYPE, ""), ("a/f", tarfile.REGTYPE, "1"), ("a/h", tarfile.LNKTYPE, "a/f")
    )
    extract(root, "/d", archive, rename=("a", "b"))
    assert (tree / "d/b/h").read_text() == "1"
    assert [os.stat(tree / "d" / p).st_mtime for p in ("b", "b/f")] == [1000, 1000]
    assert os.stat(tree / "d/b/f").st_mode & 0o777 == 0o640


def test_kinds_are_kept_on_demand(root: int) -> None:
    with pytest.raises(InvalidArgument, match="cannot overwrite directory"):
        extract(root, "/d", packed(("s", tarfile.REGTYPE, "1")), keeps_kinds=True)
    with pytest.raises(InvalidArgument, match="cannot overwrite non-directory"):
        extract(root, "/d", packed(("y", tarfile.DIRTYPE, "")), keeps_kinds=True)
    with pytest.raises(InvalidArgument, match="extraction point"):
        extract(root, "/d/s/x", packed(("y", tarfile.DIRTYPE, "")))


def test_a_root_whole(root: int) -> None:
    made = io.BytesIO()
    write_root(root, made)
    made.seek(0)
    with tarfile.open(fileobj=made) as tar:
        assert tar.getnames() == ["d", "d/fifo", "d/s", "d/s/x", "d/y", "out", "up"]


def test_differences(tmp_path: Path) -> None:
    below, upper = tmp_path / "below", tmp_path / "upper"
    for name in ("etc", "same"):
        (below / name).mkdir(parents=True)
    (below / "etc/a").write_text("1")
    (below / "etc/gone").write_text("1")
    (upper / "etc").mkdir(parents=True)
    (upper / "same").mkdir()
    (upper / "etc/a").write_text("2")
    (upper / "etc/new").write_text("2")
    os.mknod(upper / "etc/gone", 0o020000, 0)
    (upper / "link").symlink_to("/")
    for name in ("etc", "same"):
        os.utime(below / name, ns=(1, 1))
        os.utime(upper / name, ns=(1, 1))
    assert differences(str(upper), [below]) == [
        (MODIFIED, "/etc"),
        (MODIFIED, "/etc/a"),
        (DELETED, "/etc/gone"),
        (ADDED, "/etc/new"),
        (ADDED, "/link"),
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_file_systems_of_the_kernel(root: int, tree: Path) -> None:
    """Their files are none to be copied along: whoever asks for one gets what is in it."""
    (tree / "p").mkdir()
    syscalls.mount(b"proc", bytes(tree / "p"), b"proc", 0, None)
    try:
        copied = io.BytesIO()
        write_path(root, "/", copied)
        copied.seek(0)
        with tarfile.open(fileobj=copied) as tar:
            names = tar.getnames()
        assert "//p" in names or "/p" in names or "p" in names
        assert not [name for name in names if "/p/" in name]
        one = io.BytesIO()
        write_path(root, "/p/self/status", one)
        one.seek(0)
        with tarfile.open(fileobj=one) as tar:
            content = tar.extractfile("status")
            assert content is not None
            assert content.read().startswith(b"Name:")
    finally:
        syscalls.umount2(bytes(tree / "p"), 2)
