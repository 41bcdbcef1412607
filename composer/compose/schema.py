"""Validation against ``schemas/compose.json``: a fast yes or no, and an explanation only after a no.

The schema uses a small part of JSON Schema, and what reads it is here: a validator from a library costs more to import
and to build than a whole small project takes to load, its errors speak of schemas rather than of Compose, and it does
not know the traced values of :mod:`composer.compose.trace`. Only those parts of the schema are compiled that a file
touches.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

from composer.compose.problem import Problem, raise_all
from composer.compose.trace import Path, dotted
from runtime.nearest import nearest

Node = dict[str, Any]
Check = Callable[[Any], bool]

_KINDS: dict[str, Check] = {
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "number": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
    "integer": lambda v: (
        (isinstance(v, int) and not isinstance(v, bool)) or (isinstance(v, float) and v.is_integer())
    ),
}
_WORDS = {
    "string": "a string",
    "boolean": "true or false",
    "null": "nothing",
    "object": "a mapping",
    "array": "a list",
    "number": "a number",
    "integer": "a whole number",
}


def validate(tree: dict[str, Any], *, partial: bool = False) -> None:
    """Hold the tree against the schema; ``partial`` lets required attributes be absent.

    Raises :class:`Problem` with everything that is wrong attached.
    """
    if _compiled("", partial)(tree):
        return
    problems: list[Problem] = []
    _explain(load_schema(), tree, (), problems, partial, tree)
    if not problems:
        problems.append(Problem("this is not a valid Compose file", (), tree=tree))
    raise_all(problems)


@cache
def load_schema() -> Node:
    """``schemas/compose.json``."""
    import json
    from pkgutil import get_data

    schema: Node = json.loads(get_data("schemas", "compose.json") or b"")
    return schema


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)


@cache
def _compiled(reference: str, partial: bool) -> Check:
    return _compile(_resolve(reference), partial)


def _resolve(reference: str) -> Node:
    """The node that ``#/definitions/x`` names; the whole schema for ""."""
    if not reference:
        return load_schema()
    node: Node = load_schema()["definitions"][reference.rpartition("/")[2]]
    return node


def _replaced(node: Node) -> Node:
    """What holds once variables have their values: before that an editor lets one stand where words are listed."""
    return {**node, **node["anyOf"][0]} if "anyOf" in node else node


def _compile(node: Node, partial: bool) -> Check:
    node = _replaced(node)
    if "$ref" in node:
        reference: str = node["$ref"]
        return lambda v: _compiled(reference, partial)(v)
    checks: list[Check] = []
    if "type" in node:
        checks.append(_type_check(node["type"]))
    if "properties" in node or "patternProperties" in node or node.get("additionalProperties") is False:
        checks.append(_object_check(node, partial))
    if "items" in node:
        checks.append(_items_check(node["items"], partial))
    if node.get("uniqueItems"):
        checks.append(_is_unique)
    if "required" in node and not partial:
        required: list[str] = node["required"]
        checks.append(lambda v: not isinstance(v, dict) or all(k in v for k in required))
    if "enum" in node:
        allowed = frozenset(node["enum"])
        checks.append(lambda v: isinstance(v, str) and v in allowed)
    if "pattern" in node:
        pattern = _pattern(node["pattern"])
        checks.append(lambda v: not isinstance(v, str) or pattern.search(v) is not None)
    if "minimum" in node or "maximum" in node:
        low, high = node.get("minimum", float("-inf")), node.get("maximum", float("inf"))
        checks.append(lambda v: not _KINDS["number"](v) or low <= v <= high)
    if "oneOf" in node:
        branches = [_compile(branch, partial) for branch in node["oneOf"]]
        checks.append(lambda v: any(branch(v) for branch in branches))
    if len(checks) == 1:
        return checks[0]
    return lambda v: all(check(v) for check in checks)


def _type_check(types: str | list[str]) -> Check:
    if isinstance(types, str):
        return _KINDS[types]
    kinds = [_KINDS[t] for t in types]
    return lambda v: any(kind(v) for kind in kinds)


