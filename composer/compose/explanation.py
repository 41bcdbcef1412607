"""``config --explain``: what one value is, where it was written, what it replaced and which variables took part."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from composer.compose.dotenv import line_of
from composer.compose.errors import ComposeError
from composer.compose.trace import Key, Origin, Path, dotted, key_origin_of, locations, own_key
from composer.compose.tree import Tree
from runtime.errors import Location
from runtime.nearest import nearest

_STEP = re.compile(r"\[([0-9]+)\]|([^.\[\]]+)|\.")


def parse_path(text: str) -> Path:
    """``services.web.ports[0]`` as steps. A key with a dot in it is found too, by :func:`find`."""
    steps: list[str | int] = []
    for match in _STEP.finditer(text):
        if match[1]:
            steps.append(int(match[1]))
        elif match[2]:
            steps.append(match[2])
    return tuple(steps)


REPLACED = frozenset({"command", "entrypoint", "test"})
"""Lists that do not append to what they override."""
LONGEST = 80
"""Characters of an entry that are shown."""


def explain(tree: Tree, text: str, shell: Mapping[str, str] | None = None) -> str:
    """Sentences about the value at ``text`` in a tree that was loaded with places: of a mapping or a list, where each
    entry comes from. ``shell``: the environment that the command was given.

    Raises :class:`ComposeError` for a path that leads nowhere, with the nearest name.
    """
    steps = parse_path(text)
    if not steps:
        raise ComposeError(f'"{text}" is no path', hint="for instance services.web.image")
    try:
        path, value, origin = find(tree.tree, steps)
    except ComposeError as error:
        raise _without(error, steps, tree) from None
    is_whole = isinstance(value, dict | list) and len(value) > 0
    if is_whole:
        entries, is_written = _entries(tree, path, value)
        lines = [f"{dotted(path)}:", *entries]
    else:
        is_written = False
        lines = [f"{dotted(path)}: {_shown(value)}"]
    if origin is None:
        why = "Compose puts it together" if is_written else "nobody wrote it: Compose fills it in"
        lines.append(f"  {why}")
        return "\n".join(lines) + "\n"
    lines += _place("from", origin, tree)
    if not is_whole:
        lines += [f"  with {_variable(name, value, tree, shell or {})}" for name, value in origin.variables]
    how = "merged with" if is_whole and path[-1] not in REPLACED else "instead of"
    shadowed = origin.shadowed
    while shadowed is not None:
        lines += _place(how, shadowed, tree)
        shadowed = shadowed.shadowed
    return "\n".join(lines) + "\n"


def _without(error: ComposeError, steps: Path, tree: Tree) -> ComposeError:
    """``error``, that there is no value at ``steps``, with what a person may have meant."""
    taken = next((file for path, file in tree.dropped.items() if path == steps[: len(path)]), None)
    services = tree.tree.get("services") or {}
    if taken is not None:
        return ComposeError(
            f"{dotted(steps)} is not set", hint=f"{taken} takes it away (!reset or !override)"
        )
    if str(steps[0]) in services:
        return ComposeError(error.message, hint=f"did you mean services.{dotted(steps)}?")
    return error


def _entries(tree: Tree, path: Path, value: Any) -> tuple[list[str], bool]:
    """A line for each entry with its place; whether anybody wrote one of them."""
    steps = list(value) if isinstance(value, dict) else list(range(len(value)))
    lines, is_written = [], False
    for step in steps:
        _, inner, origin = find(tree.tree, (*path, step))
        is_written = is_written or origin is not None
        shown = _shown(inner)
        shown = shown if len(shown) <= LONGEST else shown[:LONGEST] + "…"
        name = f"[{step}]" if isinstance(step, int) else f"{step}:"
        lines.append(f"  {name} {shown}  ({'filled in' if origin is None else _where(origin)})")
    return lines, is_written


def _variable(name: str, value: str | None, tree: Tree, shell: Mapping[str, str]) -> str:
    """A variable that took part: its value, and who set it."""
    if value is None:
        return f"${{{name}}}, which is not set"
    if shell.get(name) == value:
        return f"${{{name}}} = {value} (from the environment)"
    files = (*reversed(tree.env_files), *(file for file in tree.lines if file not in tree.env_files))
    for file in files:
        if not file.endswith((".yaml", ".yml")) and (
            line := line_of(name, "\n".join(tree.lines.get(file, ())))
        ):
            return f"${{{name}}} = {value} ({file}:{line})"
    return f"${{{name}}} = {value}"


def find(tree: Any, path: Path) -> tuple[Path, Any, Origin | None]:
    """The value at ``path``, its whole path and its place; in a list of ``K=V`` a step may be a K."""
    node: Any = tree
    origin: Origin | None = None
    done: list[str | int] = []
    rest = list(path)
    while rest:
        step = rest.pop(0)
        if isinstance(node, list) and isinstance(step, str) and step.isdecimal():
            step = int(step)
        if isinstance(node, list) and isinstance(step, str):
            found = next((i for i, item in enumerate(node) if str(item).partition("=")[0] == step), None)
            if found is None:
                known = [
                    f"[{i}]" if isinstance(v, dict) else str(v).partition("=")[0] for i, v in enumerate(node)
                ]
                raise _missing(done, step, known)
            item = node[found]
            origin = getattr(item, "at", origin)
            node = str(item).partition("=")[2]
        elif isinstance(node, list) and isinstance(step, int) and step < len(node):
            node = node[step]
            origin = getattr(node, "at", origin)
        elif isinstance(node, dict):
            name = str(step)
            while name not in node and rest and isinstance(rest[0], str):
                name += f".{rest.pop(0)}"
            if name not in node:
                raise _missing(done, str(step), [str(key) for key in node])
            key = own_key(node, name)
            is_made = not any(isinstance(k, Key) for k in node)
            node = node[name]
            if isinstance(key, Key):
                origin = key.value_at
            else:  # a short form wrote it where it stands, or nobody did
                origin = getattr(node, "at", origin if is_made else None)
            step = name
        elif isinstance(node, list):
            last = f"[0] to [{len(node) - 1}]" if len(node) > 1 else f"{len(node)} items"
            raise ComposeError(f"{dotted(tuple(done))} has no [{step}]", hint=f"it has {last}")
        else:
            raise _missing(done, step, [])
        done.append(step)
    return tuple(done), node, origin


def place(tree: Tree, path: Path) -> str:
    """``file:line:column`` of the value at ``path``; "" when nobody wrote it."""
    origin = find(tree.tree, path)[2]
    return "" if origin is None else _where(origin)


def places(tree: Tree, path: Path) -> tuple[Location, ...]:
    """Where the value at ``path`` was written, innermost first: a mapping or list by its key. Of a path that leads
    nowhere, as far as it leads; () when nobody wrote any of it."""
    while path:
        try:
            path, value, origin = find(tree.tree, path)
        except ComposeError:
            path = path[:-1]
            continue
        if isinstance(value, dict | list):
            origin = key_origin_of(tree.tree, path) or origin
        if origin is not None:
            return locations(origin, path, tree.lines)
        path = path[:-1]
    return ()


def _missing(done: list[str | int], step: str | int, known: list[str]) -> ComposeError:
    where = dotted(tuple(done)) or "the project"
    close = nearest(str(step), known)
    hint = f"did you mean {close}?" if close else f"there are: {', '.join(known[:20])}" if known else ""
    return ComposeError(f"{where} has no {step}", hint=hint)


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return str(value)
    import json

    return json.dumps(value, ensure_ascii=False, default=str)


def _place(how: str, origin: Origin, tree: Tree) -> list[str]:
    """One place with its line, and what brought it here."""
    lines = [f"  {how} {_where(origin)}"]
    text = _line(origin, tree)
    if text:
        lines.append(f"    {origin.line} | {text}")
    via = origin.via
    while via is not None:
        lines.append(f"  by way of {_where(via)}")
        via = via.via
    return lines


def _where(origin: Origin) -> str:
    return ":".join([origin.file, *(str(n) for n in (origin.line, origin.column) if n)])


def _line(origin: Origin, tree: Tree) -> str:
    lines = tree.lines.get(origin.file, [])
    return lines[origin.line - 1] if 0 < origin.line <= len(lines) else ""
