"""Loading projects for requests, and remembering what was loaded as long as nothing that was read has changed."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from composer.compose.loader import load_project
from composer.compose.model import Project
from composer.compose.request import LoadRequest
from composer.disk import Disk
from composer.engine.requests import ProjectSource
from composer.plan.addresses import asked_address, with_address
from runtime.errors import ComposerError

REMEMBERED = 32
"""Projects kept loaded."""

Signature = tuple[int, int, int, int] | None
"""Device, inode, size and mtime (ns); None: not there."""


def signature(path: str) -> Signature:
    try:
        info = os.stat(path)
    except OSError:
        return None
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns


class RecordingReader:
    """Reads from disk and notes what was looked at."""

    def __init__(self) -> None:
        self._disk = Disk()
        self.seen: dict[str, Signature] = {}

    def _note(self, path: str) -> None:
        self.seen.setdefault(path, signature(path))

    def read(self, path: str) -> bytes | None:
        self._note(path)
        return self._disk.read(path)

    def is_file(self, path: str) -> bool:
        self._note(path)
        return self._disk.is_file(path)

    def is_dir(self, path: str) -> bool:
        self._note(path)
        return self._disk.is_dir(path)

    def exists(self, path: str) -> bool:
        self._note(path)
        return self._disk.exists(path)


@dataclass
class ProjectLoader:
    """Loads projects. The same request with the same files gives the same project without reading them again."""

    _known: OrderedDict[tuple[object, ...], tuple[dict[str, Signature], Project]] = field(
        default_factory=OrderedDict
    )

    def load(self, source: ProjectSource, services: Sequence[str] = ()) -> Project:
        """The project of ``source``; naming a service that a profile holds back activates it. Raises ComposeError."""
        key = (
            source.cwd,
            source.files,
            source.project_name,
            source.project_directory,
            source.profiles,
            source.env_files,
            frozenset(source.env.items()),
            source.stdin,
            tuple(services),
        )
        known = self._known.get(key)
        if known is not None and all(signature(path) == seen for path, seen in known[0].items()):
            self._known.move_to_end(key)
            return known[1]
        reader = RecordingReader()
        project = load_project(_request(source), reader)
        project = with_address(activate(project, services), asked_address(project))
        self._known[key] = (reader.seen, project)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return project


def locate(source: ProjectSource, error: ComposerError) -> None:
    """Add to an error about values of the project where they were written, if that is known. Reads the files again."""
    found = [one for one in error.errors or (error,) if one.about and not one.locations]
    if not found:
        return
    from composer.compose.explanation import parse_path, places
    from composer.compose.pipeline import in_order, load_traced

    try:
        tree = load_traced(_request(source), Disk())
    except ComposerError:
        return  # changed in the meantime
    for one in {id(one): one for one in (*found, error)}.values():
        if one.about and not one.locations:
            one.locations = places(tree, parse_path(one.about))
    if error.errors:
        error.errors = tuple(in_order(error.errors))


def _request(source: ProjectSource) -> LoadRequest:
    return LoadRequest(
        cwd=source.cwd,
        files=source.files,
        project_name=source.project_name,
        project_directory=source.project_directory,
        profiles=source.profiles,
        env_files=source.env_files,
        env=source.env,
        stdin=source.stdin,
    )


def activate(project: Project, services: Sequence[str]) -> Project:
    """Make services that are named although no profile enables them active, with what they depend on."""
    from msgspec.structs import replace

    held_back = dict(project.disabled_services)
    wanted = [name for name in services if name in held_back]
    active = dict(project.services)
    while wanted:
        name = wanted.pop()
        if name not in held_back:
            continue
        service = held_back.pop(name)
        active[name] = service
        wanted += [n for n, need in service.depends_on.items() if need.required]
    if len(active) == len(project.services):
        return project
    return replace(project, services=active, disabled_services=held_back)
