"""What a Compose file may say that this engine cannot do: refused in plain words, or ignored as Docker
Compose does.

Every attribute of :class:`composer.compose.model.Service` is in exactly one of the tables below (a test holds
that), so nothing is dropped without somebody having decided it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from composer.compose.model import Project, Service
from runtime.errors import InvalidArgument

# fmt: off
HONOURED = frozenset({
    "annotations", "attach", "blkio_config", "build", "cap_add", "cap_drop", "cgroup", "cgroup_parent",
    "command", "configs", "container_name", "cpu_period", "cpu_quota", "cpu_rt_period",
    "cpu_rt_runtime", "cpu_shares", "cpus", "cpuset", "depends_on", "deploy", "device_cgroup_rules",
    "devices", "dns", "dns_opt", "dns_search", "domainname", "entrypoint", "env_file", "environment",
    "expose", "external_links", "extra_hosts", "gpus", "group_add", "healthcheck", "hostname", "image", "init",
    "ipc", "isolation", "label_file", "labels", "links", "logging", "mac_address", "mem_limit",
    "mem_reservation", "mem_swappiness", "memswap_limit", "name", "network_mode", "networks",
    "oom_kill_disable", "oom_score_adj", "pid", "pids_limit", "platform", "ports", "post_start",
    "pre_stop", "privileged", "profiles", "pull_policy", "read_only", "restart", "runtime", "scale",
    "secrets", "security_opt", "shm_size", "stdin_open", "stop_grace_period", "stop_signal", "sysctls",
    "tmpfs", "tty", "ulimits", "user", "userns_mode", "uts", "volumes", "volumes_from", "working_dir",
})
# fmt: on
"""Attributes that do what they say (some of them refuse some values, see ``refusals``)."""

IGNORED = frozenset({"cpu_count", "cpu_percent", "develop", "extensions"})
"""Without effect here, as under Docker Compose on Linux: the first two are for Windows, ``develop`` is for
watch. Of ``deploy``: mode, placement, update_config, rollback_config, endpoint_mode, labels,
generic_resources and the CPUs of reservations are for Swarm, and ignored as well."""

REFUSED = frozenset({"credential_spec", "models", "pre_start", "provider", "storage_opt", "use_api_socket"})
RUNTIMES = ("", "runc", "composer", "io.containerd.runc.v2")


class Unsupported(InvalidArgument):
    """A valid Compose file asks for something that this engine does not do."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """``path`` is where it stands (``services.web.gpus``)."""

    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


_Check = tuple[str, Callable[[Service], bool], str, str]
_CHECKS: tuple[_Check, ...] = (
    ("provider", lambda s: s.provider is not None, "provider services are not supported", "use a container"),
    ("models", lambda s: bool(s.models), "models are not supported", "run the model server as a service"),
    (
        "credential_spec",
        lambda s: s.credential_spec is not None,
        "credential specs exist on Windows only",
        "",
    ),
    ("pre_start", lambda s: bool(s.pre_start), "pre_start hooks are not supported", "use a one-shot service"),
    (
        "use_api_socket",
        lambda s: s.use_api_socket,
        "the engine's socket is not handed to containers",
        "bind-mount it where that is really wanted",
    ),
    (
        "storage_opt",
        lambda s: bool(s.storage_opt),
        "the size of a container's file system cannot be limited: that takes project quotas",
        "put what grows on a tmpfs with a size",
    ),
    (
        "runtime",
        lambda s: s.runtime not in RUNTIMES,
        "there are no other runtimes than the one built in",
        "leave `runtime` out",
    ),
    (
        "isolation",
        lambda s: s.isolation not in ("", "default"),
        "isolation technologies exist on Windows only",
        "leave `isolation` out",
    ),
    (
        "userns_mode",
        lambda s: s.userns_mode not in ("", "host"),
        "user namespaces cannot be chosen per container",
        "use `host`, or leave it out",
    ),
    ("uts", lambda s: s.uts not in ("", "host"), "is not `host`", "use `host`, or leave it out"),
    ("cgroup", lambda s: s.cgroup not in ("", "host", "private"), "is neither `host` nor `private`", ""),
    (
        "pid",
        lambda s: not _is_mode(s.pid, ("", "host", "private")),
        "is none of host, service:<name>, container:<name>",
        "",
    ),
    (
        "ipc",
        lambda s: not _is_mode(s.ipc, ("", "host", "none", "private", "shareable")),
        "is none of private, shareable, none, host, service:<name>, container:<name>",
        "",
    ),
)


def _is_mode(mode: str, known: tuple[str, ...]) -> bool:
    kind, _, name = mode.partition(":")
    return mode in known or (kind in ("service", "container") and bool(name))


def refusals(project: Project) -> tuple[Refusal, ...]:
    """Everything that the active services ask for and that cannot be done."""
    return tuple(r for service in project.services.values() for r in _of_service(service)) + tuple(
        _of_volumes(project)
    )


def _of_service(service: Service) -> Iterator[Refusal]:
    for key, is_refused, message, hint in _CHECKS:
        if is_refused(service):
            yield Refusal(f"services.{service.name}.{key}", message, hint)
    if service.replicas > 1 and service.container_name:
        yield Refusal(
            f"services.{service.name}.scale",
            f"can't set container_name and {service.name} as container name must be unique",
            "leave container_name out, or do not scale",
        )


def _of_volumes(project: Project) -> Iterator[Refusal]:
    used = {v.source for s in project.services.values() for v in s.volumes if v.type == "volume" and v.source}
    for key in sorted(used):
        volume = project.volumes.get(key)
        if volume is not None and not volume.external and volume.driver not in ("", "local"):
            yield Refusal(f"volumes.{key}.driver", f"there is no volume driver {volume.driver}", "use local")


def demand_support(project: Project) -> None:
    """Raise :class:`Unsupported` with everything that cannot be done, one line each."""
    found = refusals(project)
    if found:
        hints = dict.fromkeys(r.hint for r in found if r.hint)
        error = Unsupported("\n".join(str(r) for r in found), hint="; ".join(hints)).pointing_at(
            found[0].path
        )
        error.errors = tuple(
            Unsupported(str(r), hint=r.hint).pointing_at(r.path) for r in found[1:] and found
        )
        raise error
