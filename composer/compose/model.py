"""The typed Compose project: what a file means once everything in it is resolved.

Every short form has become its long form, names are resolved, paths absolute, variables replaced. Durations are
nanoseconds, sizes bytes. ``None`` (or "", ``()``, ``{}``) means: not given. Names of attributes are those of the
Compose Specification; where one says ``string | list`` here is the list.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from composer.compose.quantities import Duration, Size

Condition = Literal["service_started", "service_healthy", "service_completed_successfully"]


class Value(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of everything in a project: immutable, compared by value."""


class Dependency(Value, frozen=True):
    condition: Condition = "service_started"
    required: bool = True
    restart: bool = False


class Port(Value, frozen=True):
    """One published port. ``published`` is "" for an ephemeral one, or a number, or a range ``a-b``."""

    target: int
    published: str = ""
    protocol: str = "tcp"
    mode: str = "ingress"
    host_ip: str = ""
    name: str = ""
    app_protocol: str = ""


class BindOptions(Value, frozen=True):
    propagation: str = ""
    create_host_path: bool = True
    recursive: str = ""
    selinux: str = ""


class VolumeOptions(Value, frozen=True):
    nocopy: bool = False
    subpath: str = ""
    labels: dict[str, str] = {}


class TmpfsOptions(Value, frozen=True):
    size: Size | None = None
    mode: int | None = None
    """Permission bits."""


class ImageOptions(Value, frozen=True):
    subpath: str = ""


class ServiceVolume(Value, frozen=True):
    """One mount. ``source``: absolute host path (bind), key of the project's ``volumes`` (volume; "" for an
    anonymous one), image reference (image)."""

    type: Literal["bind", "volume", "tmpfs", "image", "npipe", "cluster"]
    target: str = ""
    source: str = ""
    read_only: bool = False
    consistency: str = ""
    bind: BindOptions | None = None
    volume: VolumeOptions | None = None
    tmpfs: TmpfsOptions | None = None
    image: ImageOptions | None = None


class ServiceNetwork(Value, frozen=True):
    aliases: tuple[str, ...] = ()
    ipv4_address: str = ""
    ipv6_address: str = ""
    link_local_ips: tuple[str, ...] = ()
    mac_address: str = ""
    priority: int = 0
    gw_priority: int = 0
    interface_name: str = ""
    driver_opts: dict[str, str] = {}


class ServiceFile(Value, frozen=True):
    """A config or secret granted to a service. ``target`` of a config without one is ""; ``mode`` in bits."""

    source: str
    target: str = ""
    uid: str = ""
    gid: str = ""
    mode: int | None = None


class EnvFile(Value, frozen=True):
    path: str
    required: bool = True
    format: str = ""


class Healthcheck(Value, frozen=True):
    """``test`` begins with NONE, CMD or CMD-SHELL; () inherits the image's."""

    test: tuple[str, ...] = ()
    interval: Duration | None = None
    timeout: Duration | None = None
    start_period: Duration | None = None
    start_interval: Duration | None = None
    retries: int | None = None
    disable: bool = False


class Logging(Value, frozen=True):
    driver: str = ""
    options: dict[str, str | None] = {}


class Ulimit(Value, frozen=True):
    soft: int = 0
    hard: int = 0


class Device(Value, frozen=True):
    source: str
    target: str = ""
    permissions: str = "rwm"


class DeviceRequest(Value, frozen=True):
    """gpus and deploy.resources.reservations.devices. ``count`` -1 is "all"."""

    capabilities: tuple[str, ...] = ()
    driver: str = ""
    count: int = 0
    device_ids: tuple[str, ...] = ()
    options: dict[str, str] = {}


class WeightDevice(Value, frozen=True):
    path: str
    weight: int = 0


class ThrottleDevice(Value, frozen=True):
    path: str
    rate: Size = Size(0)


class BlkioConfig(Value, frozen=True):
    weight: int = 0
    weight_device: tuple[WeightDevice, ...] = ()
    device_read_bps: tuple[ThrottleDevice, ...] = ()
    device_read_iops: tuple[ThrottleDevice, ...] = ()
    device_write_bps: tuple[ThrottleDevice, ...] = ()
    device_write_iops: tuple[ThrottleDevice, ...] = ()


class GenericResource(Value, frozen=True):
    kind: str = ""
    value: int = 0


class Limits(Value, frozen=True):
    """deploy.resources.limits and .reservations. ``cpus`` is a number of CPUs."""

    cpus: float = 0.0
    memory: Size = Size(0)
    pids: int = 0
    devices: tuple[DeviceRequest, ...] = ()
    generic_resources: tuple[GenericResource, ...] = ()


