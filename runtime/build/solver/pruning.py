"""What of a build cache is to go: what filters name, and the longest unused until the rest is small enough. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from runtime.errors import InvalidArgument

TYPES = ("regular", "exec.cachemount", "source.http")
_SECOND = 10**9
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_FILTERS = ("id", "type", "description", "until", "unused-for", "shared", "private", "inuse")


@dataclass(frozen=True, kw_only=True)
class CacheEntry:
    """Something that the cache keeps. Times in ns, sizes in bytes."""

    id: str
    type: str
    description: str
    size: int
    created: int
    used: int
    uses: int = 0
    depth: int = 0
    """How many layers are below."""
    is_shared: bool = False
    """An image has it, too: removing it frees nothing."""
    is_in_use: bool = False
    """By a build that goes on."""
    parents: tuple[str, ...] = ()


Condition = Callable[[CacheEntry], bool]


def parse_conditions(filters: Mapping[str, Sequence[str]], now: int) -> Condition:
    """``--filter``: values of one key are alternatives, keys have all to be met; ``key!`` is the contrary, ``key~`` a
    regular expression. Raises InvalidArgument."""
    conditions: list[Condition] = []
    for key, values in filters.items():
        name = key.rstrip("!~")
        if name not in _FILTERS:
            raise InvalidArgument(f"invalid filter {key!r}", hint=f"there are {', '.join(_FILTERS)}")
        found = [_condition(name, value, now, key.endswith("~")) for value in values]
        is_contrary = key.endswith("!")
        conditions.append(lambda entry, found=found, no=is_contrary: any(c(entry) for c in found) != no)  # type: ignore[misc]
    return lambda entry: all(condition(entry) for condition in conditions)


def _condition(name: str, value: str, now: int, is_pattern: bool) -> Condition:
    if name in ("until", "unused-for"):
        bound = now - _duration(value)
        return lambda entry: entry.used < bound
    if name in ("shared", "private", "inuse"):
        wanted = value.lower() in ("", "true", "1")
        match name:
            case "shared":
                return lambda entry: entry.is_shared == wanted
            case "private":
                return lambda entry: entry.is_shared != wanted
        return lambda entry: entry.is_in_use == wanted
    field = {"id": "id", "type": "type", "description": "description"}[name]
    if is_pattern:
        try:
            regex = re.compile(value)
        except re.error as error:
            raise InvalidArgument(f"invalid filter {name}~={value}: {error}") from None
        return lambda entry: regex.search(getattr(entry, field)) is not None
    if name == "id":
        return lambda entry: entry.id.startswith(value.removeprefix("sha256:"))
    return lambda entry: getattr(entry, field) == value


def _duration(text: str) -> int:
    """ns of ``24h`` and the like. Raises InvalidArgument."""
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise InvalidArgument(f"invalid duration {text!r}", hint="as 24h or 90m")
    return int(sum(float(number) * _UNITS[unit] for number, unit in parts) * _SECOND)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much of a cache may stay, in bytes; 0: nothing is said."""

    reserved: int = 0
    """So much stays in any case."""
    most: int = 0
    free: int = 0
    """The disk is to have so much left."""

    def keep(self, total: int, disk_free: int) -> int | None:
        """How much of ``total`` stays; None: nothing has to."""
        if not (self.reserved or self.most or self.free):
            return None
        kept = self.most or (total if self.free else 0)
        if self.free:
            kept = min(kept, max(0, total - max(0, self.free - disk_free)))
        return max(kept, self.reserved)


NO_LIMITS = Limits()


def to_remove(
    entries: Iterable[CacheEntry],
    *,
    condition: Condition = lambda _: True,
    everything: bool = False,
    keep: int | None = None,
) -> list[CacheEntry]:
    """What goes, the longest unused first, what is on others before these. What a build uses stays, and without
    ``everything`` what images have, too. ``keep``: stop when no more than that many bytes are left of what could go."""
    candidates = [entry for entry in entries if not entry.is_in_use and (everything or not entry.is_shared)]
    left = sum(entry.size for entry in candidates)
    found: list[CacheEntry] = []
    for entry in sorted(candidates, key=lambda entry: (entry.used, -entry.depth)):
        if keep is not None and left <= keep:
            break
        if condition(entry):
            found.append(entry)
            left -= entry.size
    return found
