"""What a container is to be: the record that the orchestrator writes and the engine keeps.

The vocabulary is Docker's container configuration (Config + HostConfig + NetworkingConfig of the Engine API) with
units made explicit: sizes in bytes, times in nanoseconds unless a name says otherwise. Values are final: names are
resolved, paths absolute, short forms expanded. What the image contributes (command, environment, user ...) is merged
when the container is created, by ``runtime.container.spec``.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Frozen(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Base: immutable, compact on disk (defaults are left out)."""


class Mount(Frozen, frozen=True):
    """One mount below the container's root, in Docker's terms."""

    type: Literal["bind", "volume", "tmpfs", "image"]
    target: str
    source: str = ""
    """bind: absolute host path; volume: name of the volume, "" for an anonymous one; image: reference."""
    read_only: bool = False
    propagation: str = ""
    """bind: rprivate (default), private, rshared, shared, rslave, slave."""
    recursive: Literal["", "enabled", "disabled", "writable", "readonly"] = ""
    create_host_path: bool = False
    """bind: make the source directory when it is not there."""
    nocopy: bool = False
    """volume: do not fill an empty volume with what the image has at the target."""
    subpath: str = ""
    size: int = 0
    """tmpfs: bytes, 0 for the kernel's default."""
    mode: int | None = None
    """tmpfs: permission bits."""
    options: tuple[str, ...] = ()
    """tmpfs: raw mount options (``noexec``, ``uid=1000``)."""
    labels: dict[str, str] = {}
    """volume: labels of an anonymous volume to be made."""


class FileContent(Frozen, frozen=True):
    """A config or secret: a file given to the container, read-only."""

    target: str
    source: str = ""
    """Host path to bind, or "" when ``content`` is given."""
    content: bytes | None = None
    uid: int | None = None
    gid: int | None = None
    mode: int | None = None


class Device(Frozen, frozen=True):
    """A host device node passed in."""

    source: str
    target: str
    permissions: str = "rwm"


class DeviceRequest(Frozen, frozen=True):
    """Devices by name: Docker's request of a driver. ``cdi`` takes qualified names (vendor.com/class=name), the others
    stand for GPUs; ``count`` -1 is all of them."""

    driver: str = ""
    count: int = 0
    device_ids: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    options: dict[str, str] = {}


class Healthcheck(Frozen, frozen=True):
    """Docker's healthcheck. ``test`` is ``["NONE"]``, ``["CMD", ...]`` or ``["CMD-SHELL", text]``; () inherits the
    image's. Times in nanoseconds, 0 means the default (30 s, 30 s, 0, 5 s, 3 retries)."""

    test: tuple[str, ...] = ()
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class RestartPolicy(Frozen, frozen=True):
    """Docker's restart policy; ``delay``, ``window`` and ``max_attempts`` come from deploy.restart_policy (ns)."""

    name: Literal["no", "always", "on-failure", "unless-stopped"] = "no"
    maximum_retry_count: int = 0
    delay: int | None = None
    window: int | None = None


class Ulimit(Frozen, frozen=True):
    name: str
    soft: int
    hard: int


class LogConfig(Frozen, frozen=True):
    """``driver`` is json-file, local or none; options max-size, max-file (as in Docker)."""

    driver: str = "json-file"
    options: dict[str, str] = {}


class WeightDevice(Frozen, frozen=True):
    path: str
    weight: int


class ThrottleDevice(Frozen, frozen=True):
    path: str
    rate: int


LIFTED = -1
"""Of a limit of processes that is to be changed: there shall be none any more."""


class Resources(Frozen, frozen=True):
    """Limits of one container; 0 means not limited (see Docker's HostConfig for each)."""

    memory: int = 0
    memory_swap: int = 0
    """Memory plus swap in bytes; -1 unlimited swap; 0: twice the memory (Docker's default)."""
    memory_reservation: int = 0
    memory_swappiness: int | None = None
    oom_kill_disable: bool = False
    nano_cpus: int = 0
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_rt_period: int = 0
    cpu_rt_runtime: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids_limit: int = 0
    blkio_weight: int = 0
    blkio_weight_device: tuple[WeightDevice, ...] = ()
    device_read_bps: tuple[ThrottleDevice, ...] = ()
    device_write_bps: tuple[ThrottleDevice, ...] = ()
    device_read_iops: tuple[ThrottleDevice, ...] = ()
    device_write_iops: tuple[ThrottleDevice, ...] = ()


