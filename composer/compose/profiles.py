"""Which services profiles enable."""

from __future__ import annotations

from collections.abc import Sequence


def is_enabled(wanted: Sequence[str], profiles: tuple[str, ...]) -> bool:
    """Whether a service of the profiles ``wanted`` is active when ``profiles`` are; the empty one is when none is."""
    return not wanted or "*" in profiles or any(p in (profiles or ("",)) for p in wanted)
