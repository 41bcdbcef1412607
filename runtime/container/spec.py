"""What starting a container takes, decided as data: image and container configuration merged, every mount in order.

Pure: no I/O, no clock. ``build_launch_spec`` answers "what would happen", printable with ``--debug``; the shim and
``runtime.container.launch`` do it. The merging rules are Docker's (``docker run`` and the Engine API).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.container.checks import check_hostname, faults
from runtime.container.config import ContainerConfig, ImageConfig
from runtime.container.config_rules import log_settings
from runtime.container.confinement import SecurityOptions, confine
from runtime.container.host_facts import HostFacts
from runtime.container.mounting import MASKED, MountSources, plan_mounts
from runtime.container.network_options import check_network_options
from runtime.container.operations import Namespace
from runtime.container.wire import LaunchSpec, Namespaces, Process
from runtime.errors import InvalidArgument
from runtime.kernel import cgroup_files, cgroups, device_filter
from runtime.kernel.sysctls import check_sysctls
from runtime.kernel.users import check_user

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class LaunchInputs:
    """What the caller has resolved before a container can be started."""

    id: str
    name: str
    config: ContainerConfig
    image: ImageConfig
    layers: Sequence[Path]
    """Topmost first."""
    state_dir: Path
    run_dir: Path
    """Holds ``hosts``, ``hostname`` and ``resolv.conf`` already."""
    host: HostFacts
    sandbox: Mapping[str, Any] = field(
        default_factory=lambda: {"mode": "none", "endpoints": [], "resolver": False}
    )
    """Of ``runtime.network.sandbox.plan_sandbox``."""
    volumes: Mapping[str, Path] = field(default_factory=dict)
    """Data directory of each named volume (and of anonymous ones that have got a name)."""
    anonymous: Mapping[str, Path] = field(default_factory=dict)
    """By target: data directory of the anonymous volumes, those of the image included."""
    images: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    """By reference: layers of images that are mounted."""
    devices: Sequence[tuple[str, str, int, int, int, int, int]] = ()
    """Device nodes to make for ``config.devices``: (path below /dev or absolute elsewhere, type, major, minor, mode,
    uid, gid)."""
    device_rules: Sequence[str] = ()
    join: Mapping[str, int] = field(default_factory=dict)
    """``pid``, ``ipc``, ``uts``, ``net``: init of the container whose namespace is shared."""
    hostname: str = ""
    """What ``hostname`` in ``run_dir`` says: the name of the host, or of the container whose network is shared; "" is
    the configured one."""


def build_launch_spec(inputs: LaunchInputs) -> LaunchSpec:
    """Merge, check and order. Raises InvalidArgument for what cannot be started."""
    config, host = inputs.config, inputs.host
    options = SecurityOptions.parse(config.security_opt)
    namespaces = choose_namespaces(inputs)
    confinement = confine(config, host, options)
    check_sysctls(config.sysctls, has_own_net=namespaces.net == "new", has_own_ipc=namespaces.ipc != "host")
    return LaunchSpec(
        id=inputs.id,
        name=inputs.name,
        state_dir=str(inputs.state_dir),
        run_dir=str(inputs.run_dir),
        operations=plan_mounts(
            config,
            MountSources(
                layers=tuple(map(str, inputs.layers)),
                state_dir=str(inputs.state_dir),
                run_dir=str(inputs.run_dir),
                volumes={name: str(path) for name, path in inputs.volumes.items()},
                anonymous={target: str(path) for target, path in inputs.anonymous.items()},
                images={ref: tuple(map(str, layers)) for ref, layers in inputs.images.items()},
                devices=tuple(inputs.devices) + (host.devices if config.privileged else ()),
                cgroup_version=host.cgroup_version,
                cgroup_controllers=cgroups.hierarchies_for(
                    config.resources, host.cgroup_version, host.cgroup_controllers
                ),
                cgroup_path=f"{cgroup_parent(config, host)}/{inputs.id}",
                masked=(*MASKED, *host.thermal_throttles),
                has_writable_cgroups=options.has_writable_cgroups,
            ),
            hostname=hostname_of(inputs) if namespaces.uts == "new" else "",
            ipc=namespaces.ipc,
            has_private_cgroup=namespaces.cgroup == "new",
            masks_system_paths=not config.privileged and not options.shows_system_paths,
        ),
        process=Process(
            argv=effective_command(config, inputs.image),
            env=effective_environment(config, inputs.image, hostname_of(inputs)),
            cwd=config.working_dir or inputs.image.working_dir or "/",
            user=check_user(config.user or inputs.image.user),
            groups=config.group_add,
            tty=config.tty,
            window=config.console_size,
            image=config.image,
            confinement=confinement,
        ),
        namespaces=namespaces,
        sandbox=dict(inputs.sandbox),
        cgroup=cgroup_settings(inputs),
        log=log_settings(config.log),
        stdin_open=config.stdin_open,
        stdin_once=config.stdin_once,
        init=config.init,
    )


def check_config(config: ContainerConfig, host: HostFacts) -> None:
    """What can be told of a container before it is started, so that it is not even made. Raises InvalidArgument."""
    for fault in faults(config):
        raise fault
    cgroup_files.check_available(config.resources, host.cpus, host.online_cpus, host.online_nodes)
    cgroup_files.check_version(config.resources, host.cgroup_version)
    confine(config, host, SecurityOptions.parse(config.security_opt))


def effective_command(config: ContainerConfig, image: ImageConfig) -> tuple[str, ...]:
    """Entrypoint and command as Docker merges them: an entrypoint of one's own drops the image's command."""
    if config.entrypoint is not None:
        entrypoint = config.entrypoint if config.entrypoint != ("",) else ()
        command = config.command or ()
    else:
        entrypoint = image.entrypoint
        command = image.cmd if config.command is None or not config.command else config.command
    argv = (*entrypoint, *command)
    if not argv:
        raise InvalidArgument(
            "no command specified", hint="the image has none: set `command` or `entrypoint`"
        )
    if any("\0" in word for word in argv):
        raise InvalidArgument("a command cannot contain a NUL byte")
    return argv


def effective_environment(config: ContainerConfig, image: ImageConfig, hostname: str) -> tuple[str, ...]:
    """PATH, HOSTNAME, TERM with a terminal; over them the image's, over them the container's. HOME follows when the
    user is known. ``NAME`` alone removes."""
    merged: dict[str, str] = {}
    base = [DEFAULT_PATH, f"HOSTNAME={hostname}", *(["TERM=xterm"] if config.tty else [])]
    for item in [*base, *image.env, *config.env]:
        name, equals, _ = item.partition("=")
        if equals and name:
            merged[name] = item
        else:
            merged.pop(name, None)
    if any("\0" in item for item in merged.values()):
        raise InvalidArgument("an environment variable cannot contain a NUL byte")
    return tuple(merged.values())


def hostname_of(inputs: LaunchInputs) -> str:
    """As given, else the first 12 digits of the id. Raises InvalidArgument for what sethostname(2) would refuse, and
    for a name where it would not be the container's own."""
    config = inputs.config
    if config.hostname and config.uts_mode:
        raise InvalidArgument("conflicting options: hostname and the UTS mode")
    check_network_options(config)
    name = inputs.hostname or config.hostname or inputs.id[:12]
    check_hostname(name)
    return name


