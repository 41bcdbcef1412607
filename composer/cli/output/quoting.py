"""Texts in quotes, as Go writes them. Apart from templates: tables need it, and are to import little."""

from __future__ import annotations

QUOTED = {
    "\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r", "\a": "\\a", "\b": "\\b", "\f": "\\f",
    "\v": "\\v",
}  # fmt: skip


def quoted(text: str) -> str:
    """%q: a Go string literal."""
    out = [
        QUOTED.get(c)
        or (c if c.isprintable() else f"\\x{ord(c):02x}" if ord(c) < 128 else f"\\u{ord(c):04x}")
        for c in text
    ]
    return '"' + "".join(out) + '"'
