"""A service of a Compose file as a container's configuration: every attribute translated, nothing looked up.

What distinguishes one replica from another (name, number, Compose's labels) is added by
``composer.plan.desired``; what the file asks for and cannot be had is refused by ``composer.plan.support``.
"""

from __future__ import annotations

import posixpath
from typing import Literal, cast

from composer.compose.model import Project, Service
from composer.plan import limits, mounts, networking
from runtime.container.config import ContainerConfig

NANOSECONDS = 1_000_000_000


def container_config(project: Project, service: Service) -> ContainerConfig:
    """The configuration that all replicas of ``service`` have in common.

    References to containers of other services are symbolic (``composer.plan.references``). Raises
    :class:`ComposerError` naming the attribute for what refers to something undefined or has an impossible
    value.
    """
    connected = networking.endpoints(project, service)
    mode = networking.network_mode(project, service)
    if connected and connected[0].network in ("host", "none"):
        mode, connected = connected[0].network, ()
    grace = service.stop_grace_period
    return ContainerConfig(
        image=image_of(project, service),
        platform=service.platform,
        entrypoint=service.entrypoint,
        command=service.command,
        env=limits.environment(service.environment),
        working_dir=service.working_dir,
        user=service.user,
        group_add=service.group_add,
        hostname=service.hostname,
        domainname=service.domainname,
        labels=dict(service.labels),
        annotations=dict(service.annotations),
        tty=service.tty,
        stdin_open=service.stdin_open,
        init=bool(service.init),
        read_only=service.read_only,
        stop_signal=service.stop_signal,
        stop_timeout=None if grace is None else -(-int(grace) // NANOSECONDS),
        restart=limits.restart_policy(service),
        healthcheck=limits.healthcheck(service),
        mounts=mounts.service_mounts(project, service),
        volumes_from=mounts.volumes_from(project, service),
        files=mounts.service_files(project, service),
        devices=limits.devices(service),
        device_requests=limits.device_requests(service),
        device_cgroup_rules=service.device_cgroup_rules,
        shm_size=int(service.shm_size),
        network_mode=mode,
        endpoints=connected,
        ports=networking.port_bindings(f"services.{service.name}.ports", service.ports),
        expose=networking.exposed_ports(service),
        extra_hosts=service.extra_hosts,
        dns=service.dns,
        dns_search=service.dns_search,
        dns_opt=service.dns_opt,
        links=networking.link_targets(project, service),
        mac_address=service.mac_address,
        pid_mode=_unless_private(networking.shared_mode(project, service, "pid")),
        ipc_mode=networking.shared_mode(project, service, "ipc"),
        uts_mode=service.uts,
        userns_mode=service.userns_mode,
        cgroupns_mode=cast("Literal['', 'private', 'host']", service.cgroup),
        cgroup_parent=service.cgroup_parent,
        privileged=service.privileged,
        cap_add=service.cap_add,
        cap_drop=service.cap_drop,
        security_opt=tuple(_security_opt(project, option) for option in service.security_opt),
        sysctls=dict(service.sysctls),
        ulimits=limits.ulimits(service),
        oom_score_adj=service.oom_score_adj,
        resources=limits.resources(service),
        log=limits.log_config(service),
        post_start=limits.hooks(service.post_start),
        pre_stop=limits.hooks(service.pre_stop),
    )


def image_of(project: Project, service: Service) -> str:
    """The reference of the service's image; a service that is only built has ``<project>-<service>``."""
    return service.image or f"{project.name}-{service.name}"


def _unless_private(mode: str) -> str:
    return "" if mode == "private" else mode


def _security_opt(project: Project, option: str) -> str:
    """``key=value`` (Docker also takes ``key:value``); a seccomp profile's path becomes absolute."""
    separator = min((s for s in "=:" if s in option), key=option.index, default="")
    key, _, value = option.partition(separator) if separator else (option, "", "")
    if key == "seccomp" and value not in ("unconfined", "builtin") and not value.startswith("{"):
        value = posixpath.join(project.working_dir, value)
    return f"{key}={value}" if separator else option
