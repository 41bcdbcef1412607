"""CDI specifications of this machine, and the device nodes that they are about."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

from runtime.container.cdi import Node, Registry, Specification, parse
from runtime.errors import ComposerError, InvalidArgument
from runtime.kernel import devices
from runtime.kernel.devices import DeviceNode
from runtime.storage.files import read_regular

DIRECTORIES = ("/etc/cdi", "/var/run/cdi")
"""The later one counts more: what programs generate over what people have written (SPEC.md)."""
LIMIT = 4 << 20
"""Bytes of one file."""


def read_registry(directories: Sequence[str] = DIRECTORIES) -> Registry:
    """Everything that is there now. Files that cannot be read are named when a device is not found. Blocking."""
    ranks: list[list[Specification]] = []
    broken: dict[str, str] = {}
    for directory in reversed(directories):
        rank = []
        for path in _files(directory):
            try:
                rank.append(parse(_document(path), path))
            except (ComposerError, OSError) as error:
                broken[path] = str(error)
        ranks.append(rank)
    return Registry(ranks, broken)


def _files(directory: str) -> list[str]:
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return []
    return [os.path.join(directory, name) for name in names if name.endswith((".json", ".yaml", ".yml"))]


def _document(path: str) -> Any:
    data = read_regular(os.path.realpath(path), limit=LIMIT)
    if path.endswith(".json"):
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise InvalidArgument(str(error)) from None
    import yaml

    try:
        return yaml.load(data, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidArgument(" ".join(str(error).split())) from None


def make_nodes(nodes: Iterable[Node], place_of: Any) -> tuple[list[DeviceNode], list[str]]:
    """The nodes to be made, and the rules that let them be used; ``place_of`` gives a path's place below /dev. Raises
    InvalidArgument for one that this machine does not have."""
    made: list[DeviceNode] = []
    rules: list[str] = []
    for node in nodes:
        place = place_of(node.path)
        if node.kind and node.major is not None and node.minor is not None:
            found: DeviceNode = (place, node.kind, node.major, node.minor, 0o666, 0, 0)
        else:
            (found,) = devices.nodes_at(node.source, place)[:1]
        _, kind, major, minor, mode, uid, gid = found
        made.append(
            (
                place,
                kind,
                major,
                minor,
                mode if node.mode is None else node.mode,
                uid if node.uid is None else node.uid,
                gid if node.gid is None else node.gid,
            )
        )
        if kind != "p":
            rules.append(f"{kind} {major}:{minor} {node.permissions}")
    return made, rules
