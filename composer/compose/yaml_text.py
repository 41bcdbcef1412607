"""YAML text to trees, as Compose takes YAML: 1.2 scalars, merge keys, anchors, ``!reset`` and ``!override``.

Made from libyaml's events. Keys must be strings and unique, an alias must not contain itself, and what aliases
expand to is bounded, so that a small file cannot fill the memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

try:
    from yaml.cyaml import CParser as _Parser  # type: ignore[attr-defined]
except ImportError:  # a PyYAML that was built without libyaml
    from yaml import Loader as _Parser  # type: ignore[assignment]

from composer.compose.problem import Problem
from composer.compose.trace import Key, Map, Origin, Path, Seq, copied, key_like, own_key, placed
from composer.compose.yaml_scalars import plain_scalar, tagged_scalar
from runtime.nearest import nearest

MAX_DEPTH = 150
_WIDE = (b"\xff\xfe", b"\xfe\xff")
"""How UTF-16 begins."""
MAX_COPIED = 200_000
"""Values that aliases of one document may expand to."""


class Reset:
    """What ``!reset`` leaves in a tree: drop the value here, and in what this is merged onto."""

    __slots__ = ("at",)

    def __init__(self, at: Origin | None = None) -> None:
        self.at = at


class Override:
    """What ``!override`` leaves in a tree: ``value`` replaces what this is merged onto."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


@dataclass(slots=True)
class Document:
    """One document. ``dropped``: paths of ``!reset`` and ``!override``, to be removed from the base."""

    tree: Any
    dropped: tuple[Path, ...] = ()
    at: Origin | None = None


def parse_documents(data: bytes, file: str, *, traced: bool) -> list[Document]:
    """The documents of a YAML text; none for a text without any, such as one of comments alone.

    Raises :class:`Problem` with the place for what is not YAML, not UTF-8, or refused.
    """
    try:
        text = data.decode("utf-16" if data.startswith(_WIDE) else "utf-8-sig")
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise Problem(
            f"the file is not {e.encoding.upper()} (byte 0x{data[e.start]:02x})",
            at=Origin(file, line, e.start - data.rfind(b"\n", 0, e.start)),
            hint="save it as UTF-8",
        ) from None
    try:
        return _Builder(text, file, traced).documents()
    except yaml.MarkedYAMLError as e:
        raise _unreadable(text, file, e) from None
    except yaml.YAMLError as e:
        raise Problem(f"not valid YAML: {str(e).splitlines()[0]}", at=_bad_place(text, file, e)) from None
    except RecursionError:
        raise Problem("nested too deeply", at=Origin(file, 0, 0)) from None


def _unreadable(text: str, file: str, e: yaml.MarkedYAMLError) -> Problem:
    from composer.compose.yaml_mistakes import Complaint, diagnose

    place, context = e.problem_mark or e.context_mark, e.context_mark
    complaint = Complaint(
        e.problem or str(e),
        place.line + 1 if place else 0,
        place.column + 1 if place else 0,
        e.context or "",
        context.line + 1 if context else 0,
        context.column + 1 if context else 0,
    )
    found = diagnose(text, complaint)
    return Problem(
        f"not valid YAML: {found.message}", at=Origin(file, found.line, found.column), hint=found.hint
    )


def _bad_place(text: str, file: str, e: yaml.YAMLError) -> Origin:
    position = getattr(e, "position", None)
    if not isinstance(position, int):
        return Origin(file, 0, 0)
    return Origin(file, text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position))


