"""How errors are printed."""

from __future__ import annotations

from composer.cli.faults import LONGEST_EXCERPT, LONGEST_LINE, describe
from runtime.errors import ComposerError, Location


def test_the_place_the_line_the_caret_and_what_to_do() -> None:
    place = Location("compose.yaml", 3, 5, "services.web", "    imag: x")
    error = ComposerError("unknown attribute 'imag'", hint="did you mean image?", locations=(place,))
    assert describe(error).splitlines() == [
        "compose.yaml:3:5: services.web: unknown attribute 'imag'",
        "  3 |     imag: x",
        "    |     ^",
        "  did you mean image?",
    ]


def test_each_of_several_errors_has_its_line() -> None:
    one = ComposerError("no", hint="yes", locations=(Location("f", 1, 1, "", "a"),))
    two = ComposerError("neither", locations=(Location("f", 2, 1, "", "b"),))
    error = ComposerError("no\nneither")
    error.errors = (one, two)
    assert describe(error).splitlines() == [
        *("f:1:1: no", "  1 | a", "    | ^", "  yes"),
        *("f:2:1: neither", "  2 | b", "    | ^"),
    ]


def test_what_led_there_comes_behind() -> None:
    places = (Location("base.yaml", 2, 3), Location("compose.yaml", 7, 1))
    text = describe(ComposerError("no", locations=places))
    assert text.splitlines() == ["base.yaml:2:3: no", "  from compose.yaml:7:1"]


def test_a_tab_is_one_column() -> None:
    text = describe(ComposerError("no", locations=(Location("f", 1, 3, "", "\t\tx: y"),)))
    assert text.splitlines()[1:] == ["  1 |   x: y", "    |   ^"]


def test_of_a_long_line_the_part_around_the_caret() -> None:
    line = "a" * 5000 + "HERE" + "b" * 5000
    shown, caret = describe(ComposerError("no", locations=(Location("f", 1, 5001, "", line),))).splitlines()[
        1:
    ]
    assert len(shown) < LONGEST_EXCERPT + 20
    assert shown[caret.index("^") :].startswith("HERE")


def test_a_long_line_with_the_mistake_at_its_beginning() -> None:
    shown, caret = describe(
        ComposerError("no", locations=(Location("f", 1, 3, "", "x: y" + "z" * 500),))
    ).splitlines()[1:]
    assert shown.startswith("  1 | x: yz")
    assert caret == "    |   ^"


def test_a_message_is_never_endless() -> None:
    assert len(describe(ComposerError("x" * 100_000))) == LONGEST_LINE + 1


def test_a_terminal_is_not_steered() -> None:
    error = ComposerError("answered \x1b[2J\x07 \x9b31m\ttext", hint="try\x1b]0;x\x07")
    assert describe(error) == "answered \\x1b[2J\\x07 \\x9b31m\ttext\n  try\\x1b]0;x\\x07"
