"""``extends``: a service that begins as another one, of the same file or of another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from posixpath import dirname, isabs, join, normpath
from typing import Any

from composer.compose.canonical import canonical_service
from composer.compose.merging import merge
from composer.compose.paths import resolve_paths
from composer.compose.problem import Problem
from composer.compose.sources import Sources
from composer.compose.trace import Origin, Path, brought, copied, origin_of
from composer.compose.yaml_text import drop_paths
from runtime.nearest import nearest

MAX_CHAIN = 200
Place = tuple[str, str]
"""A file and a service in it."""


@dataclass(frozen=True)
class _File:
    """The services of a file, and what its own tags drop from what its services extend."""

    path: str
    services: dict[str, Any]
    dropped: tuple[Path, ...]
    tree: dict[str, Any]
    """What the services are part of, for the places of mistakes."""


def apply_extends(
    tree: dict[str, Any],
    path: str,
    directory: str,
    dropped: tuple[Path, ...],
    sources: Sources,
    environment: Mapping[str, str],
) -> None:
    """Replace every ``extends`` in the services of one file's tree. Raises :class:`Problem`."""
    services = tree.get("services")
    if not isinstance(services, dict):
        if "services" in tree:
            raise Problem(
                "services must be a mapping",
                ("services",),
                hint="the services stand below it, indented, each by its name: `web:`",
                tree=tree,
            )
        return
    if not any(isinstance(service, dict) and "extends" in service for service in services.values()):
        return
    resolver = _Resolver(sources, environment, tree, directory)
    for name in list(services):
        services[name] = resolver.resolve(name, _File(path, services, dropped, tree), ())


@dataclass
class _Resolver:
    sources: Sources
    environment: Mapping[str, str]
    tree: dict[str, Any]
    directory: str
    """Of the project, where files are looked for."""
    files: dict[str, _File] = field(default_factory=dict)
    """Those that were read, by path."""

    def resolve(self, name: str, file: _File, seen: tuple[Place, ...]) -> Any:
        service = file.services.get(name)
        if not isinstance(service, dict) or service.get("extends") is None:
            return service
        extends = service["extends"]
        reference, other = self._reference(name, extends, file)
        place = (file.path, name)
        if place in seen:
            chain = " -> ".join(
                f"{service} in {path}" for path, service in (*seen[seen.index(place) :], place)
            )
            raise self._problem(f"circular reference: {chain}", name, file, hint="take one of these out")
        if len(seen) > MAX_CHAIN:
            raise self._problem(f"extends goes on for more than {MAX_CHAIN} services", name, file)
        base_file = self._base_file(name, reference, other, file)
        try:
            base = self.resolve(reference, base_file, (*seen, place))
        except Problem as problem:
            raise problem.led(self._via(extends, "file") if other else None) from None
        if base is None:
            return service
        base = copied(base)
        if self.sources.traced:
            via = self._via(extends, "service") or origin_of(service, ("extends",))
            if via is not None:
                base = brought(base, via)
        drop_paths({"services": {name: base}}, file.dropped)
        own = {key: value for key, value in service.items() if key != "extends"}
        merged: dict[str, Any] = merge(base, copied(own), ("services", name))
        merged.pop("extends", None)
        file.services[name] = merged
        return merged

    def _via(self, extends: Any, key: str) -> Origin | None:
        return origin_of({"extends": extends}, ("extends", key)) if self.sources.traced else None

    def _reference(self, name: str, extends: Any, file: _File) -> tuple[str, str]:
        if isinstance(extends, str):
            return extends, ""
        if isinstance(extends, dict):
            reference, other = extends.get("service"), extends.get("file")
            if other == "":
                raise self._problem(
                    "extends.file is empty", name, file, hint="name a file, or leave file: out"
                )
            other = other or ""
            if isinstance(reference, str) and isinstance(other, str):
                return reference, other
            raise self._problem(f"services.{name}.extends.service is required", name, file)
        raise self._problem(f"services.{name}.extends must be a string or a mapping", name, file)

    def _base_file(self, name: str, reference: str, other: str, file: _File) -> _File:
        found = self._load(name, other, file) if other else file
        if reference not in found.services:
            where = f" in {other}" if other else ""
            close = nearest(reference, [one for one in found.services if other or one != name])
            raise self._problem(
                f'cannot extend service "{name}" in {file.path}: service "{reference}" not found{where}',
                name,
                file,
                hint=f"did you mean {close}?" if close else "",
            )
        return found

    def _load(self, name: str, other: str, by: _File) -> _File:
        path = normpath(other if isabs(other) else join(self.directory, other))
        if path in self.files:
            return self.files[path]
        if not self.sources.reader.is_file(path):
            raise self._problem(
                f'cannot extend service "{name}": open {path}: no such file or directory',
                name,
                by,
                hint=f"file: is relative to {self.directory if by.tree is self.tree else dirname(by.path)}",
            )
        merged: dict[str, Any] = {}
        dropped: tuple[Path, ...] = ()
        try:
            documents = self.sources.documents(path, self.environment)
        except Problem as problem:
            raise problem.led(self._via(by.services[name]["extends"], "file")) from None
        for document in documents:
            drop_paths(merged, document.dropped)
            merged = merge(merged, document.tree)
            dropped = (*dropped, *document.dropped)
        services = merged.get("services")
        if not isinstance(services, dict):
            services = {}
        for key, service in services.items():
            if isinstance(service, dict):
                canonical_service(service, ("services", key), lenient=True)
        base = self.sources.base(dirname(path), self.directory)
        resolve_paths({"services": services}, base, self.sources.home)
        read = self.files[path] = _File(path, services, dropped, merged)
        return read

    def _problem(self, message: str, name: str, file: _File, *, hint: str = "") -> Problem:
        return Problem(message, ("services", name, "extends"), hint=hint, tree=file.tree)