class _Builder:
    def __init__(self, text: str, file: str, traced: bool) -> None:
        self.parser = _Parser(text)
        self.next: Any = self.parser.get_event
        self.file = file
        self.traced = traced
        self.anchors: dict[str, Any] = {}
        self.open: set[str] = set()
        self.copied = 0
        self.depth = 0
        self.tagged = False

    def documents(self) -> list[Document]:
        found: list[Document] = []
        while True:
            event = self.next()
            kind = type(event)
            if kind is StreamEndEvent:
                return found
            if kind is not DocumentStartEvent:
                continue
            self.anchors.clear()
            self.tagged = False
            first = self.next()
            if type(first) is DocumentEndEvent:
                continue
            value = self.value(first)
            if type(value) is Reset:
                value = None
            elif type(value) is Override:
                value = value.value
            dropped: list[Path] = []
            if self.tagged:
                value = _untagged(value, (), dropped)
            found.append(Document(value, tuple(dropped), self.origin(first)))

    def origin(self, event: Any) -> Origin:
        mark = event.start_mark
        return Origin(self.file, mark.line + 1, mark.column + 1)

    def value(self, event: Any) -> Any:
        kind = type(event)
        if kind is ScalarEvent:
            value = self.scalar(event)
        elif kind is MappingStartEvent:
            value = self.mapping(event)
        elif kind is SequenceStartEvent:
            value = self.sequence(event)
        elif kind is AliasEvent:
            return self.alias(event)
        else:
            raise Problem("not valid YAML here", at=self.origin(event))
        if event.anchor is not None:
            self.anchors[event.anchor] = value
            self.open.discard(event.anchor)
        tag = event.tag
        if tag is not None:
            if tag == "!reset":
                self.tagged = True
                return Reset(self.origin(event))
            if tag == "!override":
                self.tagged = True
                return Override(value)
        return value

    def scalar(self, event: Any) -> Any:
        text = event.value
        tag = event.tag
        if tag is None:
            if not event.implicit[0]:
                value: Any = text
            else:
                value = plain_scalar(text)
        elif tag == "!":
            value = text if event.style else plain_scalar(text)
        else:
            value = tagged_scalar(tag, text)
            if value is NotImplemented:
                raise Problem(f"{text!r} is not a {tag.rsplit(':')[-1]}", at=self.origin(event))
        if value is NotImplemented:
            raise Problem(
                f"{text} is a date to YAML, which no attribute takes",
                at=self.origin(event),
                hint=f'quote it: "{text}"',
            )
        return placed(value, self.origin(event)) if self.traced else value

    def enter(self, event: Any) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Problem(f"nested deeper than {MAX_DEPTH} levels", at=self.origin(event))
        if event.anchor is not None:
            self.open.add(event.anchor)

    def sequence(self, event: Any) -> list[Any]:
        self.enter(event)
        made: list[Any] = Seq() if self.traced else []
        if self.traced:
            made.at = self.origin(event)  # type: ignore[attr-defined]
        while True:
            item = self.next()
            if type(item) is SequenceEndEvent:
                break
            made.append(self.value(item))
        self.depth -= 1
        return made

    def mapping(self, event: Any) -> dict[str, Any]:
        self.enter(event)
        made: dict[str, Any] = Map() if self.traced else {}
        if self.traced:
            made.at = self.origin(event)  # type: ignore[attr-defined]
        merged: list[tuple[Any, Any]] = []
        following = self.next
        while True:
            key_event = following()
            if type(key_event) is MappingEndEvent:
                break
            if type(key_event) is ScalarEvent and key_event.tag is None:
                text = key_event.value
                if key_event.implicit[0]:
                    if text == "<<":
                        if merged:
                            self.refuse_twice(key_event, "<<", self.origin(merged[0][0]))
                        merged.append((key_event, self.value(following())))
                        continue
                    if not _is_text(text):
                        self.refuse_key(key_event, plain_scalar(text))
                key: str = text
                if key_event.anchor is not None:
                    self.anchors[key_event.anchor] = key
            else:
                found = self.value(key_event)
                if not isinstance(found, str):
                    self.refuse_key(key_event, found)
                key = str(found)
            if key in made:
                self.refuse_twice(key_event, key, getattr(own_key(made, key), "at", None))
            value_event = following()
            if self.traced:
                traced = Key(key)
                traced.at, traced.value_at = self.origin(key_event), self.origin(value_event)
                key = traced
            made[key] = self.value(value_event)
        for at, value in merged:
            self.merge(made, at, value)
        self.depth -= 1
        return made

    def merge(self, made: dict[str, Any], key_event: Any, value: Any) -> None:
        """``<<``: what the mapping itself says wins, then earlier mappings of the list."""
        if isinstance(value, Override):
            value = value.value
        sources = value if isinstance(value, list) else [value]
        for source in sources:
            if isinstance(source, Override):
                source = source.value
            if not isinstance(source, dict):
                raise Problem(
                    "map merge requires map or sequence of maps as the value", at=self.origin(key_event)
                )
            for key, inner in source.items():
                if key not in made:
                    made[key] = inner

    def refuse_twice(self, event: Any, key: str, first: Origin | None) -> None:
        at = self.origin(event)
        where = ""
        if first is not None:
            where = f" on line {first.line}" if first.line != at.line else f" in column {first.column}"
        several = "; << takes a list of mappings, too" if key == "<<" else ""
        raise Problem(
            f'mapping key "{key}" is already defined{where}',
            at=at,
            hint=f"keep one of the two{several}",
        )

    def refuse_key(self, event: Any, value: Any) -> None:
        shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        raise Problem(
            f"non-string key: {shown}"
            if not isinstance(value, dict | list)
            else "a mapping or a list cannot be a key",
            at=self.origin(event),
            hint=f'quote it: "{event.value}"'
            if type(event) is ScalarEvent
            else "text that begins with a bracket or a brace is quoted",
        )

    def alias(self, event: Any) -> Any:
        name = event.anchor
        if name in self.open:
            raise Problem(f"anchor '{name}' value contains itself", at=self.origin(event))
        if name not in self.anchors:
            close = nearest(name, self.anchors)
            raise Problem(
                f"unknown anchor '{name}' referenced",
                at=self.origin(event),
                hint=f"did you mean *{close}?"
                if close
                else f'&{name} has to stand in front of a value above; text that begins with * is quoted: "*{name}"',
            )
        value = self.anchors[name]
        if isinstance(value, dict | list):
            self.copied += _count(value)
            if self.copied > MAX_COPIED:
                raise Problem("document contains excessive aliasing", at=self.origin(event))
            return copied(value)
        return value


