"""``include``: other projects' files, loaded with their own directory and variables, as part of this one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from posixpath import dirname, isabs, join, normpath, relpath
from typing import Any

from composer.compose.dotenv import parse_dotenv
from composer.compose.problem import Problem
from composer.compose.sources import Sources
from composer.compose.trace import Path, brought, key_origin_of, origin_of
from composer.compose.yaml_text import drop_paths

LoadModel = Callable[[tuple[str, ...], str, str, Mapping[str, str], tuple[str, ...]], dict[str, Any]]
"""Files, project directory, what to put paths behind, environment, files that are being included: a canonical tree."""

SECTIONS = ("services", "volumes", "networks", "secrets", "configs", "models")


def apply_include(
    tree: dict[str, Any],
    directory: str,
    dropped: tuple[Path, ...],
    sources: Sources,
    environment: Mapping[str, str],
    including: tuple[str, ...],
    load: LoadModel,
) -> None:
    """Put what the ``include`` entries of one file's tree name into it. Raises :class:`Problem`."""
    entries = tree.pop("include", None)
    if entries is None:
        return
    if not isinstance(entries, list):
        raise Problem("include must be a list", ("include",), tree={**tree, "include": entries})
    holder = {"include": entries}
    for index, entry in enumerate(entries):
        here: Path = ("include", index)
        files, project, env_files = _read_entry(entry, here, holder)
        _warn(entry, index, sources)
        if not files:
            continue
        paths = tuple(_absolute(directory, file) for file in files)
        for path in paths:
            sources.require(path, here, holder)
        if paths[0] in including:
            chain = "\n include ".join((*including, paths[0]))
            raise Problem(f"include cycle detected:\n{chain}", here, tree=holder)
        base = _absolute(directory, project) if project else dirname(paths[0])
        if isabs(project):
            shown = project
        else:
            # As in Docker Compose, paths of a directory that is not there begin one above it.
            shown = base if not project or sources.reader.is_dir(base) else dirname(base)
            shown = relpath(shown, directory)
        gaps: dict[str, str] = {}
        for path in _env_files(env_files, directory, base, sources, here, holder):
            data = sources.reader.read(path) or b""
            if sources.traced:
                sources.note(path, data)
            try:
                gaps.update(parse_dotenv(data, path, environment.get, gaps, sources.unset))
            except Problem as problem:
                named = origin_of(holder, (*here, "env_file"))
                raise problem.led(named if sources.traced else None) from None
        try:
            imported = load(paths, base, shown, {**gaps, **environment}, (*including, paths[0]))
        except Problem as problem:
            raise problem.led(origin_of(holder, here) if sources.traced else None) from None
        if sources.traced and (via := origin_of(holder, here)) is not None:
            imported = brought(imported, via)
        _import(imported, tree, dropped, here, holder)


def _read_entry(entry: Any, here: Path, holder: dict[str, Any]) -> tuple[list[str], str, list[str] | None]:
    if entry is None:
        return [], "", None
    if isinstance(entry, str):
        return [entry], "", None
    if not isinstance(entry, dict):
        raise Problem("an include is a path or a mapping", here, tree=holder)
    files, env_files = entry.get("path"), entry.get("env_file")
    files = [files] if isinstance(files, str) else files
    env_files = [env_files] if isinstance(env_files, str) else env_files
    files = [] if files is None else files
    if not isinstance(files, list) or not all(isinstance(f, str) for f in files):
        raise Problem("include: path must be a path or a list of paths", here, tree=holder)
    if env_files is not None and not isinstance(env_files, list):
        raise Problem("include: env_file must be a path or a list of paths", here, tree=holder)
    return list(files), str(entry.get("project_directory") or ""), env_files or None


def _warn(entry: Any, index: int, sources: Sources) -> None:
    """Docker Compose passes over what it does not know here, which hides mistakes."""
    if not isinstance(entry, dict | None):
        return
    for key in entry or ():
        if key not in ("path", "project_directory", "env_file") and not key.startswith("x-"):
            sources.warnings[f"include[{index}]: the attribute `{key}` is not known, it will be ignored"] = (
                None
            )
    if not entry or not entry.get("path"):
        sources.warnings[f"include[{index}] names no path and includes nothing"] = None


def _env_files(
    named: list[str] | None, directory: str, base: str, sources: Sources, here: Path, holder: dict[str, Any]
) -> list[str]:
    if named is None:
        default = join(base, ".env")
        return [default] if sources.reader.is_file(default) else []
    found = []
    for file in named:
        if file == "/dev/null":
            continue
        path = _absolute(directory, file)
        if not sources.reader.is_file(path):
            problem = "is a directory" if sources.reader.is_dir(path) else "no such file or directory"
            raise Problem(f"env file {path}: {problem}", (*here, "env_file"), tree=holder)
        found.append(path)
    return found


def _import(
    imported: dict[str, Any],
    tree: dict[str, Any],
    dropped: tuple[Path, ...],
    here: Path,
    holder: dict[str, Any],
) -> None:
    for section in SECTIONS:
        resources = imported.get(section)
        if not isinstance(resources, dict):
            continue
        own = tree.get(section)
        if not isinstance(own, dict):
            own = tree[section] = {}
        for name, resource in resources.items():
            if name not in own:
                own[name] = resource
                continue
            drop_paths({section: {name: resource}}, dropped)
            if own[name] != resource:
                raise Problem(
                    f"{section}.{name} conflicts with imported resource",
                    here,
                    hint=_places(name, own, resources),
                    tree=holder,
                )


def _places(name: str, own: dict[str, Any], imported: dict[str, Any]) -> str:
    """Where the two of one name are; "" for what was loaded without places."""
    at = [key_origin_of(resources, (name,)) for resources in (own, imported)]
    if None in at:
        return ""
    one, other = (f"{origin.file}:{origin.line}:{origin.column}" for origin in at if origin)
    return f"one {name} is at {one}, the other at {other}: rename one of them or take it out"


def _absolute(base: str, path: str) -> str:
    return normpath(path if isabs(path) else join(base, path))