class RestartPolicy(Value, frozen=True):
    condition: str = ""
    delay: Duration | None = None
    max_attempts: int | None = None
    window: Duration | None = None


class UpdateConfig(Value, frozen=True):
    parallelism: int | None = None
    delay: Duration | None = None
    failure_action: str = ""
    monitor: Duration | None = None
    max_failure_ratio: float = 0.0
    order: str = ""


class Placement(Value, frozen=True):
    constraints: tuple[str, ...] = ()
    preferences: tuple[dict[str, str], ...] = ()
    max_replicas_per_node: int = 0


class Deploy(Value, frozen=True):
    mode: str = ""
    replicas: int | None = None
    labels: dict[str, str] = {}
    limits: Limits = Limits()
    reservations: Limits = Limits()
    restart_policy: RestartPolicy | None = None
    update_config: UpdateConfig | None = None
    rollback_config: UpdateConfig | None = None
    placement: Placement = Placement()
    endpoint_mode: str = ""


class Ssh(Value, frozen=True):
    id: str
    path: str = ""


class Build(Value, frozen=True):
    context: str = ""
    dockerfile: str = ""
    dockerfile_inline: str = ""
    target: str = ""
    args: dict[str, str | None] = {}
    additional_contexts: dict[str, str] = {}
    ssh: tuple[Ssh, ...] = ()
    secrets: tuple[ServiceFile, ...] = ()
    labels: dict[str, str] = {}
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()
    pull: bool = False
    network: str = ""
    isolation: str = ""
    platforms: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    """``host=address``."""
    privileged: bool = False
    entitlements: tuple[str, ...] = ()
    shm_size: Size = Size(0)
    ulimits: dict[str, Ulimit] = {}
    provenance: str = ""
    sbom: str = ""


class Hook(Value, frozen=True):
    """post_start and pre_stop."""

    command: tuple[str, ...] = ()
    user: str = ""
    privileged: bool = False
    working_dir: str = ""
    environment: dict[str, str | None] = {}


class Watch(Value, frozen=True):
    path: str
    action: str
    target: str = ""
    ignore: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    initial_sync: bool = False
    exec: Hook | None = None


class CredentialSpec(Value, frozen=True):
    config: str = ""
    file: str = ""
    registry: str = ""


class Provider(Value, frozen=True):
    type: str
    options: dict[str, tuple[str, ...]] = {}


class ServiceModel(Value, frozen=True):
    endpoint_var: str = ""
    model_var: str = ""


class Service(Value, frozen=True):
    """One service, all attributes of the specification in canonical form."""

    name: str
    annotations: dict[str, str] = {}
    attach: bool = True
    blkio_config: BlkioConfig | None = None
    build: Build | None = None
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    cgroup: str = ""
    cgroup_parent: str = ""
    command: tuple[str, ...] | None = None
    """None: the image's; () clears it."""
    configs: tuple[ServiceFile, ...] = ()
    container_name: str = ""
    cpu_count: int = 0
    cpu_percent: float = 0.0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_rt_period: int = 0
    """Microseconds."""
    cpu_rt_runtime: int = 0
    """Microseconds."""
    cpu_shares: int = 0
    cpus: float = 0.0
    cpuset: str = ""
    credential_spec: CredentialSpec | None = None
    depends_on: dict[str, Dependency] = {}
    """Also what links, volumes_from and ``service:`` modes imply."""
    deploy: Deploy | None = None
    develop: tuple[Watch, ...] = ()
    """develop.watch."""
    device_cgroup_rules: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()
    dns: tuple[str, ...] = ()
    dns_opt: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    domainname: str = ""
    entrypoint: tuple[str, ...] | None = None
    env_file: tuple[EnvFile, ...] = ()
    environment: dict[str, str | None] = {}
    """With env files merged in. None: removes the image's."""
    expose: tuple[str, ...] = ()
    """``port[-port][/protocol]``."""
    external_links: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    """``host=address``."""
    gpus: tuple[DeviceRequest, ...] = ()
    group_add: tuple[str, ...] = ()
    healthcheck: Healthcheck | None = None
    hostname: str = ""
    image: str = ""
    init: bool | None = None
    ipc: str = ""
    isolation: str = ""
    label_file: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    """With label files merged in."""
    links: tuple[str, ...] = ()
    logging: Logging | None = None
    mac_address: str = ""
    mem_limit: Size = Size(0)
    mem_reservation: Size = Size(0)
    mem_swappiness: int | None = None
    memswap_limit: Size = Size(0)
    models: dict[str, ServiceModel | None] = {}
    network_mode: str = ""
    networks: dict[str, ServiceNetwork | None] = {}
    """By key of the project's ``networks``."""
    oom_kill_disable: bool = False
    oom_score_adj: int = 0
    pid: str = ""
    pids_limit: int = 0
    platform: str = ""
    ports: tuple[Port, ...] = ()
    post_start: tuple[Hook, ...] = ()
    pre_start: tuple[Hook, ...] = ()
    pre_stop: tuple[Hook, ...] = ()
    privileged: bool = False
    profiles: tuple[str, ...] = ()
    provider: Provider | None = None
    pull_policy: str = ""
    read_only: bool = False
    restart: str = ""
    runtime: str = ""
    scale: int | None = None
    secrets: tuple[ServiceFile, ...] = ()
    security_opt: tuple[str, ...] = ()
    shm_size: Size = Size(0)
    stdin_open: bool = False
    stop_grace_period: Duration | None = None
    stop_signal: str = ""
    storage_opt: dict[str, str] = {}
    sysctls: dict[str, str] = {}
    tmpfs: tuple[str, ...] = ()
    tty: bool = False
    ulimits: dict[str, Ulimit] = {}
    use_api_socket: bool = False
    user: str = ""
    userns_mode: str = ""
    uts: str = ""
    volumes: tuple[ServiceVolume, ...] = ()
    volumes_from: tuple[str, ...] = ()
    working_dir: str = ""
    extensions: dict[str, Any] = {}

    @property
    def replicas(self) -> int:
        """How many containers the file asks for: ``scale``, else ``deploy.replicas``, else 1."""
        if self.scale is not None:
            return self.scale
        if self.deploy is not None and self.deploy.replicas is not None:
            return self.deploy.replicas
        return 1


