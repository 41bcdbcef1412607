"""``env_file`` and ``label_file`` of services: read, and merged under what ``environment`` and ``labels`` say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from composer.compose.decoders import text
from composer.compose.dotenv import lines_of, parse_dotenv, parse_raw
from composer.compose.normalise import resolve_values
from composer.compose.paths import absolute
from composer.compose.problem import Problem
from composer.compose.profiles import is_enabled
from composer.compose.request import Reader
from composer.compose.sources import Sources
from composer.compose.trace import Key, Origin, Path, key_at, key_like, like, origin_of, placed, put
from composer.compose.variables import variables_of


def resolve_environment(
    tree: dict[str, Any],
    env: Mapping[str, str],
    sources: Sources,
    base: str,
    profiles: Iterable[str] = (),
) -> dict[str, str]:
    """Give every service its whole environment and all its labels, in place.

    Files are read in order, later ones win, and what the service itself says wins over all. Returns what is wrong with
    services that ``profiles`` do not enable, by name; variables that files of the others name and nobody sets are noted
    by ``sources``, with the place of their first use. Raises :class:`Problem` for what is wrong with the others.
    """
    unready: dict[str, str] = {}
    wrong: dict[tuple[str, Origin | None], Problem] = {}
    active = tuple(profiles)
    services = tree.get("services")
    for name, service in (services if isinstance(services, dict) else {}).items():
        if not isinstance(service, dict):
            continue
        is_active = is_enabled(service.get("profiles") or (), active)
        try:
            unset = sources.unset if is_active else {}
            _resolve_service(service, ("services", str(name)), env, sources, base, unset)
        except Problem as problem:
            if is_active:
                if problem.tree is None:
                    problem.tree = tree
                # A file that several services name is wrong once.
                wrong.setdefault(
                    (problem.message, problem.at or origin_of(problem.tree, problem.path)), problem
                )
            else:
                unready[str(name)] = problem.message
    if wrong:
        first, *others = wrong.values()
        first.more = (*first.more, *others)
        raise first
    return unready


def _resolve_service(
    service: dict[str, Any],
    path: Path,
    env: Mapping[str, str],
    sources: Sources,
    base: str,
    unset: dict[str, str],
) -> None:
    own: Any = service.get("environment")
    if own is not None:
        own = resolve_values(own, env, keep_unset=True)
    said = {key: value for key, value in _pairs(own) if value is not None}
    found: dict[str, Any] = {}

    def lookup(variable: str) -> str | None:
        value = env.get(variable)
        return text(said[variable]) if value is None and variable in said else value

    for i, item in enumerate(service.get("env_file") or ()):
        entry = item if isinstance(item, dict) else {"path": item}
        where = (*path, "env_file", i)
        data = _read(entry, where, sources.reader, base, "env")
        if data is None:
            continue
        form = entry.get("format") or ""
        if form not in ("", "raw"):
            raise Problem(f'unsupported env_file format "{form}"', where, hint="raw, or none at all")
        file = str(entry["path"])
        try:
            if form == "raw":
                values = parse_raw(data, file, lookup)
            else:
                values = parse_dotenv(data, file, lookup, found, unset)
        except Problem as problem:
            raise problem.led(getattr(entry["path"], "at", None)) from None
        for key, value in _placed(values, entry["path"], data, sources, base, lookup):
            put(found, key, value)
    if found:
        for key, value in _pairs(own):
            if not isinstance(key, Key):
                found.pop(key, None)
            put(found, key, value)
        service["environment"] = like(own, found) if own is not None else found
    elif own is not None:
        service["environment"] = own
    _resolve_labels(service, path, sources, base, unset)


def _resolve_labels(
    service: dict[str, Any], path: Path, sources: Sources, base: str, unset: dict[str, str]
) -> None:
    found: dict[str, Any] = {}
    for i, item in enumerate(service.get("label_file") or ()):
        data = _read({"path": item}, (*path, "label_file", i), sources.reader, base, "label")
        assert data is not None
        try:
            values = parse_dotenv(data, str(item), lambda _: None, found, unset)
        except Problem as problem:
            raise problem.led(getattr(item, "at", None)) from None
        for key, value in _placed(values, item, data, sources, base, found.get):
            put(found, key, value)
    if found:
        for key, value in _pairs(service.get("labels")):
            if not isinstance(key, Key):
                found.pop(key, None)
            put(found, key, "" if value is None else value)
        service["labels"] = found


def _placed(
    values: dict[str, str],
    named: Any,
    data: bytes,
    sources: Sources,
    base: str,
    lookup: Callable[[str], str | None],
) -> Iterator[tuple[str, str]]:
    """What a file says, with its places in there when places are kept. ``named``: what names the file."""
    via = getattr(named, "at", None)
    if via is None:
        yield from values.items()
        return
    file = absolute(str(named), base, "~")
    sources.note(file, data)
    content = data.decode("utf-8", "replace")
    lines, written = lines_of(content), content.splitlines()
    for name, value in values.items():
        line = lines.get(name, 1)
        taken = variables_of(written[line - 1]) if line <= len(written) else ()
        at = Origin(file, line, 1, via, variables=tuple((other, lookup(other)) for other in taken))
        yield key_at(name, at), placed(value, at)


def _read(entry: dict[str, Any], where: Path, reader: Reader, base: str, what: str) -> bytes | None:
    """The file's content; None for one that may be missing and is."""
    path = absolute(str(entry["path"]), base, "~")
    if reader.is_dir(path):
        raise Problem(f"{what} file {path} is a directory", where)
    data = reader.read(path)
    if data is None and entry.get("required") not in (False, "false"):
        hint = "required: false makes it optional" if what == "env" else ""
        raise Problem(f"{what} file {path} not found", where, hint=hint)
    return data


def _pairs(values: Any) -> list[tuple[str, Any]]:
    if isinstance(values, dict):
        return list(values.items())
    if not isinstance(values, list):
        return []
    made: list[tuple[str, Any]] = []
    for item in values:
        key, equals, value = str(item).partition("=")
        made.append((key_like(item, key), like(item, value) if equals else None))
    return made
