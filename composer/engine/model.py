"""What the engine keeps and shows: records in the database, and the changing state of a container."""

from __future__ import annotations

from typing import Literal

import msgspec

from runtime.container.config import ContainerConfig, EndpointConfig, Frozen

Phase = Literal["created", "running", "paused", "restarting", "removing", "exited", "dead"]
HealthStatus = Literal["starting", "healthy", "unhealthy"]


class ProbeResult(Frozen, frozen=True):
    """One healthcheck run. Times in ns since the epoch; ``output`` at most 4096 bytes."""

    start: int
    end: int
    exit_code: int
    output: str


class Health(Frozen, frozen=True):
    status: HealthStatus = "starting"
    failing_streak: int = 0
    log: tuple[ProbeResult, ...] = ()
    """The last five."""


class Status(Frozen, frozen=True):
    """Where a container is in its life. Times in ns since the epoch, 0 when it did not happen."""

    status: Phase = "created"
    pid: int = 0
    exit_code: int = 0
    oom_killed: bool = False
    error: str = ""
    started_at: int = 0
    finished_at: int = 0
    restart_count: int = 0
    health: Health | None = None

    @property
    def is_alive(self) -> bool:
        """There is a process."""
        return self.status in ("running", "paused")

    @property
    def is_settled(self) -> bool:
        """Nothing will happen by itself any more."""
        return self.status in ("created", "exited", "dead")

    @property
    def is_over(self) -> bool:
        """It has run, and does not write any more."""
        return self.status in ("exited", "dead", "removing")


class Endpoint(Frozen, frozen=True):
    """A container's place on one network."""

    network_id: str
    ipv4: str = ""
    prefix: int = 0
    ipv6: str = ""
    prefix6: int = 0
    gateway: str = ""
    gateway6: str = ""
    mac: str = ""
    aliases: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    gw_priority: int = 0
    priority: int = 0
    interface_name: str = ""
    sysctls: dict[str, str] = {}
    """Of the interface, which is IFNAME in them."""
    link_local: tuple[str, ...] = ()
    asked: EndpointConfig | None = None
    """What it was made for; None in records of older versions."""


class PublishedPort(Frozen, frozen=True):
    container_port: int
    protocol: Literal["tcp", "udp", "sctp"]
    host_ip: str
    host_port: int


class MountPoint(Frozen, frozen=True):
    """A mount as ``inspect`` shows it."""

    type: Literal["bind", "volume", "tmpfs", "image"]
    source: str
    target: str
    name: str = ""
    read_only: bool = False
    propagation: str = ""


class ContainerRecord(Frozen, frozen=True):
    """A container in the database: written before anything is made for it."""

    id: str
    name: str
    created: int
    config: ContainerConfig
    image_id: str
    image_ref: str
    endpoints: dict[str, Endpoint] = {}
    joining: tuple[str, ...] = ()
    """Networks among ``endpoints`` for which a running container may not have its interface yet."""
    leaving: dict[str, Endpoint] = {}
    """Places in networks that it has left, but may still have the interface (and so the addresses) of."""
    ports: tuple[PublishedPort, ...] = ()
    """As last bound; ephemeral ports are asked for again at each start."""
    volumes: dict[str, str] = {}
    """Mount target -> name of the volume, for named and anonymous ones."""
    anonymous: tuple[str, ...] = ()
    """Names of the volumes that ``rm -v`` removes."""
    discards_volumes: bool = False
    """While it is being removed: its anonymous volumes go with it."""
    is_wanted: bool = False
    """Should be running: what a recovering engine goes by."""
    is_manually_stopped: bool = False
    status: Status = Status()
    boot_id: str = ""
    """Boot during which ``status`` was true."""


class NetworkAttachment(Frozen, frozen=True):
    container_id: str
    name: str
    endpoint: Endpoint


class VolumeRecord(Frozen, frozen=True):
    name: str
    created: int
    driver: str = "local"
    driver_opts: dict[str, str] = {}
    labels: dict[str, str] = {}
    is_anonymous: bool = False


class EngineEvent(Frozen, frozen=True):
    """Something that happened, in the terms of Docker's events."""

    type: Literal["container", "network", "volume", "image", "daemon"]
    action: str
    actor_id: str
    attributes: dict[str, str]
    time_ns: int


class ExecConfig(Frozen, frozen=True):
    cmd: tuple[str, ...]
    env: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = ""
    tty: bool = False
    console_size: tuple[int, int] = (0, 0)
    """Rows and columns of the terminal at first."""
    attach_stdin: bool = False
    attach_stdout: bool = True
    attach_stderr: bool = True
    privileged: bool = False
    detach_keys: str = ""
    debugs: bool = False
    """With this machine's programs, see ``composer.engine.debugging``."""


class ExecState(msgspec.Struct, kw_only=True):
    """One exec, kept until its container goes."""

    id: str
    container_id: str
    config: ExecConfig
    running: bool = False
    exit_code: int | None = None
    pid: int = 0
    error: str = ""
