"""Relative paths of a canonical tree made absolute."""

from __future__ import annotations

import re
from posixpath import isabs, normpath
from typing import Any

from composer.compose.problem import Problem
from composer.compose.trace import like

_WINDOWS = re.compile(r"[a-zA-Z]:[\\/]|\\\\")
_REMOTE = ("https://", "http://", "git://", "ssh://", "github.com/", "git@")
"""How build contexts begin that are not directories."""


def resolve_paths(tree: dict[str, Any], base: str, home: str) -> dict[str, Any]:
    """Every path of the host made absolute against ``base``, ``~`` being ``home``, in place.

    Works on parts of trees. Raises :class:`Problem` for a bind mount without a source.
    """
    services = tree.get("services")
    if isinstance(services, dict):
        for name, service in services.items():
            if isinstance(service, dict):
                resolve_service_paths(service, name, base, home)
    for kind in ("configs", "secrets"):
        section = tree.get(kind)
        if isinstance(section, dict):
            for resource in section.values():
                if isinstance(resource, dict):
                    _replace_file(resource, "file", base, home)
    volumes = tree.get("volumes")
    if isinstance(volumes, dict):
        for volume in volumes.values():
            if isinstance(volume, dict):
                _resolve_device(volume, base, home)
    return tree


def resolve_service_paths(service: dict[str, Any], name: str, base: str, home: str) -> dict[str, Any]:
    """The paths of one service, in place."""
    build = service.get("build")
    if isinstance(build, dict):
        _replace_context(build, "context", base, home)
        contexts = build.get("additional_contexts")
        if isinstance(contexts, dict):
            for key in contexts:
                _replace_context(contexts, key, base, home)
        keys = build.get("ssh")
        if isinstance(keys, dict):
            for key in keys:
                _replace(keys, key, base, home)
    files = service.get("env_file")
    if isinstance(files, list):
        for item in files:
            if isinstance(item, dict):
                _replace(item, "path", base, home)
    files = service.get("label_file")
    if isinstance(files, list):
        files[:] = [like(f, absolute(f, base, home)) if isinstance(f, str) else f for f in files]
    extends = service.get("extends")
    if isinstance(extends, dict):
        _replace(extends, "file", base, home)
    develop = service.get("develop")
    if isinstance(develop, dict) and isinstance(develop.get("watch"), list):
        for item in develop["watch"]:
            if isinstance(item, dict):
                _replace(item, "path", base, home)
    mounts = service.get("volumes")
    if isinstance(mounts, list):
        for i, mount in enumerate(mounts):
            if isinstance(mount, dict) and mount.get("type") == "bind":
                if "source" not in mount:
                    raise Problem(
                        "a bind mount without a source",
                        ("services", name, "volumes", i),
                        hint="source: the path on the host",
                    )
                _replace_file(mount, "source", base, home)
    return service


def absolute(path: str, base: str, home: str, *, may_be_windows: bool = False) -> str:
    """``path`` against ``base``; an absolute one stays as it is, with ``may_be_windows`` one of Windows, too."""
    if path.startswith("~"):
        return clean_join(home, path[1:])
    if not path or isabs(path):
        return path
    if may_be_windows and _WINDOWS.match(path):
        return path
    return clean_join(base, path)


def clean_join(base: str, path: str) -> str:
    """Go's filepath.Join."""
    joined = normpath(f"{base}/{path}")
    return joined[1:] if joined.startswith("//") else joined


def is_remote(context: str) -> bool:
    """Whether a build context is something else than a directory."""
    return "://" in context or context.startswith(_REMOTE) or context.startswith("service:")


def _replace(
    mapping: dict[str, Any], key: str, base: str, home: str, *, may_be_windows: bool = False
) -> None:
    value = mapping.get(key)
    if isinstance(value, str):
        mapping[key] = like(value, absolute(value, base, home, may_be_windows=may_be_windows))


def _replace_file(mapping: dict[str, Any], key: str, base: str, home: str) -> None:
    """As :func:`_replace`, also of Windows; "" is the directory itself."""
    if mapping.get(key) == "":
        mapping[key] = like(mapping[key], base)
    _replace(mapping, key, base, home, may_be_windows=True)


def _replace_context(mapping: dict[str, Any], key: str, base: str, home: str) -> None:
    value = mapping.get(key)
    if isinstance(value, str) and not is_remote(value):
        mapping[key] = like(value, absolute(value, base, home))


def _resolve_device(volume: dict[str, Any], base: str, home: str) -> None:
    """The local driver's own bind mount: ``device`` is a path then."""
    options = volume.get("driver_opts")
    if volume.get("driver") == "local" and isinstance(options, dict):
        flags = options.get("o")
        if isinstance(flags, str) and flags == "bind":
            _replace(options, "device", base, home)
