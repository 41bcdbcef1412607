"""What a command that is not there may have been meant to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.container.failure import CANNOT_EXECUTE, NOT_FOUND, Failure
from runtime.container.programs import find_program, similar_programs


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
    assert similar_programs("serer", [str(first), str(second), str(tmp_path / "none")]) == [str(server)]


def test_what_is_not_like_it_is_not_named(tmp_path: Path) -> None:
    for name in ("touch", "ssh", "ld"):
        program(tmp_path / "bin" / name)
    assert not [
        found for name in ("nosuch", "sh", "ls") for found in similar_programs(name, [f"{tmp_path}/bin"])
    ]


def test_what_is_not_found_says_where_and_what_is_like_it(tmp_path: Path) -> None:
    server = program(tmp_path / "bin" / "server")
    with pytest.raises(Failure) as caught:
        find_program("sever", [f"PATH={server.parent}"], "shop:2")
    expected = f'exec: "sever": executable file not found in $PATH of image shop:2; similar: {server}'
    assert (caught.value.message, caught.value.exit_code) == (expected, NOT_FOUND)


def test_programs_with_a_path(tmp_path: Path) -> None:
    assert find_program("x", [f"PATH=/none:{program(tmp_path / 'b' / 'x').parent}"]) == f"{tmp_path}/b/x"
    for path, code in ((str(tmp_path), CANNOT_EXECUTE), (f"{tmp_path}/none", NOT_FOUND)):
        with pytest.raises(Failure) as caught:
            find_program(path, [])
        assert caught.value.exit_code == code
