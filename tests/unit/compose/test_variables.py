"""Which variables a file names."""

from __future__ import annotations

import pytest

from composer.compose.variables import Variable, variables_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$A and ${B}", [Variable("A"), Variable("B")]),
        ("$$A $${B}", []),
        ("${A:-x} ${B:-y} }", [Variable("A", default="x"), Variable("B", default="y")]),
        (
            "${A:-${B}c${D:+e}}",
            [Variable("A", default="${B}c${D:+e}"), Variable("B"), Variable("D", alternative="e")],
        ),
        ('${A:-{"json":1}}', [Variable("A", default='{"json":1}')]),
        ("${A:?no ${B}}", [Variable("A", is_required=True), Variable("B")]),
        ("$A ${A-x}", [Variable("A", default="x")]),
        ("${A", []),
    ],
)
def test_variables(text: str, expected: list[Variable]) -> None:
    assert list(variables_of({"a": [text]}).values()) == expected
