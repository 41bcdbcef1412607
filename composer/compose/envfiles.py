"""``env_file`` and ``label_file`` of services: read, and merged under what ``environment`` and ``labels`` say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from composer.compose.decoders import text
from composer.compose.dotenv import parse_dotenv, parse_raw
from composer.compose.normalise import resolve_values
from composer.compose.paths import absolute
from composer.compose.problem import Problem
from composer.compose.profiles import is_enabled
from composer.compose.request import Reader
from composer.compose.trace import Path, key_like, like


def resolve_environment(
    tree: dict[str, Any],
    env: Mapping[str, str],
    reader: Reader,
    base: str,
    profiles: Iterable[str] = (),
    unset: dict[str, str] | None = None,
) -> dict[str, str]:
    """Give every service its whole environment and all its labels, in place.

    Files are read in order, later ones win, and what the service itself says wins over all. Returns what is wrong with
    services that ``profiles`` do not enable, by name; variables that files of the others name and nobody sets are added
    to ``unset``, with the place of their first use. Raises :class:`Problem` for the others.
    """
    unready: dict[str, str] = {}
    active = tuple(profiles)
    services = tree.get("services")
    for name, service in (services if isinstance(services, dict) else {}).items():
        if not isinstance(service, dict):
            continue
        is_active = is_enabled(service.get("profiles") or (), active)
        try:
            _resolve_service(
                service, ("services", str(name)), env, reader, base, unset if is_active else None
            )
        except Problem as problem:
            if is_active:
                if problem.tree is None:
                    problem.tree = tree
                raise
            unready[str(name)] = problem.message
    return unready


def _resolve_service(
    service: dict[str, Any],
    path: Path,
    env: Mapping[str, str],
    reader: Reader,
    base: str,
    unset: dict[str, str] | None,
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
        data = _read(entry, where, reader, base, "env")
        if data is None:
            continue
        form = entry.get("format") or ""
        if form not in ("", "raw"):
            raise Problem(f'unsupported env_file format "{form}"', where, hint="raw, or none at all")
        file = str(entry["path"])
        if form == "raw":
            values = parse_raw(data, file, lookup)
        else:
            values = parse_dotenv(data, file, lookup, found, unset)
        for key, value in values.items():
            found[key_like(entry["path"], key)] = like(entry["path"], value)
    if found:
        for key, value in _pairs(own):
            found.pop(key, None)
            found[key] = value
        service["environment"] = like(own, found) if own is not None else found
    elif own is not None:
        service["environment"] = own
    _resolve_labels(service, path, reader, base, unset)


def _resolve_labels(
    service: dict[str, Any], path: Path, reader: Reader, base: str, unset: dict[str, str] | None
) -> None:
    found: dict[str, Any] = {}
    for i, item in enumerate(service.get("label_file") or ()):
        data = _read({"path": item}, (*path, "label_file", i), reader, base, "label")
        assert data is not None
        for key, value in parse_dotenv(data, str(item), lambda _: None, found, unset).items():
            found[key_like(item, key)] = like(item, value)
    if found:
        for key, value in _pairs(service.get("labels")):
            found.pop(key, None)
            found[key] = "" if value is None else value
        service["labels"] = found


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
