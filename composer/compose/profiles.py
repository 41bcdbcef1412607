"""Which services profiles enable."""

from __future__ import annotations

from collections.abc import Sequence


def is_enabled(wanted: Sequence[str], profiles: tuple[str, ...]) -> bool:
    """Whether a service of the profiles ``wanted`` is active when ``profiles`` are."""
    return not wanted or "*" in profiles or any(p in profiles for p in wanted)
