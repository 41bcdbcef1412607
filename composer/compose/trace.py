"""Where values come from.

A tree that is loaded with ``traced`` on consists of the classes below: they are the plain str, int, dict ... to every
stage, and carry the place they were written at. A tree that is loaded with it off is made of the plain types; loading
is twice as fast then, and since it is deterministic, whatever went wrong is loaded once more, traced, to say where.
Keys carry the place of their value too, so that booleans and nulls, which cannot be subclassed, have one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from runtime.errors import Location

Path = tuple[str | int, ...]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Origin:
    """One place; ``via`` is what brought it here (the ``extends`` or ``include`` that names its file), ``shadowed``
    what it replaced, ``variables`` those that took part in it, each with the value that it had, None for none."""

    file: str
    line: int
    column: int
    via: Origin | None = None
    shadowed: Origin | None = None
    variables: tuple[tuple[str, str | None], ...] = ()


class Key(str):
    """A key of a mapping: ``at`` its own place, ``value_at`` that of the value."""

    at: Origin
    value_at: Origin


class Text(str):
    at: Origin


class Number(int):
    at: Origin


class Real(float):
    at: Origin


class Map(dict[str, Any]):
    at: Origin


class Seq(list[Any]):
    at: Origin


_TRACED: dict[type, type] = {str: Text, int: Number, float: Real, dict: Map, list: Seq}


def placed(value: Any, at: Origin) -> Any:
    """``value`` with its origin; booleans and nulls stay as they are."""
    kind = _TRACED.get(type(value))
    if kind is None:
        if getattr(value, "at", None) is not None and not isinstance(value, Key):
            value.at = at
        return value
    made = kind(value)
    made.at = at
    return made


def like(old: Any, new: Any) -> Any:
    """``new``, which was made from ``old``, with the origin of ``old`` when that has one."""
    at = getattr(old, "at", None)
    if at is None or new is old:
        return new
    if isinstance(old, Key):
        at = old.value_at
    return placed(new, at)


def key_like(old: str, new: str) -> str:
    """A key made from a key or from an item of a list."""
    at = getattr(old, "at", None)
    if at is None:
        return new
    made = Key(new)
    made.at, made.value_at = at, getattr(old, "value_at", at)
    return made


def taking(value: Any, names: Iterable[str], values: Mapping[str, str]) -> Any:
    """``value``, in which variables took part; a key keeps it for the value behind it."""
    at = value.value_at if isinstance(value, Key) else getattr(value, "at", None)
    if at is None:
        return value
    at = replace(at, variables=tuple((name, values.get(name)) for name in names))
    if isinstance(value, Key):
        value.value_at = at
        return value
    return placed(value, at)


def own_key(mapping: dict[str, Any], name: str) -> str | None:
    """The object that is the key ``name`` in ``mapping``."""
    return next((k for k in mapping if k == name), None)


def put(mapping: dict[str, Any], key: str, value: Any) -> None:
    """Set ``key`` so that the place of the last writer counts, and what it shadows is remembered."""
    if isinstance(key, Key):
        old = own_key(mapping, key)
        if old is not None:
            if isinstance(old, Key) and old.value_at != key.value_at:
                fresh = Key(key)
                fresh.at = key.at
                fresh.value_at = behind(key.value_at, old.value_at)
                key = fresh
            del mapping[old]
    mapping[key] = value


def behind(origin: Origin, old: Origin) -> Origin:
    """``origin`` with what it shadowed, and ``old`` as the last of that."""
    if origin.shadowed is None:
        return origin if origin == old else replace(origin, shadowed=old)
    return replace(origin, shadowed=behind(origin.shadowed, old))


def shadowing(new: T, old: Any) -> T:
    """``new``, which takes the place of ``old``."""
    at, before = getattr(new, "at", None), getattr(old, "at", None)
    if at is None or before is None:
        return new
    made: T = placed(new, behind(at, before))
    return made


def key_at(name: str, at: Origin) -> Key:
    """A key that stands with its value at one place."""
    made = Key(name)
    made.at = made.value_at = at
    return made


def origin_of(tree: Any, path: Path) -> Origin | None:
    """The place of the value at ``path``, or of the nearest thing above it that has one."""
    best: Origin | None = getattr(tree, "at", None)
    node = tree
    for step in path:
        if isinstance(node, dict):
            key = own_key(node, str(step))
            if key is None:
                break
            node = node[key]
            best = key.value_at if isinstance(key, Key) else getattr(node, "at", best)
        elif isinstance(node, list) and isinstance(step, int) and 0 <= step < len(node):
            node = node[step]
            best = getattr(node, "at", best)
        else:
            break
    return best


def key_origin_of(tree: Any, path: Path) -> Origin | None:
    """The place of the key itself at ``path``."""
    node = tree
    for step in path[:-1]:
        try:
            node = node[step]
        except (KeyError, IndexError, TypeError):
            return origin_of(tree, path)
    if isinstance(node, dict):
        key = own_key(node, str(path[-1]))
        if isinstance(key, Key):
            return key.at
    return origin_of(tree, path)


def dotted(path: Path) -> str:
    """``services.web.ports[0]``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def locations(origin: Origin | None, path: Path, lines: dict[str, list[str]]) -> tuple[Location, ...]:
    """The chain of places, innermost first; ``lines``: the texts that were read, by file."""
    found: list[Location] = []
    while origin is not None:
        text = lines.get(origin.file, [])
        shown = text[origin.line - 1] if 0 < origin.line <= len(text) else ""
        place = Location(origin.file, origin.line, origin.column, dotted(path) if not found else "", shown)
        if place not in found:
            found.append(place)
        origin = origin.via
    return tuple(found)


def brought(value: Any, via: Origin) -> Any:
    """Everything in ``value`` with ``via`` at the end of its chain, in place where possible."""
    if isinstance(value, dict):
        items = list(value.items())
        value.clear()
        for key, inner in items:
            if isinstance(key, Key):
                fresh = Key(key)
                fresh.at, fresh.value_at = _chained(key.at, via), _chained(key.value_at, via)
                key = fresh
            value[key] = brought(inner, via)
    elif isinstance(value, list):
        value[:] = [brought(v, via) for v in value]
    at = getattr(value, "at", None)
    return value if at is None else placed(value, _chained(at, via))


MAX_VIA = 20
"""Places of a chain that are kept, the innermost ones."""


def _chained(origin: Origin, via: Origin, depth: int = 0) -> Origin:
    if origin.via is None:
        return replace(origin, via=via)
    if origin.via == via or depth >= MAX_VIA:
        return origin
    longer = _chained(origin.via, via, depth + 1)
    return origin if longer is origin.via else replace(origin, via=longer)


def copied(value: Any) -> Any:
    """A deep copy, keys and origins kept."""
    if isinstance(value, dict):
        made: Any = {k: copied(v) for k, v in value.items()}
    elif isinstance(value, list):
        made = [copied(v) for v in value]
    else:
        return value
    return like(value, made)