def _object_check(node: Node, partial: bool) -> Check:
    properties: dict[str, Node] = node.get("properties", {})
    patterns = [(_pattern(p), n) for p, n in node.get("patternProperties", {}).items()]
    is_open = node.get("additionalProperties") is not False
    known: dict[str, Check] = {}
    by_pattern: dict[str, Check] = {}

    def check(value: Any) -> bool:
        if not isinstance(value, dict):
            return True
        for key, inner in value.items():
            test = known.get(key)
            if test is None:
                found = properties.get(key)
                if found is not None:
                    test = known[key] = _compile(found, partial)
                else:
                    for pattern, wanted in patterns:
                        if pattern.search(key):
                            test = by_pattern.get(pattern.pattern)
                            if test is None:
                                test = by_pattern[pattern.pattern] = _compile(wanted, partial)
                            break
                    else:
                        if is_open:
                            continue
                        return False
            if not test(inner):
                return False
        return True

    return check


def _items_check(node: Node, partial: bool) -> Check:
    each = _compile(node, partial)
    return lambda v: not isinstance(v, list) or all(each(item) for item in v)


def _is_unique(value: Any) -> bool:
    return not isinstance(value, list) or _repeated(value) is None


def _repeated(value: list[Any]) -> int | None:
    """Index of the first item that is there before it. 1 and 1.0 are the same, 1 and true are not; as in Docker
    Compose a number is the same as a string in front of it, but not as one behind it."""
    seen: set[Any] = set()
    kept: list[Any] = []
    for i, item in enumerate(value):
        if isinstance(item, dict | list):
            if item in kept:
                return i
            kept.append(item)
            continue
        is_whole = isinstance(item, float) and item.is_integer()
        shown = str(int(item)) if is_whole else str(item)
        kind = str if isinstance(item, str) else bool if isinstance(item, bool) else int
        if (kind, shown) in seen or (kind is int and (str, shown) in seen):
            return i
        seen.add((kind, shown))
    return None


def _explain(node: Node, value: Any, path: Path, found: list[Problem], partial: bool, tree: Any) -> None:
    """Add what is wrong with ``value`` to ``found``."""

    def say(message: str, hint: str = "", at: Path = path, at_key: bool = False) -> None:
        found.append(Problem(message, at, hint=hint, tree=tree, at_key=at_key))

    while "$ref" in node:
        node = _resolve(node["$ref"])
    node = _replaced(node)
    if "oneOf" in node:
        _explain_choice(node["oneOf"], value, path, found, partial, tree)
        return
    if "type" in node and not _type_check(node["type"])(value):
        types = node["type"] if isinstance(node["type"], list) else [node["type"]]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        is_duration = is_number and node.get("format") == "duration"
        hint = f"with a unit: {_shown(value)}s" if is_duration else _type_hint(value, types, path)
        say(f"must be {_either([_WORDS[t] for t in types])}, not {_shown(value)}", hint)
        return
    if isinstance(value, dict):
        _explain_mapping(node, value, path, found, partial, tree)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            if "items" in node:
                _explain(node["items"], item, (*path, i), found, partial, tree)
        if node.get("uniqueItems") and (again := _repeated(value)) is not None:
            say(f"{_shown(value[again])} is there twice", "keep one of them", (*path, again))
    elif "enum" in node and value not in node["enum"]:
        close = nearest(str(value), node["enum"]) or next(
            (known for known in node["enum"] if value and known.endswith(f"_{value}")), ""
        )
        say(f"{value!r} is not one of {', '.join(node['enum'])}", f"did you mean {close}?" if close else "")
    elif "pattern" in node and isinstance(value, str) and not _pattern(node["pattern"]).search(value):
        say(f"{value!r} does not have the right form", node.get("description", ""))
    elif _KINDS["number"](value):
        if value < node.get("minimum", value):
            say(f"must be at least {node['minimum']}, not {value}")
        elif value > node.get("maximum", value):
            say(f"must be at most {node['maximum']}, not {value}")


