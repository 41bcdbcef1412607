"""References from one container's configuration to containers of other services.

A plan is made before the containers are, so it names them by service: ``network_mode``, ``ipc_mode`` and
``pid_mode`` hold ``service:<name>``, ``volumes_from`` holds ``service:<name>[:ro|:rw]``. Before a container
is created the engine puts the ids in their place; what it stores then says ``container:<id>``, and a
container whose reference points to one that is gone is recognised by that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from runtime.container.config import ContainerConfig
from runtime.errors import ComposerError

PREFIX = "service:"
SHARED_MODES = ("network_mode", "ipc_mode", "pid_mode")


def referenced_services(config: ContainerConfig) -> tuple[str, ...]:
    """Services whose containers must exist before this one can be made, each once."""
    found = [mode[len(PREFIX) :] for mode in _modes(config) if mode.startswith(PREFIX)]
    found += [v.split(":")[1] for v in config.volumes_from if v.startswith(PREFIX)]
    return tuple(dict.fromkeys(found))


def resolve_references(config: ContainerConfig, ids: Mapping[str, str]) -> ContainerConfig:
    """Put ids of containers in the place of services' names; ``ids`` maps service -> id of its first
    container.

    Raises :class:`ComposerError` for a service that has no container.
    """

    def container(service: str) -> str:
        if service not in ids:
            raise ComposerError(
                f"no container of service {service} exists, which another service shares",
                hint=f"start it first: composer up -d {service}",
            )
        return ids[service]

    return _with_references(config, container)


def references_to(config: ContainerConfig) -> frozenset[str]:
    """Ids of containers that a resolved configuration refers to; of others also names, as files may have them."""
    found = {mode[len("container:") :] for mode in _modes(config) if mode.startswith("container:")}
    found |= {v.split(":")[0] for v in config.volumes_from if not v.startswith(PREFIX)}
    return frozenset(found)


def _modes(config: ContainerConfig) -> tuple[str, ...]:
    return (config.network_mode, config.ipc_mode, config.pid_mode)


def _with_references(config: ContainerConfig, container: Callable[[str], str]) -> ContainerConfig:
    changes: dict[str, object] = {}
    for attribute in SHARED_MODES:
        mode: str = getattr(config, attribute)
        if mode.startswith(PREFIX):
            changes[attribute] = f"container:{container(mode[len(PREFIX) :])}"
    if any(v.startswith(PREFIX) for v in config.volumes_from):
        changes["volumes_from"] = tuple(
            _volumes_from(v, container) if v.startswith(PREFIX) else v for v in config.volumes_from
        )
    return msgspec.structs.replace(config, **changes) if changes else config


def _volumes_from(value: str, container: Callable[[str], str]) -> str:
    service, _, mode = value[len(PREFIX) :].partition(":")
    return f"{container(service)}:{mode}" if mode else container(service)