def _is_text(text: str) -> bool:
    return type(plain_scalar(text)) is str


def _count(value: Any) -> int:
    """Number of values in ``value``."""
    total, waiting = 0, [value]
    while waiting:
        node = waiting.pop()
        total += 1
        if isinstance(node, dict):
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)
        elif isinstance(node, Override):
            waiting.append(node.value)
        if total > MAX_COPIED:
            break
    return total


def _untagged(value: Any, path: Path, dropped: list[Path]) -> Any:
    """``value`` without its tags; where they were goes to ``dropped``."""
    if isinstance(value, dict):
        for key in list(value):
            inner = value[key]
            if type(inner) is Reset:
                dropped.append((*path, str(key)))
                del value[key]
                continue
            if type(inner) is Override:
                dropped.append((*path, str(key)))
                inner = inner.value
            value[key] = _untagged(inner, (*path, str(key)), dropped)
        return value
    if isinstance(value, list):
        value[:] = [
            _untagged(v.value if type(v) is Override else v, (*path, i), dropped)
            for i, v in enumerate(value)
            if type(v) is not Reset
        ]
    return value


def drop_paths(tree: Any, dropped: tuple[Path, ...]) -> None:
    """Remove the values at ``dropped`` from a tree that the document is about to be merged onto."""
    for path in dropped:
        node = tree
        for step in path[:-1]:
            node = node.get(step) if isinstance(node, dict) else None
            if node is None:
                break
        if isinstance(node, dict):
            node.pop(path[-1], None)


__all__ = ["Document", "drop_paths", "key_like", "parse_documents"]