def _explain_mapping(
    node: Node, value: dict[str, Any], path: Path, found: list[Problem], partial: bool, tree: Any
) -> None:
    properties: dict[str, Node] = node.get("properties", {})
    patterns: dict[str, Node] = node.get("patternProperties", {})
    for key, inner in value.items():
        wanted = properties.get(key)
        if wanted is None:
            wanted = next((n for p, n in patterns.items() if _pattern(p).search(key)), None)
        if wanted is not None:
            _explain(wanted, inner, (*path, str(key)), found, partial, tree)
        elif node.get("additionalProperties") is False:
            found.append(_unknown(str(key), properties, patterns, (*path, str(key)), tree))
    if partial:
        return
    for key in node.get("required", ()):
        if key not in value:
            found.append(
                Problem(f"{key} is missing", path, tree=tree, hint=properties[key].get("description", ""))
            )


def _unknown(
    key: str, properties: dict[str, Node], patterns: dict[str, Node], path: Path, tree: Any
) -> Problem:
    where = dotted(path[:-1])
    if not properties:
        what = {"services": "service", "volumes": "volume", "secrets": "secret", "configs": "config"}.get(
            where, ""
        )
        hint = "letters, digits, dots, dashes and underscores" if patterns else ""
        return Problem(
            f"invalid {what + ' ' if what else ''}name {key!r}", path, hint=hint, tree=tree, at_key=True
        )
    close = nearest(key, properties)
    hint = f"did you mean {close}?" if close else "extensions begin with x-" if "^x-" in patterns else ""
    inner = tree.get(key) if not where and isinstance(tree, dict) else None
    if isinstance(inner, dict) and not close and ("image" in inner or "build" in inner):
        hint = "services stand indented below services:"
    return Problem(f"unknown attribute {key!r}", path, hint=hint, tree=tree, at_key=True)


def _explain_choice(
    branches: list[Node], value: Any, path: Path, found: list[Problem], partial: bool, tree: Any
) -> None:
    """Explain by the branch that has the value's type, else by the types that there are."""
    types: list[str] = []
    for branch in branches:
        node = branch
        while "$ref" in node:
            node = _resolve(node["$ref"])
        kinds = node.get("type", [])
        kinds = [kinds] if isinstance(kinds, str) else kinds
        if any(_KINDS[kind](value) for kind in kinds):
            _explain(node, value, path, found, partial, tree)
            return
        types.extend(kinds)
    words = [_WORDS[t] for t in dict.fromkeys(types)]
    hint = _type_hint(value, types, path)
    found.append(Problem(f"must be {_either(words)}, not {_shown(value)}", path, tree=tree, hint=hint))


def _item(value: str) -> str:
    return _shown(value) if re.fullmatch(r"[\w./-]+", value) is None else value


def _pair_hint(value: dict[str, Any], of: str) -> str:
    """For an item ``- KEY: value`` of a list of strings."""
    if of in ("depends_on", "networks") and value:
        name, inner = next(iter(value.items()))
        if len(value) > 1 or inner is None or isinstance(inner, dict):
            return f"take the dash away: {name}: with its attributes indented below it, and so for all of the list"
    if len(value) != 1 or of not in (
        "environment",
        "labels",
        "args",
        "annotations",
        "sysctls",
        "extra_hosts",
    ):
        return "quote the item when the colon is part of the text"
    (key, inner), *_ = value.items()
    shown = "" if inner is None or isinstance(inner, dict | list) else inner
    return f"- {key}={shown} in a list, or {key}: {shown} without the dash in all lines"


def _either(words: list[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = repr(str(value)) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _type_hint(value: Any, types: list[str], path: Path) -> str:
    if value is None:
        return "give it a value or take it out"
    if isinstance(value, str) and "array" in types and "string" not in types:
        if value.startswith("-") and not value.startswith("--"):
            return f"an item has a space behind its dash: - {value[1:].strip()}"
        if "object" not in types:
            return f"as a list: [{_item(value)}]"
    if isinstance(value, dict) and path and isinstance(path[-1], int) and types == ["string"]:
        return _pair_hint(value, str(path[-2]) if len(path) > 1 else "")
    if isinstance(value, list) and "array" not in types:
        if "string" in types and len(value) == 1 and isinstance(value[0], str):
            return f"one value: {value[0]}"
        return "keys stand here without dashes in front" if "object" in types else ""
    if (
        isinstance(value, int | float)
        and "string" in types
        and "object" not in types
        and "array" not in types
    ):
        return f'quote it to make it a string: "{_shown(value)}"'
    return ""
