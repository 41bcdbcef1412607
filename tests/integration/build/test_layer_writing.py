"""Layers that are written once: their directory is what their tar unpacks to."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import stat
import tarfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from runtime.build.frontend.lines import parse_lines
from runtime.build.steps import ContextSource, Copy, Selection, Step
from runtime.build.worker.changes_writing import take_changes
from runtime.build.worker.layer_tar import Placed
from runtime.build.worker.layer_writing import write_placed_layer
from runtime.build.worker.placing import place_copy
from runtime.build.worker.snapshot import Snapshot
from runtime.errors import InvalidArgument, NotFound
from runtime.files.tree import Tree
from runtime.image.unpack import unpack

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
_CONTEXT = ContextSource(text="context", place=parse_lines("RUN x")[0])


def _described(root: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(root.rglob("*")):
        info = path.lstat()
        link = os.readlink(path) if path.is_symlink() else ""
        content = path.read_bytes() if stat.S_ISREG(info.st_mode) else b""
        names = list(os.listxattr(path, follow_symlinks=False))
        attributes = {name: os.getxattr(path, name, follow_symlinks=False) for name in names}
        times = info.st_mtime_ns // 10**9
        key = str(path.relative_to(root))
        owner = (info.st_mode, info.st_uid, info.st_gid, info.st_rdev, info.st_nlink, times)
        found[key] = (*owner, link, content, attributes)
    return found


def _copied(context: Path, *patterns: str, below: Path | None = None) -> list[Placed]:
    step = Copy(
        text="COPY",
        place=_CONTEXT.place,
        below=None,
        origin=Selection(source=_CONTEXT, patterns=patterns or (".",)),
        destination="/to/",
        owner="3:4",
    )
    results: dict[Step, Snapshot] = {_CONTEXT: Snapshot(layers=(context,))}
    empty = context.parent / "empty"
    empty.mkdir(exist_ok=True)
    with ExitStack() as held:
        return list(place_copy(step, Tree([below or empty]), results, held))


def _written(items: list[Placed], tmp_path: Path) -> tuple[Path, bytes]:
    directory = tmp_path / "layer"
    directory.mkdir()
    tar = io.BytesIO()
    made = write_placed_layer(items, directory, tar, 1_000_000_000)
    assert str(made.diff_id) == "sha256:" + hashlib.sha256(tar.getvalue()).hexdigest()
    return directory, tar.getvalue()


def test_the_directory_of_a_copy_is_what_its_tar_unpacks_to(tmp_path: Path) -> None:
    context = tmp_path / "context"
    long = "n" * 180
    (context / "deep" / long / long).mkdir(parents=True)
    (context / "deep" / long / long / "file").write_text("deep")
    (context / "größe ü").write_text("name")
    (context / "big").write_bytes(os.urandom(3 << 20))
    (context / "empty").touch()
    os.link(context / "big", context / "same")
    os.symlink("l" * 150, context / "link")
    os.mkfifo(context / "fifo")
    (context / "set").write_text("x")
    (context / "set").chmod(0o4755)
    os.setxattr(context / "set", "user.note", b"\xffbytes")
    for name in ("big", "empty"):
        os.utime(context / name, (1, 1))
    directory, tar = _written(_copied(context), tmp_path)
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    unpack(io.BytesIO(tar), unpacked)
    assert _described(directory) == _described(unpacked)
    assert (directory / "to/big").stat().st_ino == (directory / "to/same").stat().st_ino
    assert (directory / "to/set").stat().st_uid == 3


def test_what_is_not_a_file_stays_outside_or_is_not_opened(tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    os.mkfifo(context / "fifo")
    os.mknod(context / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(context / "socket"))
        os.symlink("/etc/shadow", context / "out")
        os.symlink("../../../etc/shadow", context / "up")
        os.symlink("circle", context / "circle")
        directory, _ = _written(_copied(context), tmp_path)
        assert {path.name for path in (directory / "to").iterdir()} == {"fifo", "null", "out", "up", "circle"}
        assert os.readlink(directory / "to/out") == "/etc/shadow"
        for name in ("out", "up"):  # as a source, it is what it leads to within the context
            with pytest.raises(NotFound):
                _copied(context, name)
        with pytest.raises(OSError, match="symbolic links"):
            _copied(context, "circle")


def test_a_link_in_the_way_of_a_copy_leads_nowhere(tmp_path: Path) -> None:
    context = tmp_path / "context"
    for name in ("one/a", "two"):
        (context / name).mkdir(parents=True)
    (context / "one/a/file").write_text("x")
    outside = tmp_path / "outside"
    outside.mkdir()
    os.symlink(str(outside), context / "two/a")
    with pytest.raises(InvalidArgument, match="cannot replace the directory /to/a with a file"):
        _written(_copied(context, "one", "two"), tmp_path)
    assert list(outside.iterdir()) == []


def test_many_names_and_a_wide_pattern(tmp_path: Path) -> None:
    context = tmp_path / "context"
    for number in range(300):
        (context / f"d{number % 10}").mkdir(parents=True, exist_ok=True)
        (context / f"d{number % 10}" / f"f{number}").touch()
    assert len(_copied(context, "*/*" + "[f-g0-9]" * 1 + "*", "d?/f*", "*" * 50 + "/f1*")) >= 300


def test_changes_become_the_layer_as_their_tar_says(tmp_path: Path) -> None:
    upper = tmp_path / "upper"
    (upper / "sub").mkdir(parents=True)
    (upper / "sub/file").write_text("x")
    os.link(upper / "sub/file", upper / "same")
    os.mknod(upper / "gone", stat.S_IFCHR, 0)
    (upper / "hides").mkdir()
    os.setxattr(upper / "hides", "trusted.overlay.opaque", b"y")
    os.setxattr(upper / "sub", "trusted.overlay.origin", b"note")
    os.setxattr(upper / "sub/file", "user.kept", b"1")
    os.chown(upper / "sub", 5, 6)
    target, tar = tmp_path / "layer", io.BytesIO()
    target.mkdir()
    made = take_changes(upper, target, tar)
    assert str(made.diff_id) == "sha256:" + hashlib.sha256(tar.getvalue()).hexdigest()
    assert not upper.exists() and "trusted.overlay.origin" not in os.listxattr(target / "sub")
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    unpack(io.BytesIO(tar.getvalue()), unpacked)
    ours, theirs = _described(target), _described(unpacked)
    for name in ("gone",):  # whose time nobody sees
        assert stat.S_ISCHR(ours.pop(name)[0]) and stat.S_ISCHR(theirs.pop(name)[0])  # type: ignore[arg-type]
    assert ours == theirs


def test_a_directory_that_becomes_a_link_leads_nowhere(tmp_path: Path) -> None:
    context, outside = tmp_path / "context", tmp_path / "outside"
    for directory in (context / "sub", outside):
        directory.mkdir(parents=True)
        (directory / "file").write_text(directory.name)
    placed = _copied(context, "sub")
    (context / "sub").rename(context / "was")
    (context / "sub").symlink_to(outside)
    with pytest.raises(OSError, match="symbolic links"):
        _written(placed, tmp_path)


def test_names_that_would_delete_are_in_no_layer(tmp_path: Path) -> None:
    context = tmp_path / "context"
    (context / "sub").mkdir(parents=True)
    (context / "sub/.wh.x").write_text("no whiteout")
    with pytest.raises(InvalidArgument, match=r"^to/sub/\.wh\.x cannot be in an image"):
        _written(_copied(context), tmp_path)
    with (tmp_path / "tar").open("wb") as target, pytest.raises(InvalidArgument, match=r"^sub/\.wh\.x "):
        take_changes(context, tmp_path / "taken", target)
    (context / "sub/.wh.x").rename(context / "sub/x.wh.x")
    directory, _ = _written(_copied(context), tmp_path / "context")
    assert (directory / "to/sub/x.wh.x").is_file()


def test_an_archive_that_is_added_has_no_whiteouts(tmp_path: Path) -> None:
    (tmp_path / "context").mkdir()
    with tarfile.open(tmp_path / "context/it.tar", "w") as tar:
        for name in ("x", ".wh.x"):
            tar.addfile(tarfile.TarInfo(name))
    selection = Selection(source=_CONTEXT, patterns=("it.tar",))
    step = Copy(
        text="ADD", place=_CONTEXT.place, below=None, origin=selection, destination="/to/", unpacks=None
    )
    results: dict[Step, Snapshot] = {_CONTEXT: Snapshot(layers=(tmp_path / "context",))}
    with ExitStack() as held:
        placed = list(place_copy(step, Tree([tmp_path]), results, held))
        assert sorted(item.path for item in placed) == ["to", "to/.wh.x", "to/x"]
        with pytest.raises(InvalidArgument, match=r"^to/\.wh\.x cannot be in an image"):
            _written(placed, tmp_path)


def test_of_several_files_with_one_name_the_last_one_counts(tmp_path: Path) -> None:
    context = tmp_path / "context"
    for name in ("a/f", "b/f", "c/f/x"):
        (context / name).parent.mkdir(parents=True)
        (context / name).write_text(name)
    for number, (patterns, expected) in enumerate(
        ((("a/f", "b/f"), "b/f"), (("b/f", "a/f"), "a/f"), (("a", "b"), "b/f"), (("*/f",), None))
    ):
        if expected is None:
            (context / "c/f/x").unlink()
            (context / "c/f").rmdir()
            expected = "b/f"
        room = tmp_path / str(number)
        room.mkdir()
        directory, _ = _written(_copied(context, *patterns), room)
        assert (directory / "to/f").read_text() == expected
    (context / "c/f").mkdir()
    for patterns, told in (
        (("a", "c"), "cannot copy a directory"),
        (("c", "a"), "cannot replace the directory"),
    ):
        with pytest.raises(InvalidArgument, match=told):
            _copied(context, *patterns)
