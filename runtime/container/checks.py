"""What is wrong with a container's configuration whatever machine it is for. Pure.

Everything is found in one run, each fault with the value that it is about, in the words of Docker's engine where it has
some. What depends on the machine is :func:`runtime.container.spec.check_config`'s. What few containers ask for is
imported when one does: a command that only checks a file lives for less time than that would take.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator

from runtime.container.config import ContainerConfig, Device, Hook, Mount, Resources, Ulimit
from runtime.container.config_rules import (
    check_aliases,
    check_environment,
    check_log_options,
    check_mode,
    check_subpath,
    log_settings,
)
from runtime.container.mount_words import check_propagation, check_target
from runtime.container.network_options import check_network_options
from runtime.errors import InvalidArgument, concerning

_HOSTNAME = re.compile(r"[\x21-\x7e\x80-\U0010ffff]{1,64}")
_TMPFS_VALUES = {"size": re.compile(r"\d+[kmgtpe]?%?", re.IGNORECASE), "mode": re.compile("[0-7]+")}


def faults(config: ContainerConfig) -> Iterator[InvalidArgument]:
    """Each fault, about a dotted path in the words of :class:`ContainerConfig`."""
    for about, check in _checks(config):
        try:
            check()
        except InvalidArgument as error:
            yield error.pointing_at(about) if about else error


def _checks(config: ContainerConfig) -> Iterator[tuple[str, Callable[[], object]]]:
    """By what it is about ("": the check says that itself)."""
    for kind in ("pid", "ipc", "uts", "userns"):
        yield f"{kind}_mode", lambda kind=kind: check_mode(config, kind)  # type: ignore[misc]
    yield "", lambda: check_environment(config.env)
    for endpoint in config.endpoints:
        yield "", lambda e=endpoint: check_aliases(e.aliases)  # type: ignore[misc]
    yield "working_dir", lambda: _check_working_dir(config.working_dir)
    yield "oom_score_adj", lambda: _check_oom_score(config.oom_score_adj)
    yield "", lambda: check_network_options(config)
    yield "hostname", lambda: _check_own_hostname(config)
    yield "storage_opt", lambda: _check_storage(config)
    yield "", lambda: _check_resources(config.resources)
    yield "cgroup_parent", lambda: _check_cgroup_parent(config.cgroup_parent)
    for number, option in enumerate(config.security_opt):
        yield f"security_opt[{number}]", lambda option=option: _check_security(option)  # type: ignore[misc]
    for name, values in (("cap_add", config.cap_add), ("cap_drop", config.cap_drop)):
        for number, value in enumerate(values):
            yield f"{name}[{number}]", lambda value=value: _check_capability(value)  # type: ignore[misc]
    for limit in config.ulimits:
        yield f"ulimits.{limit.name}", lambda limit=limit: _check_ulimit(limit)  # type: ignore[misc]
    for name, value in config.sysctls.items():
        yield f"sysctls.{name}", lambda n=name, v=value: _check_sysctl(config, n, v)  # type: ignore[misc]
    for number, text in enumerate(config.device_cgroup_rules):
        yield f"device_cgroup_rules[{number}]", lambda text=text: _check_rule(text)  # type: ignore[misc]
    for number, device in enumerate(config.devices):
        yield f"devices[{number}]", lambda device=device: check_device(device)  # type: ignore[misc]
    for number, mount in enumerate(config.mounts):
        yield f"mounts[{number}]", lambda mount=mount: check_mount(mount)  # type: ignore[misc]
    yield "user", lambda: _check_user(config.user)
    yield "stop_signal", lambda: _check_signal(config.stop_signal)
    yield "shm_size", lambda: _check_shm_size(config.shm_size)
    yield "logging", lambda: check_log_options(config.log)
    yield "logging", lambda: log_settings(config.log)
    for name, hooks in (("post_start", config.post_start), ("pre_stop", config.pre_stop)):
        for number, hook in enumerate(hooks):
            yield f"{name}[{number}]", lambda hook=hook: _check_hook(hook)  # type: ignore[misc]


def _check_working_dir(path: str) -> None:
    if path and not path.startswith("/"):
        raise InvalidArgument(f"the working directory {path!r} is invalid, it needs to be an absolute path")
    if "\0" in path:
        raise InvalidArgument("a working directory cannot contain a NUL byte")


def _check_oom_score(score: int) -> None:
    if not -1000 <= score <= 1000:
        raise InvalidArgument(f"Invalid value {score}, range for oom score adj is [-1000, 1000]")


def check_hostname(name: str) -> None:
    """Raises InvalidArgument for what sethostname(2) would refuse."""
    if not _HOSTNAME.fullmatch(name) or len(name.encode()) > 64:
        raise InvalidArgument(f"invalid hostname {name!r}: at most 64 bytes, no spaces or control characters")


def _check_own_hostname(config: ContainerConfig) -> None:
    if config.hostname and config.uts_mode:
        raise InvalidArgument("conflicting options: hostname and the UTS mode")
    if config.hostname:
        check_hostname(config.hostname)


def _check_storage(config: ContainerConfig) -> None:
    if config.storage_opt:
        raise InvalidArgument(
            f"storage_opt {next(iter(config.storage_opt))}: the size of a container's file system cannot be limited: "
            "that takes project quotas",
            hint="put what grows on a tmpfs with a size",
        )


def _check_resources(resources: Resources) -> None:
    if resources != Resources():
        from runtime.kernel.cgroup_files import check

        check(resources)


def _check_cgroup_parent(parent: str) -> None:
    if parent:
        from runtime.kernel.cgroups import confine_path

        confine_path(parent)


def _check_security(option: str) -> None:
    from runtime.container.confinement import SecurityOptions

    SecurityOptions.parse((option,))


def _check_capability(name: str) -> None:
    from runtime.kernel import capabilities

    capabilities.parse(name)


def _check_ulimit(limit: Ulimit) -> None:
    from runtime.kernel import rlimits

    rlimits.resolve(limit.name, limit.soft, limit.hard)


def _check_rule(text: str) -> None:
    from runtime.kernel.device_filter import parse_rule

    parse_rule(text)


def _check_user(text: str) -> None:
    if text:
        from runtime.kernel.users import check_user

        check_user(text)


def _check_signal(text: str) -> None:
    if text:
        from runtime.kernel.signals import parse_signal

        parse_signal(text)


def _check_sysctl(config: ContainerConfig, name: str, value: str) -> None:
    from runtime.kernel.sysctls import check_sysctls

    has_own_net = config.network_mode != "host" and not config.network_mode.startswith("container:")
    check_sysctls({name: value}, has_own_net=has_own_net, has_own_ipc=config.ipc_mode != "host")


def check_device(device: Device) -> None:
    """Raises InvalidArgument for permissions that are none, and for a target that is no place of a node."""
    if not device.permissions or set(device.permissions) - set("rwm"):
        raise InvalidArgument(
            f"invalid device permissions {device.permissions!r}", hint="write some of r, w and m"
        )
    target = device.target or device.source
    if not posixpath.normpath(target).startswith("/") or posixpath.normpath(target) in ("/", "//"):
        raise InvalidArgument(f"invalid device target {target!r}", hint="write an absolute path")


def check_mount(mount: Mount) -> None:
    """Raises InvalidArgument for a target, options or a propagation that cannot be."""
    check_target(mount.target)
    check_subpath(mount.subpath)
    if mount.type == "tmpfs":
        from runtime.container.mounting import tmpfs

        for option, value in tmpfs(mount, mount.target).options:
            form = _TMPFS_VALUES.get(option)
            if form is not None and not form.fullmatch(value or ""):
                raise InvalidArgument(f"tmpfs {mount.target}: invalid value of {option}: {value!r}")
    if mount.type == "bind":
        check_propagation(mount.propagation, mount.target)


def _check_shm_size(size: int) -> None:
    if size < 0:
        raise InvalidArgument("SHM size can not be less than 0")


def _check_hook(hook: Hook) -> None:
    if not hook.command:
        raise InvalidArgument("no exec command specified").pointing_at("command")
    with concerning("user"):
        _check_user(hook.user)
    if hook.working_dir and not hook.working_dir.startswith("/"):
        raise InvalidArgument("Cwd must be an absolute path").pointing_at("working_dir")
