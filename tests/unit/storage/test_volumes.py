"""Volumes, atomic files and the removal of trees."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.errors import ComposerError, InvalidArgument
from runtime.storage.files import directory_size, read_regular, write_atomically
from runtime.storage.removal import discard, empty_trash, remove_tree
from runtime.storage.volumes import Bind, Directory, Tmpfs, VolumeDirectories, parse_options, validate_name


@pytest.mark.parametrize("name", ["ab", "shop_data", "a.b-c_d", "0x"])
def test_names(name: str) -> None:
    assert validate_name(name) == name


@pytest.mark.parametrize("name", ["", "a", "../x", "a/b", ".hidden", "-a", "a b", "a\n", "ä1", "a" * 201])
def test_bad_names(name: str) -> None:
    with pytest.raises(InvalidArgument):
        validate_name(name)


@pytest.mark.parametrize(
    ("options", "source"),
    [
        ({}, Directory()),
        ({"type": "tmpfs", "device": "tmpfs", "o": "size=1m,uid=5"}, Tmpfs(("size=1m", "uid=5"))),
        ({"type": "none", "o": "bind", "device": "/srv/x"}, Bind("/srv/x")),
        ({"type": "none", "o": "bind,ro", "device": "/srv/../x"}, Bind("/x", True)),
    ],
)
def test_options(options: dict[str, str], source: object) -> None:
    assert parse_options("local", options) == source


@pytest.mark.parametrize(
    ("driver", "options", "message"),
    [
        ("rexray", {}, "rexray"),
        ("local", {"type": "nfs", "o": "addr=1.2.3.4", "device": ":/x"}, '"nfs" are not supported'),
        ("local", {"typ": "x"}, '"typ"'),
        ("local", {"type": "none", "o": "bind", "device": "x"}, "absolute"),
        ("local", {"type": "none", "o": "bind,evil", "device": "/x"}, "evil"),
        ("local", {"device": "/x"}, "type"),
    ],
)
def test_bad_options(driver: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        parse_options(driver, options)


def test_a_volume_is_created_once_and_removed(tmp_path: Path) -> None:
    volumes = VolumeDirectories(tmp_path / "volumes")
    assert volumes.names() == []
    assert volumes.create("data") is True
    assert volumes.create("data") is False
    (volumes.path("data") / "f").write_bytes(bytes(100_000))
    assert volumes.names() == ["data"]
    assert volumes.size("data") >= 100_000
    assert volumes.remove("data") is True
    assert volumes.remove("data") is False
    assert volumes.names() == []
    (tmp_path / "volumes/.tmp-left").mkdir()
    assert volumes.sweep() == []
    assert os.listdir(tmp_path / "volumes") == [".trash"]
    assert os.listdir(tmp_path / "volumes/.trash") == []


def test_removal_follows_no_links_and_goes_deep(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    tree = tmp_path / "tree"
    tree.mkdir()
    fd = os.open(tree, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("dddd", dir_fd=fd)
        os.symlink("/etc/passwd", "link", dir_fd=fd)
        child = os.open("dddd", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = child
    os.symlink(outside, "out", dir_fd=fd)
    os.mkfifo("fifo", dir_fd=fd)
    os.close(fd)
    for number in range(200):
        (tree / f"d{number}/e").mkdir(parents=True)
        (tree / f"d{number}/f").touch()
    remove_tree(tree)
    assert not tree.exists()
    assert (outside / "precious").exists()
    (tmp_path / "link").symlink_to(outside)
    remove_tree(tmp_path / "link")
    assert (outside / "precious").exists()
    remove_tree(tmp_path / "link")


def test_discarded_trees_are_found_again(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    discard(tmp_path / "a", tmp_path / ".trash")
    discard(tmp_path / "a", tmp_path / ".trash")
    assert not (tmp_path / "a").exists()
    assert empty_trash(tmp_path / ".trash") == []
    assert os.listdir(tmp_path / ".trash") == []


def test_atomic_write_replaces_and_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "file"
    write_atomically(target, b"one")
    write_atomically(target, b"two", mode=0o600)
    assert target.read_bytes() == b"two"
    assert target.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ComposerError, match="write"):
        write_atomically(tmp_path / "no/file", b"")
    assert os.listdir(tmp_path) == ["file"]


def test_read_regular_is_bounded_and_never_blocks(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_regular(tmp_path / "file", limit=5) == b"12345"
    with pytest.raises(ComposerError, match="larger"):
        read_regular(tmp_path / "file", limit=4)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ComposerError, match="not a regular file"):
        read_regular(tmp_path / "fifo", limit=4)
    (tmp_path / "link").symlink_to("file")
    with pytest.raises(OSError):
        read_regular(tmp_path / "link", limit=5)


def test_size_counts_hard_links_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(10**6))
    before = directory_size(tmp_path)
    os.link(tmp_path / "a", tmp_path / "b")
    assert directory_size(tmp_path) == before
    assert directory_size(tmp_path / "missing") == 0
