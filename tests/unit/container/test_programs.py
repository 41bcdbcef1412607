"""What a command that is not there may have been meant to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.container.failure import CANNOT_EXECUTE, NOT_FOUND, Failure
from runtime.container.programs import difference, find_program, similar_programs


@pytest.mark.parametrize(
    ("name", "other", "is_near"),
    [
        ("srv", "server", True),
        ("pyhton", "python", True),
        ("python", "python3", True),
        ("server", "srv", True),
        ("sh", "ssh", False),
        ("ls", "ld", False),
        ("redis", "ls", False),
        ("srv", "sort-every-version", False),
        ("nginx", "ngin", True),
        ("", "x", False),
    ],
)
def test_what_is_near(name: str, other: str, is_near: bool) -> None:
    assert (difference(name, other) is not None) == is_near


def program(path: Path, mode: int = 0o755) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    path.chmod(mode)
    return path


def test_similar_programs_are_named_as_path_finds_them(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    server = program(first / "server")
    program(second / "server")
    program(second / "servers", 0o644)
    program(second / "ser\x1bver")
    (second / "serve").mkdir()
    assert similar_programs("srv", [str(first), str(second), str(tmp_path / "none")]) == [str(server)]


def test_what_is_not_found_says_where_and_what_is_like_it(tmp_path: Path) -> None:
    server = program(tmp_path / "bin" / "server")
    with pytest.raises(Failure) as caught:
        find_program("srv", [f"PATH={server.parent}"], "shop:2")
    expected = f'exec: "srv": executable file not found in $PATH of image shop:2; similar: {server}'
    assert (caught.value.message, caught.value.exit_code) == (expected, NOT_FOUND)


def test_programs_with_a_path(tmp_path: Path) -> None:
    assert find_program("x", [f"PATH=/none:{program(tmp_path / 'b' / 'x').parent}"]) == f"{tmp_path}/b/x"
    for path, code in ((str(tmp_path), CANNOT_EXECUTE), (f"{tmp_path}/none", NOT_FOUND)):
        with pytest.raises(Failure) as caught:
            find_program(path, [])
        assert caught.value.exit_code == code
