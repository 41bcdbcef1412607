"""Where copies go."""

from __future__ import annotations

import stat

import pytest

from composer.cli.management.cp import split_end
from composer.engine.container_files import go_mode
from runtime.errors import InvalidArgument
from runtime.files.archive import renamed
from runtime.files.copying import End, Placing, last_name, place

FILE, DIRECTORY = End("f"), End("d", is_directory=True)


@pytest.mark.parametrize(
    ("source", "destination", "expected"),
    [
        (FILE, End("/to", is_directory=True), Placing("/to")),
        (FILE, End("/to"), Placing("/", "f", "to")),
        (FILE, End("/a/to", is_there=False), Placing("/a", "f", "to")),
        (FILE, End("to", is_there=False), Placing(".", "f", "to")),
        (DIRECTORY, End("/to", is_directory=True), Placing("/to")),
        (DIRECTORY, End("/to", is_there=False), Placing("/", "d", "to")),
        (DIRECTORY, End("/to/", is_there=False), Placing("/", "d", "to")),
        (End("d/.", is_directory=True), End("/to", is_there=False), Placing("/", ".", "to")),
    ],
)
def test_placing(source: End, destination: End, expected: Placing) -> None:
    assert place(source, destination) == expected


@pytest.mark.parametrize(
    ("source", "destination", "message"),
    [
        (DIRECTORY, End("/to"), "cannot copy directory"),
        (FILE, End("/to/", is_there=False), "no such directory"),
        (FILE, End("/to/"), "not a directory"),
    ],
)
def test_what_cannot_be(source: End, destination: End, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        place(source, destination)


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        ("d", "d", "e", "e"),
        ("d/x", "d", "e", "e/x"),
        ("dd/x", "d", "e", "dd/x"),
        ("x", ".", "e", "e/x"),
        ("", ".", "e", "e"),
        ("d/x", "", "", "d/x"),
    ],
)
def test_names(name: str, old: str, new: str, expected: str) -> None:
    assert renamed(name, old, new) == expected


@pytest.mark.parametrize(
    ("path", "name"), [("/a/b", "b"), ("/a/b/", "b"), ("/a/.", "."), (".", "."), ("/", "/")]
)
def test_last_names(path: str, name: str) -> None:
    assert last_name(path) == name


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("c:/x", ("c", "/x")),
        ("./c:x", ("", "./c:x")),
        ("/c:x", ("", "/c:x")),
        ("-", ("", "-")),
        ("c:", ("c", "")),
    ],
)
def test_ends(text: str, end: tuple[str, str]) -> None:
    assert split_end(text) == end


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (stat.S_IFREG | 0o644, 0o644),
        (stat.S_IFDIR | 0o1777, 1 << 31 | 1 << 20 | 0o777),
        (stat.S_IFLNK | 0o777, 1 << 27 | 0o777),
        (stat.S_IFCHR | 0o4600, 1 << 26 | 1 << 21 | 1 << 23 | 0o600),
    ],
)
def test_modes_as_go_has_them(mode: int, expected: int) -> None:
    assert go_mode(mode) == expected
