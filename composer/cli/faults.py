"""How errors look: the one place where they are printed."""

from __future__ import annotations

from runtime.errors import ComposerError, Location


def describe(error: ComposerError) -> str:
    """The text for an error: where and what, the line of the file with a caret, what included it, and what to
    do.

    >>> print(describe(ComposerError("no such service: wbe", hint="did you mean web?")))
    no such service: wbe
      did you mean web?
    """
    lines = []
    message = error.message.rstrip("\n")
    if error.locations:
        first, *others = error.locations
        lines.append(_headline(first, message))
        lines.extend(_excerpt(first))
        lines.extend(f"  from {place}" for place in others)
    else:
        lines.append(message)
    if error.hint:
        lines.extend(f"  {line}" for line in error.hint.splitlines())
    return "\n".join(lines)


def _headline(place: Location, message: str) -> str:
    """``compose.yaml:14:9: services.web.ports[0]: …``, without saying twice what the message says already."""
    where = str(place)
    if message.startswith(where):
        return message
    if place.path and not message.startswith(place.path):
        return f"{where}: {place.path}: {message}"
    return f"{where}: {message}"


def _excerpt(place: Location) -> list[str]:
    if not place.text:
        return []
    number = str(place.line)
    text = place.text.replace("\t", " ")
    lines = [f"  {number} | {text}"]
    if place.column:
        lines.append(f"  {' ' * len(number)} | {' ' * (place.column - 1)}^")
    return lines
