"""Numbers with a unit."""

from __future__ import annotations


class Duration(int):
    """Nanoseconds."""

    __slots__ = ()


class Size(int):
    """Bytes; -1 where the specification allows "unlimited"."""

    __slots__ = ()