class EndpointConfig(Frozen, frozen=True):
    """How a container is connected to one network."""

    network: str
    """Full name of the network (``shop_default``)."""
    aliases: tuple[str, ...] = ()
    ipv4_address: str = ""
    ipv6_address: str = ""
    link_local_ips: tuple[str, ...] = ()
    mac_address: str = ""
    priority: int = 0
    gw_priority: int = 0
    interface_name: str = ""
    driver_opts: dict[str, str] = {}
    links: tuple[str, ...] = ()
    """``name[:alias]`` of other containers there, under names that only this one knows."""


class PortBinding(Frozen, frozen=True):
    """One published port. Ranges are expanded; ``host_port`` 0 asks for an ephemeral one, and
    ``host_port_end`` > ``host_port`` for any free one of that range."""

    container_port: int
    protocol: Literal["tcp", "udp", "sctp"] = "tcp"
    host_ip: str = ""
    """"" means every address, IPv4 and IPv6."""
    host_port: int = 0
    host_port_end: int = 0


class Hook(Frozen, frozen=True):
    """post_start / pre_stop."""

    command: tuple[str, ...]
    user: str = ""
    privileged: bool = False
    working_dir: str = ""
    env: tuple[str, ...] = ()


class ContainerConfig(Frozen, frozen=True):
    """Everything asked for in one container. ``None`` (or "") means: as the image says."""

    image: str
    """Reference as given by the user; the record of the container holds the id it was resolved to."""
    platform: str = ""
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    env: tuple[str, ...] = ()
    """``NAME=value``; ``NAME`` alone removes the image's."""
    working_dir: str = ""
    user: str = ""
    group_add: tuple[str, ...] = ()
    hostname: str = ""
    domainname: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    tty: bool = False
    console_size: tuple[int, int] = (0, 0)
    """Rows and columns of the terminal at first."""
    stdin_open: bool = False
    stdin_once: bool = False
    init: bool = False
    read_only: bool = False
    stop_signal: str = ""
    stop_timeout: int | None = None
    """Seconds between the stop signal and SIGKILL; None: 10."""
    restart: RestartPolicy = RestartPolicy()
    healthcheck: Healthcheck | None = None
    auto_remove: bool = False

    mounts: tuple[Mount, ...] = ()
    volumes_from: tuple[str, ...] = ()
    """Container ids or names, with ``:ro`` or ``:rw`` behind."""
    files: tuple[FileContent, ...] = ()
    devices: tuple[Device, ...] = ()
    device_requests: tuple[DeviceRequest, ...] = ()
    device_cgroup_rules: tuple[str, ...] = ()
    shm_size: int = 0
    is_volatile: bool = False
    """It is started once, and what it writes need not survive the machine."""
    storage_opt: dict[str, str] = {}

    network_mode: str = "bridge"
    """``none``, ``host``, ``container:<id>`` or ``bridge`` (then ``endpoints`` tells which networks)."""
    endpoints: tuple[EndpointConfig, ...] = ()
    ports: tuple[PortBinding, ...] = ()
    expose: tuple[str, ...] = ()
    publish_all: bool = False
    extra_hosts: tuple[str, ...] = ()
    """``host=address``; the address may be ``host-gateway``."""
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_opt: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    mac_address: str = ""

    pid_mode: str = ""
    """"", ``host`` or ``container:<id>``."""
    ipc_mode: str = ""
    """"", ``private``, ``shareable``, ``host``, ``none`` or ``container:<id>``."""
    uts_mode: str = ""
    userns_mode: str = ""
    cgroupns_mode: Literal["", "private", "host"] = ""
    cgroup_parent: str = ""

    privileged: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    """``no-new-privileges[:true]``, ``seccomp=unconfined``, ``seccomp=<profile JSON>``, ``apparmor=...``,
    ``label=...``, ``systempaths=unconfined``."""
    sysctls: dict[str, str] = {}
    ulimits: tuple[Ulimit, ...] = ()
    oom_score_adj: int = 0
    resources: Resources = Resources()
    log: LogConfig = LogConfig()
    post_start: tuple[Hook, ...] = ()
    pre_stop: tuple[Hook, ...] = ()
    debugs: str = ""
    """Id of the container whose files this one shows, with this machine's programs beside them."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is asked for and will not happen, in Docker's words."""
        if self.network_mode == "host" and (self.ports or self.publish_all):
            return ("Published ports are discarded when using host network mode",)
        return ()


class ImageConfig(Frozen, frozen=True):
    """The part of an OCI image configuration that containers inherit (image-spec config.md, plus Docker's
    Healthcheck, OnBuild and Shell)."""

    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    stop_signal: str = ""
    healthcheck: Healthcheck | None = None
    shell: tuple[str, ...] = ()