class IpamPool(Value, frozen=True):
    subnet: str = ""
    gateway: str = ""
    ip_range: str = ""
    aux_addresses: dict[str, str] = {}


class Ipam(Value, frozen=True):
    driver: str = ""
    config: tuple[IpamPool, ...] = ()
    options: dict[str, str] = {}


class Network(Value, frozen=True):
    """``key`` is the name in the file, ``name`` the real one (``shop_default``)."""

    key: str
    name: str
    driver: str = ""
    driver_opts: dict[str, str] = {}
    ipam: Ipam = Ipam()
    external: bool = False
    internal: bool = False
    attachable: bool = False
    enable_ipv4: bool | None = None
    enable_ipv6: bool | None = None
    labels: dict[str, str] = {}
    extensions: dict[str, Any] = {}


class Volume(Value, frozen=True):
    key: str
    name: str
    driver: str = ""
    driver_opts: dict[str, str] = {}
    external: bool = False
    labels: dict[str, str] = {}
    extensions: dict[str, Any] = {}


class FileObject(Value, frozen=True):
    """A top-level config or secret: exactly one of ``file``, ``environment``, ``content``, ``external``.

    ``value`` is what ``environment`` names, from the environment of the command (None: not set).
    """

    key: str
    name: str
    file: str = ""
    environment: str = ""
    content: str = ""
    value: str | None = None
    external: bool = False
    driver: str = ""
    driver_opts: dict[str, str] = {}
    template_driver: str = ""
    labels: dict[str, str] = {}
    extensions: dict[str, Any] = {}


class Model(Value, frozen=True):
    key: str
    name: str = ""
    model: str = ""
    context_size: int = 0
    runtime_flags: tuple[str, ...] = ()
    extensions: dict[str, Any] = {}


class Project(Value, frozen=True):
    """A loaded project. ``services`` are the active ones; those that no active profile enables are in
    ``disabled_services``."""

    name: str
    working_dir: str
    compose_files: tuple[str, ...] = ()
    """Absolute paths, in order ("-" for standard input)."""
    env_files: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    """What interpolation saw: the command's environment over the env files."""
    profiles: tuple[str, ...] = ()
    services: dict[str, Service] = {}
    disabled_services: dict[str, Service] = {}
    networks: dict[str, Network] = {}
    volumes: dict[str, Volume] = {}
    configs: dict[str, FileObject] = {}
    secrets: dict[str, FileObject] = {}
    models: dict[str, Model] = {}
    extensions: dict[str, Any] = {}
    warnings: tuple[str, ...] = ()
    unready: dict[str, str] = {}
    """What is wrong with disabled services (a missing env file, for instance); raised when one is selected."""

    def service(self, name: str) -> Service:
        """The service ``name``, active or not. Raises :class:`ComposeError` naming the nearest one."""
        from composer.compose.selection import find_service

        return find_service(self, name)

    def select(self, names: Iterable[str], *, include_deps: bool = True) -> Project:
        """The project reduced to the named services (all active ones for none), as a command line names them."""
        from composer.compose.selection import select

        return select(self, tuple(names), include_deps=include_deps)
