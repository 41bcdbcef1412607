"""Which services profiles enable."""

from __future__ import annotations

import pytest

from composer.compose.profiles import is_enabled


@pytest.mark.parametrize(
    ("wanted", "active", "expected"),
    [
        ((), (), True),
        ((), ("dev",), True),
        (("dev",), (), False),
        (("dev", "test"), ("test",), True),
        (("dev",), ("*",), True),
        (("",), (), True),
        (("",), ("dev",), False),
    ],
)
def test_enabled(wanted: tuple[str, ...], active: tuple[str, ...], expected: bool) -> None:
    assert is_enabled(wanted, active) is expected