def choose_namespaces(inputs: LaunchInputs) -> Namespaces:
    """Own namespaces by default; host's or another container's where asked for."""
    config = inputs.config

    def choose(kind: str, mode: str) -> Namespace:
        if mode == "host":
            return "host"
        if mode.startswith(("container:", "service:")):
            if kind not in inputs.join:
                raise InvalidArgument(f"{kind}: {mode}: that container is not running")
            return inputs.join[kind]
        return "new"

    private = config.cgroupns_mode == "private" or (
        not config.cgroupns_mode and inputs.host.cgroup_version == 2
    )
    return Namespaces(
        pid=choose("pid", config.pid_mode),
        net=choose("net", config.network_mode),
        ipc=choose("ipc", config.ipc_mode),
        uts=choose("uts", config.uts_mode),
        cgroup="new" if private else "host",
        time="new" if inputs.host.has_time_namespaces else "host",
    )


def cgroup_parent(config: ContainerConfig, host: HostFacts) -> str:
    """Where the container's cgroup goes: ``cgroup_parent`` names one below the engine's own, never beside it."""
    if not config.cgroup_parent:
        return host.cgroup_parent
    return f"{host.cgroup_parent}/{cgroups.confine_path(config.cgroup_parent)}"


def cgroup_settings(inputs: LaunchInputs) -> dict[str, Any]:
    """The container's cgroups as ``runtime.kernel.cgroups`` makes them: limits, and which devices may be used."""
    config, host = inputs.config, inputs.host
    rules = None
    if not config.privileged:
        texts = (*device_filter.DEFAULT_RULES, *inputs.device_rules, *config.device_cgroup_rules)
        rules = [device_filter.parse_rule(text) for text in texts]
    return cgroups.plan(
        f"{cgroup_parent(config, host)}/{inputs.id}",
        config.resources,
        rules,
        version=host.cgroup_version,
        available=host.cgroup_controllers,
    )
