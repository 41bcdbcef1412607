"""How errors look: the one place where they are printed."""

from __future__ import annotations

from composer.cli.terminals.terminal import harmless
from runtime.errors import ComposerError, Location

LONGEST_EXCERPT = 160
"""Characters of a file's line that are shown."""
LONGEST_LINE = 2000
"""Characters of a line of a message that are shown."""


def describe(error: ComposerError) -> str:
    """The text for an error: where and what, the line of the file with a caret, what included it, and what to
    do; of several errors one after the other.

    >>> print(describe(ComposerError("no such service: wbe", hint="did you mean web?")))
    no such service: wbe
      did you mean web?
    """
    if error.errors:
        return "\n".join(describe(one) for one in error.errors)
    lines = []
    message = "\n".join(map(_shortened, error.message.rstrip("\n").split("\n")))
    if error.locations:
        first, *others = error.locations
        lines.append(_headline(first, message))
        lines.extend(_excerpt(first))
        lines.extend(f"  from {place}" for place in others)
    else:
        lines.append(message)
    if error.hint:
        lines.extend(f"  {harmless(line)}" for line in error.hint.splitlines())
    return "\n".join(lines)


def _shortened(line: str) -> str:
    """What others have written into it (registries, images) does nothing to a terminal."""
    return harmless(line if len(line) <= LONGEST_LINE else line[:LONGEST_LINE] + "…")


def _headline(place: Location, message: str) -> str:
    """``compose.yaml:14:9: services.web.ports[0]: …``, without saying twice what the message says already."""
    where = str(place)
    if message.startswith(where):
        return message
    if place.path and not message.startswith(place.path):
        return f"{where}: {place.path}: {message}"
    return f"{where}: {message}"


def _excerpt(place: Location) -> list[str]:
    """The line with a caret; of a long line the part around it."""
    if not place.text:
        return []
    number = str(place.line)
    text, column = place.text.replace("\t", " "), place.column
    start = max(0, column - LONGEST_EXCERPT // 2) if len(text) > LONGEST_EXCERPT else 0
    if start:
        text, column = "…" + text[start:], column - start + 1
    if len(text) > LONGEST_EXCERPT:
        text = text[:LONGEST_EXCERPT] + "…"
    lines = [f"  {number} | {text}"]
    if place.column:
        lines.append(f"  {' ' * len(number)} | {' ' * (column - 1)}^")
    return lines
