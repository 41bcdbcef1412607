"""What --chmod makes of modes."""

from __future__ import annotations

import pytest

from runtime.build.modes import parse_modes


@pytest.mark.parametrize(
    ("text", "bits", "is_directory", "result"),
    [
        ("755", 0o644, False, 0o755),
        ("4755", 0o644, False, 0o4755),
        ("u=rwX,go=rX", 0o600, False, 0o644),
        ("u=rwX,go=rX", 0o700, True, 0o755),
        ("+x", 0o644, False, 0o755),
        ("a-w,u+w", 0o666, False, 0o644),
        ("g+s", 0o755, True, 0o2755),
        ("u=rw-x", 0o777, False, 0o677),
        ("o=", 0o777, False, 0o770),
        ("o=u,g+o", 0o640, False, 0o666),
    ],
)
def test_modes(text: str, bits: int, is_directory: bool, result: int) -> None:
    assert oct(parse_modes(text)(bits, is_directory)) == oct(result)


@pytest.mark.parametrize("text", ["", "888", "rwx", "u=z", "77777"])
def test_what_is_no_mode(text: str) -> None:
    with pytest.raises(ValueError, match="chmod"):
        parse_modes(text)
