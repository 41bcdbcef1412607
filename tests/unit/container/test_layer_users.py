"""Who a user is by the files of an image's layers."""

from __future__ import annotations

import os
from pathlib import Path

from runtime.container import layer_users, scripting

PASSWD = "root:x:0:0:root:/root:/bin/sh\napp:x:77:78::/srv:/bin/sh\n"
GROUP = "root:x:0:\nmore:x:99:app\n"


def make(directory: Path, **files: str) -> str:
    (directory / "etc").mkdir(parents=True)
    for name, text in files.items():
        (directory / "etc" / name).write_text(text)
    return str(directory)


def test_of_several_layers_the_topmost_has_it(tmp_path: Path) -> None:
    top = make(tmp_path / "top", passwd=PASSWD)
    bottom = make(tmp_path / "bottom", passwd="app:x:1:1::/:/bin/sh\n", group=GROUP)
    found = layer_users.find(str(tmp_path / "none"), (top, bottom), "app", ())
    assert found is not None
    identity, seen = found
    assert identity == (77, 78, (78, 99), "/srv")
    inodes = [os.stat(f"{layer}/etc/{name}").st_ino for layer, name in ((top, "passwd"), (bottom, "group"))]
    assert [dict(parts)[scripting.INODE] for parts in seen] == [n.to_bytes(8, "little") for n in inodes]


def test_what_was_written_comes_first(tmp_path: Path) -> None:
    layer = make(tmp_path / "layer", passwd=PASSWD, group=GROUP)
    upper = make(tmp_path / "upper", passwd="app:x:5:6::/own:/bin/sh\n")
    found = layer_users.find(upper, (layer,), "app", ("more",))
    assert found is not None
    assert found[0] == (5, 6, (6, 99), "/own")


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    layer = make(tmp_path / "layer", group=GROUP)
    upper = make(tmp_path / "upper", passwd=PASSWD)
    before = layer_users.find(upper, (layer,), "app", ())
    (tmp_path / "upper/etc/new").write_text("app:x:5:6::/own:/bin/sh\n")
    os.rename(tmp_path / "upper/etc/new", tmp_path / "upper/etc/passwd")
    after = layer_users.find(upper, (layer,), "app", ())
    assert before is not None and after is not None
    assert (before[0].uid, after[0].uid) == (77, 5)
    assert before[1] != after[1]


def test_nothing_there_is_known_too(tmp_path: Path) -> None:
    found = layer_users.find(str(tmp_path), (str(tmp_path),), "7", ())
    assert found is not None
    assert (found[0].uid, found[1]) == (7, [(), ()])


def test_no_link_is_followed(tmp_path: Path) -> None:
    """It would lead to files of this machine."""
    host = make(tmp_path / "host", passwd=PASSWD, group=GROUP)
    (tmp_path / "directory").mkdir()
    os.symlink(f"{host}/etc", tmp_path / "directory/etc")
    make(tmp_path / "file")
    os.symlink(f"{host}/etc/passwd", tmp_path / "file/etc/passwd")
    for layer in ("directory", "file"):
        assert layer_users.find("", (str(tmp_path / layer),), "app", ()) is None


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    make(tmp_path / "layer")
    os.mkfifo(tmp_path / "layer/etc/passwd")
    assert layer_users.find("", (str(tmp_path / "layer"),), "", ()) is None


def test_who_is_not_in_it_is_left_to_who_can_say_so(tmp_path: Path) -> None:
    layer = make(tmp_path / "layer", passwd=PASSWD)
    assert layer_users.find("", (layer,), "nobody", ()) is None


def test_large_files_are_left_to_the_container(tmp_path: Path) -> None:
    """The core would do nothing else meanwhile: an image may have one that takes seconds to look through."""
    large = GROUP + "a\n" * 40_000
    layer = make(tmp_path / "layer", passwd=PASSWD, group=large)
    assert layer_users.find("", (layer,), "app", ("more",)) is None


def test_numbers_of_thousands_of_digits_are_none(tmp_path: Path) -> None:
    layer = make(tmp_path / "layer", passwd=f"app:x:{'0' * 5000}:1::/:\n{PASSWD}", group=GROUP)
    found = layer_users.find("", (layer,), "app", ())
    assert found is not None
    assert found[0].uid == 77
