"""One-off containers of ``run``: a service with a few things overruled, made once, beside its replicas."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec

from composer.compose.model import Port, Project, ServiceVolume
from composer.plan import labels, networking
from composer.plan.container import container_config
from composer.plan.desired import (
    DesiredService,
    dependency_list,
    identity_of,
    named_config,
    service_labels,
)
from composer.plan.hash import config_hash
from composer.plan.mounts import service_mount
from composer.plan.observed import Observed
from composer.plan.support import demand_support
from runtime.container.config import ContainerConfig, Mount, PortBinding, RestartPolicy
from runtime.errors import Conflict, InvalidArgument


class RunOptions(Protocol):
    """Flags of ``run`` (``composer.engine.requests.RunRequest`` has them)."""

    @property
    def service(self) -> str: ...
    @property
    def command(self) -> tuple[str, ...]: ...
    @property
    def entrypoint(self) -> str | None:
        """Split as a shell does; "" clears it."""

    @property
    def env(self) -> tuple[str, ...]:
        """``NAME=value``, or ``NAME`` to take it from the project's environment."""

    @property
    def env_from_file(self) -> tuple[str, ...]:
        """What the files said, in the form of ``env``, which overrules it."""

    @property
    def labels(self) -> dict[str, str]: ...
    @property
    def name(self) -> str: ...
    @property
    def user(self) -> str: ...
    @property
    def working_dir(self) -> str: ...
    @property
    def volumes(self) -> tuple[str, ...]:
        """``[source:]target[:options]``."""

    @property
    def publish(self) -> tuple[str, ...]:
        """``[[address:]port:]port[/protocol]``, ports may be ranges."""

    @property
    def service_ports(self) -> bool: ...
    @property
    def use_aliases(self) -> bool: ...
    @property
    def remove(self) -> bool: ...
    @property
    def tty(self) -> bool: ...
    @property
    def console_size(self) -> tuple[int, int]: ...
    @property
    def interactive(self) -> bool: ...
    @property
    def detach(self) -> bool: ...
    @property
    def cap_add(self) -> tuple[str, ...]: ...
    @property
    def cap_drop(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class RunPlan:
    """``config`` has references to other services' containers in it (see ``composer.plan.references``)."""

    service: str
    name: str
    config: ContainerConfig


def plan_run(project: Project, observed: Observed, options: RunOptions, slug: str) -> RunPlan:
    """The one-off container that ``run`` makes; ``slug`` is a random hexadecimal number for its name.

    As in Docker Compose: no restart policy, no post_start hooks, the service's ports only with ``service_ports``, its
    aliases only with ``use_aliases``. Raises :class:`ComposerError` as :func:`composer.plan.plan.plan_up` does.
    """
    # Replicas are not at issue here, and a fixed name is the replicas' own.
    service = msgspec.structs.replace(project.service(options.service), scale=1, container_name="")
    demand_support(msgspec.structs.replace(project, services={service.name: service}))
    identity = identity_of(project)
    name = options.name or identity.run_name(service.name, slug)
    owner = observed.container_names.get(name)
    if owner:
        raise Conflict(
            f'the container name "{name}" is already in use by container {owner[:12]}',
            hint=f"remove it (composer container rm {name}), or use another --name",
        )
    config = _overruled(project, container_config(project, service), options)
    desired = DesiredService(
        name=service.name,
        replicas=1,
        config=config,
        config_hash=config_hash(config),
        needs=dependency_list(service),
        image_id=observed.image_id(config.image, config.platform),
    )
    own = service_labels(desired, identity, oneoff=True) | {labels.SLUG: slug}
    return RunPlan(service.name, name, named_config(config, name, own))


def _overruled(project: Project, config: ContainerConfig, options: RunOptions) -> ContainerConfig:
    entrypoint, command = config.entrypoint, config.command
    if options.entrypoint is not None:
        entrypoint, command = _words(options.entrypoint), ()
    if options.command:
        command = options.command
    if options.working_dir and not options.working_dir.startswith("/"):
        raise InvalidArgument(
            f"the working directory '{options.working_dir}' is invalid, it needs to be an absolute path"
        )
    added, dropped = options.cap_add, options.cap_drop
    endpoints = config.endpoints
    if not options.use_aliases:
        endpoints = tuple(msgspec.structs.replace(endpoint, aliases=()) for endpoint in endpoints)
    mounts = {mount.target: mount for mount in config.mounts}
    for text in options.volumes:
        mount = run_mount(project, text)
        mounts[mount.target] = mount
    ports = config.ports if options.service_ports else ()
    ports += tuple(port for text in options.publish for port in published_ports(text))
    return msgspec.structs.replace(
        config,
        entrypoint=entrypoint,
        command=command,
        env=_environment(config.env, (*options.env_from_file, *options.env), project.environment),
        labels=config.labels | options.labels,
        user=options.user or config.user,
        working_dir=options.working_dir or config.working_dir,
        tty=options.tty,
        console_size=options.console_size,
        stdin_open=options.interactive,
        stdin_once=options.interactive and not options.detach,
        restart=RestartPolicy(),
        post_start=(),
        auto_remove=options.remove,
        mounts=tuple(mounts.values()),
        ports=ports,
        endpoints=endpoints,
        cap_add=(*(c for c in config.cap_add if c not in dropped), *added),
        cap_drop=(*(c for c in config.cap_drop if c not in added), *dropped),
    )


def _words(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise InvalidArgument(f"--entrypoint: {error}: {text}") from None


def _environment(
    base: tuple[str, ...], given: tuple[str, ...], project: Mapping[str, str]
) -> tuple[str, ...]:
    merged = {item.partition("=")[0]: item for item in base}
    for item in given:
        name, separator, _ = item.partition("=")
        if not name or any(c in name for c in "/\0 "):
            raise InvalidArgument(f"--env: {item!r} is neither NAME=value nor NAME")
        if separator:
            merged[name] = item
        elif name in project:
            merged[name] = f"{name}={project[name]}"
    return tuple(merged[name] for name in sorted(merged))


_PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")


def run_mount(project: Project, text: str) -> Mount:
    """One ``-v`` of ``run``: a path as source is relative to the project's directory, a name is that of a
    volume of the project, or else of one outside it."""
    source, target, options = _volume_parts(text)
    if not target.startswith("/"):
        raise InvalidArgument(f"--volume: {text}: the path in the container has to be absolute")
    known = {"ro", "rw", "nocopy", "z", "Z", "cached", "delegated", "consistent", *_PROPAGATIONS}
    if unknown := [option for option in options if option not in known]:
        raise InvalidArgument(f"--volume: {text}: unknown option {unknown[0]}")
    if source.startswith(("/", ".", "~")):
        if source.startswith("~"):
            source = posixpath.join(project.environment.get("HOME", "/"), source[1:].lstrip("/"))
        return Mount(
            type="bind",
            source=posixpath.normpath(posixpath.join(project.working_dir, source)),
            target=posixpath.normpath(target),
            read_only="ro" in options,
            propagation=next((o for o in options if o in _PROPAGATIONS), ""),
            create_host_path=True,
        )
    volume = ServiceVolume(type="volume", source=source, target=target, read_only="ro" in options)
    if source and source not in project.volumes:
        return Mount(
            type="volume", source=source, target=posixpath.normpath(target), read_only=volume.read_only
        )
    mount = service_mount(project, "--volume", volume)
    return msgspec.structs.replace(mount, nocopy="nocopy" in options)


def _volume_parts(text: str) -> tuple[str, str, tuple[str, ...]]:
    parts = text.split(":")
    match parts:
        case [target]:
            return "", target, ()
        case [source, target]:
            return source, target, ()
        case [source, target, options]:
            return source, target, tuple(o for o in options.split(",") if o)
        case _:
            raise InvalidArgument(f"--volume: {text} is not [source:]target[:options]")


def published_ports(text: str) -> tuple[PortBinding, ...]:
    """One ``-p`` of ``run``: ranges of equal length are published one by one."""
    spec, _, protocol = text.partition("/")
    address, host, container = _port_parts(text, spec)
    first, last = _range(text, container)
    if not host:
        published = [""] * (last - first + 1)
    else:
        begin, end = _range(text, host)
        if end - begin == last - first:
            published = [str(port) for port in range(begin, end + 1)]
        elif first == last:
            published = [host]
        else:
            raise InvalidArgument(f"--publish: {text}: the ranges are of different length")
    return tuple(
        networking.port_binding(
            f"--publish {text}",
            Port(target=first + n, published=port, protocol=protocol or "tcp", host_ip=address),
        )
        for n, port in enumerate(published)
    )


def _port_parts(text: str, spec: str) -> tuple[str, str, str]:
    if spec.startswith("["):
        address, bracket, rest = spec[1:].partition("]")
        parts = [address, *rest.lstrip(":").split(":")] if bracket else [spec]
    else:
        parts = spec.split(":")
    match parts:
        case [container]:
            return "", "", container
        case [host, container]:
            return "", host, container
        case [address, host, container]:
            return address, host, container
        case _:
            raise InvalidArgument(f"--publish: {text} is not [[address:]port:]port[/protocol]")


def _range(text: str, ports: str) -> tuple[int, int]:
    first, _, last = ports.partition("-")
    last = last or first
    if not (first.isdecimal() and last.isdecimal() and int(first) <= int(last) <= 65535):
        raise InvalidArgument(f'--publish: {text}: "{ports}" is not a port or a range of ports')
    return int(first), int(last)
