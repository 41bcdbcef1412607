"""How a container's processes are confined: capabilities, system calls, limits and profiles, decided from what was
asked for and what the machine can give. Pure.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from runtime.container.config import ContainerConfig
from runtime.container.host_facts import HostFacts
from runtime.container.wire import Confinement
from runtime.errors import InvalidArgument
from runtime.kernel import capabilities, rlimits, seccomp

DEFAULT_APPARMOR = "docker-default"


@dataclass(frozen=True, slots=True)
class SecurityOptions:
    """``security_opt`` of Docker, read."""

    no_new_privs: bool = False
    seccomp: str = ""
    """"" the default one (none for a privileged container), ``builtin``, ``unconfined``, or a profile as JSON."""
    apparmor: str = ""
    """"" the default profile, ``unconfined``, or the name of one that is loaded."""
    shows_system_paths: bool = False
    has_writable_cgroups: bool = False

    @classmethod
    def parse(cls, options: Sequence[str]) -> SecurityOptions:
        """Raises InvalidArgument for an unknown option. SELinux is accepted where it asks for nothing (``disable``),
        refused otherwise: this engine sets no labels."""
        no_new_privs, profile, shows, apparmor, writable = False, "", False, "", False
        for option in options:
            name, separator, value = option.partition("=")
            if not separator:
                name, _, value = option.partition(":")
            match name:
                case "no-new-privileges" if value in ("", "true", "false"):
                    no_new_privs = value != "false"
                case "seccomp":
                    profile = value
                case "systempaths" if value == "unconfined":
                    shows = True
                case "writable-cgroups" if value in ("true", "false"):
                    writable = value == "true"
                case "apparmor" if value.isprintable() and value:
                    apparmor = value
                case "label" if value == "disable":
                    pass
                case "label":
                    raise InvalidArgument(
                        f"security_opt {option!r}: SELinux labels are not applied by this engine"
                    )
                case _:
                    raise InvalidArgument(f"invalid --security-opt: {option!r}")
        return cls(no_new_privs, profile, apparmor, shows, writable)

    def needs_filter(self, *, privileged: bool) -> bool:
        """Whether there is a filter of system calls: a privileged container has one only where it is asked for."""
        if self.seccomp == "unconfined":
            return False
        return bool(self.seccomp) or not privileged

    @property
    def profile(self) -> str:
        """The profile to compile; "" the default one."""
        return "" if self.seccomp == "builtin" else self.seccomp


def confine(
    config: ContainerConfig, host: HostFacts, options: SecurityOptions, *, also: Sequence[str] = ()
) -> Confinement:
    """Capabilities (those of the container and ``also``, as far as the engine has them), filter, limits, profile.

    Raises InvalidArgument."""
    if options.has_writable_cgroups and not config.privileged:
        check_writable_cgroups(config, host)
    allowed = capabilities.select(
        config.cap_add, config.cap_drop, privileged=config.privileged, bounding=host.capabilities
    )
    allowed |= capabilities.select(also, ("ALL",), privileged=False, bounding=host.capabilities)
    program, may_fork = b"", True
    if options.needs_filter(privileged=config.privileged):
        program = seccomp.compile_profile(options.profile, allowed, host.machine, host.kernel)
        may_fork = seccomp.lets_fork(options.profile, allowed, host.machine, host.kernel)
    return Confinement(
        bounding=allowed,
        effective=allowed,
        seccomp=base64.b64encode(program).decode("ascii"),
        may_fork=may_fork,
        no_new_privs=options.no_new_privs,
        rlimits=tuple(rlimits.resolve(limit.name, limit.soft, limit.hard) for limit in config.ulimits),
        oom_score_adj=config.oom_score_adj,
        apparmor=choose_apparmor(options.apparmor, host, privileged=config.privileged),
    )


def check_writable_cgroups(config: ContainerConfig, host: HostFacts) -> None:
    """Raises InvalidArgument where what could be written is not the container's own: the files of cgroup v1, and the
    hierarchy of the host."""
    if host.cgroup_version != 2:
        raise InvalidArgument(
            "security_opt writable-cgroups: it takes cgroup v2, and this machine has v1"
        ).pointing_at("security_opt")
    if config.cgroupns_mode == "host":
        raise InvalidArgument(
            "security_opt writable-cgroups: it takes a cgroup namespace of the container's own",
            hint="leave out `cgroup: host`",
        ).pointing_at("security_opt")


def choose_apparmor(asked: str, host: HostFacts, *, privileged: bool) -> str:
    """The profile to execute under: the one that was asked for, else Docker's default one where it is loaded and the
    container is not privileged. Raises InvalidArgument where there is no AppArmor to apply one."""
    if asked == "unconfined":
        return ""
    if asked and asked != DEFAULT_APPARMOR:
        if not host.has_apparmor:
            raise InvalidArgument(
                f"security_opt apparmor={asked}: AppArmor is not enabled on this machine"
            ).pointing_at("security_opt")
        return asked
    return DEFAULT_APPARMOR if host.has_default_apparmor and (asked or not privileged) else ""
