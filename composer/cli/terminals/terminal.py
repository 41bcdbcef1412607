"""What the other end of stdout and stderr is, and colours for it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

RED, GREEN, YELLOW, BLUE, MAGENTA, CYAN = "31", "32", "33", "34", "35", "36"

LOG_COLOURS = (
    CYAN, YELLOW, GREEN, MAGENTA, BLUE,
    f"{CYAN};1", f"{YELLOW};1", f"{GREEN};1", f"{MAGENTA};1", f"{BLUE};1",
)  # fmt: skip
"""In the order in which Docker Compose gives them to containers."""


def paint(text: str, colour: str) -> str:
    """``text`` in a colour (parameters of SGR, ECMA-48); "" leaves it as it is."""
    return f"\x1b[{colour}m{text}\x1b[0m" if colour else text


def harmless(text: str) -> str:
    """Text with what could steer a terminal written out (``\\x1b``); lines and tabs stay."""
    if text.isprintable():
        return text
    return "".join(
        char
        if char.isprintable() or char in "\n\t "
        else f"\\x{ord(char):02x}"
        if ord(char) < 256
        else "\ufffd"
        for char in text
    )


def shown_of(text: str) -> str:
    """What a terminal would show of a line that a program prints: what is behind its last carriage return, without
    colours and the like."""
    if text.isprintable():
        return text
    from re import sub

    line = text.rstrip("\r\n").rpartition("\r")[2]
    line = sub(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-Z\\^-~])", "", line)
    return harmless(line.expandtabs())


def cut(text: str, room: int) -> str:
    """As much of ``text`` as ``room`` columns have, with a … when it is not all."""
    if text.isascii():
        return text if len(text) <= room else text[: max(room - 1, 0)] + "…"
    from unicodedata import combining, east_asian_width

    widths = [0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text]
    if sum(widths) <= room:
        return text
    used = kept = 0
    while kept < len(text) and used + widths[kept] <= room - 1:
        used += widths[kept]
        kept += 1
    return text[:kept] + "…"


def for_stdout(text: str) -> str:
    """What a stranger may have written (labels, templates over them): byte for byte, but on a terminal
    :func:`harmless`."""
    return harmless(text) if is_terminal(1) else text


def is_terminal(fd: int) -> bool:
    from os import isatty

    return isatty(fd)


def wants_colour(fd: int, ansi: str, env: Mapping[str, str]) -> bool:
    """Whether output on ``fd`` is coloured: ``--ansi`` decides (never, always), else NO_COLOR (no-color.org),
    TERM and whether it is a terminal."""
    if ansi == "never":
        return False
    if ansi == "always":
        return True
    return not env.get("NO_COLOR") and env.get("TERM") != "dumb" and is_terminal(fd)


def window(is_wanted: bool) -> list[int]:
    """Rows and columns for a terminal that is to be like this one; zeros for none."""
    from os import isatty

    return list(size(1)[::-1]) if is_wanted and isatty(1) else [0, 0]


def size(fd: int) -> tuple[int, int]:
    """Columns and rows; 80 and 24 when it is no terminal."""
    from os import get_terminal_size

    try:
        columns, rows = get_terminal_size(fd)
    except OSError:
        return 80, 24
    return columns or 80, rows or 24
