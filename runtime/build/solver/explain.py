"""Why a step was done, or not: what it depended on the last time, compared with now. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

BELOW = "what is below"
FILES = "the files of "
_SHOWN = 5

Outcome = Literal["cached", "imported", "built"]


class Trace(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a step at one place of a Dockerfile depended on, part by part, as digests; of files that it read, too."""

    text: str
    parts: dict[str, str]
    files: dict[str, str] = {}


def explain(before: Trace | None, now: Trace, outcome: Outcome, *, is_fresh: bool = False) -> str:
    """A sentence for people."""
    if outcome == "imported":
        return "a cache elsewhere has it"
    if outcome == "cached":
        if before is None:
            return "an equal step was done before"
        return "nothing that it depends on has changed" if before == now else "what it reads was there before"
    if is_fresh:
        return "it was asked for: --no-cache or --no-cache-filter"
    if before is None:
        return "it was never done here before"
    reasons = _reasons(before, now)
    return "; ".join(reasons) if reasons else "nothing has changed, but its result is no longer in the cache"


def _reasons(before: Trace, now: Trace) -> list[str]:
    found: list[str] = []
    if before.text != now.text:
        found.append(f"the instruction was {before.text!r}")
    names = [*now.parts, *(name for name in before.parts if name not in now.parts)]
    for name in names:
        if before.parts.get(name) == now.parts.get(name) or name == BELOW:
            continue
        if name.startswith(FILES):
            if name in before.parts and name in now.parts:
                found.append(_files(before.files, now.files) or f"{name} have changed")
            continue
        if before.text != now.text and not name.startswith("the variable"):
            continue
        how = "has changed" if name in before.parts and name in now.parts else "is new"
        found.append(f"{name} {how if name in now.parts else 'is gone'}")
    if before.parts.get(BELOW) != now.parts.get(BELOW):
        found.append("what it is put on has changed")
    return found


def _files(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    if not before or not now:
        return ""
    changes = [
        f"{path} {'is new' if path not in before else 'is gone' if path not in now else 'has changed'}"
        for path in sorted(before.keys() | now.keys())
        if before.get(path) != now.get(path)
    ]
    more = f" and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
    return ", ".join(changes[:_SHOWN]) + more
