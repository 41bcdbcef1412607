"""What clients of the Docker Engine API send, as structs. Absent and null are the same, as in Go.

Field names: Docker Engine API v1.47.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

import msgspec

from runtime.errors import InvalidArgument


class Wire(msgspec.Struct, frozen=True, rename="pascal", kw_only=True):
    """Base: fields are Docker's names in snake case."""


class HealthcheckBody(Wire, frozen=True):
    test: list[str] = []
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class LogConfigBody(Wire, frozen=True):
    type: str = ""
    config: dict[str, str] = {}


class RestartPolicyBody(Wire, frozen=True):
    name: str = ""
    maximum_retry_count: int = 0


class PortBindingBody(Wire, frozen=True):
    host_ip: str = ""
    host_port: str = ""


class BindOptions(Wire, frozen=True):
    propagation: str = ""
    non_recursive: bool = False
    create_mountpoint: bool = False
    read_only_non_recursive: bool = False
    read_only_force_recursive: bool = False


class DriverConfig(Wire, frozen=True):
    name: str = ""
    options: dict[str, str] = {}


class VolumeOptions(Wire, frozen=True):
    no_copy: bool = False
    labels: dict[str, str] = {}
    driver_config: DriverConfig | None = None
    subpath: str = ""


class TmpfsOptions(Wire, frozen=True):
    size_bytes: int = 0
    mode: int | None = None
    options: list[list[str]] = []


class ImageOptions(Wire, frozen=True):
    subpath: str = ""


class MountBody(Wire, frozen=True):
    type: str = ""
    source: str = ""
    target: str = ""
    read_only: bool = False
    consistency: str = ""
    bind_options: BindOptions = BindOptions()
    volume_options: VolumeOptions = VolumeOptions()
    tmpfs_options: TmpfsOptions = TmpfsOptions()
    image_options: ImageOptions = ImageOptions()


class DeviceBody(Wire, frozen=True):
    path_on_host: str = ""
    path_in_container: str = ""
    cgroup_permissions: str = ""


class UlimitBody(Wire, frozen=True):
    name: str = ""
    soft: int = 0
    hard: int = 0


class WeightDeviceBody(Wire, frozen=True):
    path: str
    weight: int = 0


class ThrottleDeviceBody(Wire, frozen=True):
    path: str
    rate: int = 0


class ResourcesBody(Wire, frozen=True):
    """The part of HostConfig that ``POST /containers/{id}/update`` takes too."""

    cpu_shares: int = 0
    memory: int = 0
    nano_cpus: int = 0
    cgroup_parent: str = ""
    blkio_weight: int = 0
    blkio_weight_device: list[WeightDeviceBody] = []
    blkio_device_read_bps: list[ThrottleDeviceBody] = []
    blkio_device_write_bps: list[ThrottleDeviceBody] = []
    blkio_device_read_iops: list[ThrottleDeviceBody] = msgspec.field(name="BlkioDeviceReadIOps", default=[])
    blkio_device_write_iops: list[ThrottleDeviceBody] = msgspec.field(name="BlkioDeviceWriteIOps", default=[])
    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_realtime_period: int = 0
    cpu_realtime_runtime: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    devices: list[DeviceBody] = []
    device_cgroup_rules: list[str] = []
    memory_reservation: int = 0
    memory_swap: int = 0
    memory_swappiness: int | None = None
    oom_kill_disable: bool = False
    init: bool | None = None
    pids_limit: int | None = None
    ulimits: list[UlimitBody] = []
    restart_policy: RestartPolicyBody = RestartPolicyBody()


class DeviceRequestBody(Wire, frozen=True):
    driver: str = ""
    count: int = 0
    device_ids: list[str] = msgspec.field(name="DeviceIDs", default=[])
    capabilities: list[list[str]] = []
    options: dict[str, str] = {}


class HostConfigBody(ResourcesBody, frozen=True):
    binds: list[str] = []
    container_id_file: str = msgspec.field(name="ContainerIDFile", default="")
    log_config: LogConfigBody = LogConfigBody()
    network_mode: str = ""
    port_bindings: dict[str, list[PortBindingBody]] = {}
    auto_remove: bool = False
    volume_driver: str = ""
    volumes_from: list[str] = []
    mounts: list[MountBody] = []
    console_size: list[int] = []
    annotations: dict[str, str] = {}
    cap_add: list[str] = []
    cap_drop: list[str] = []
    cgroupns_mode: str = ""
    dns: list[str] = []
    dns_options: list[str] = []
    dns_search: list[str] = []
    extra_hosts: list[str] = []
    group_add: list[str] = []
    ipc_mode: str = ""
    cgroup: str = ""
    links: list[str] = []
    oom_score_adj: int = 0
    pid_mode: str = ""
    privileged: bool = False
    publish_all_ports: bool = False
    readonly_rootfs: bool = False
    security_opt: list[str] = []
    storage_opt: dict[str, str] = {}
    tmpfs: dict[str, str] = {}
    uts_mode: str = msgspec.field(name="UTSMode", default="")
    userns_mode: str = ""
    shm_size: int = 0
    sysctls: dict[str, str] = {}
    runtime: str = ""
    isolation: str = ""
    masked_paths: list[str] | None = None
    readonly_paths: list[str] | None = None
    device_requests: list[DeviceRequestBody] = []
    kernel_memory: int = 0
    kernel_memory_tcp: int = msgspec.field(name="KernelMemoryTCP", default=0)
    cpu_count: int = 0
    cpu_percent: int = 0
    io_maximum_iops: int = msgspec.field(name="IOMaximumIOps", default=0)
    io_maximum_bandwidth: int = msgspec.field(name="IOMaximumBandwidth", default=0)


class IpamConfigBody(Wire, frozen=True):
    ipv4_address: str = msgspec.field(name="IPv4Address", default="")
    ipv6_address: str = msgspec.field(name="IPv6Address", default="")
    link_local_ips: list[str] = msgspec.field(name="LinkLocalIPs", default=[])


class EndpointBody(Wire, frozen=True):
    """An endpoint as clients send it; what only the engine knows (NetworkID, Gateway ...) is not looked
    at."""

    ipam_config: IpamConfigBody = msgspec.field(name="IPAMConfig", default=IpamConfigBody())
    links: list[str] = []
    aliases: list[str] = []
    mac_address: str = ""
    driver_opts: dict[str, str] = {}
    gw_priority: int = 0


class NetworkingBody(Wire, frozen=True):
    endpoints_config: dict[str, EndpointBody] = {}


class CreateBody(Wire, frozen=True):
    hostname: str = ""
    domainname: str = ""
    user: str = ""
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    exposed_ports: dict[str, Any] = {}
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    env: list[str] = []
    cmd: list[str] | str | None = None
    healthcheck: HealthcheckBody | None = None
    args_escaped: bool = False
    image: str = ""
    volumes: dict[str, Any] = {}
    working_dir: str = ""
    entrypoint: list[str] | str | None = None
    network_disabled: bool = False
    mac_address: str = ""
    on_build: list[str] = []
    labels: dict[str, str] = {}
    stop_signal: str = ""
    stop_timeout: int | None = None
    shell: list[str] = []
    host_config: HostConfigBody = HostConfigBody()
    networking_config: NetworkingBody = NetworkingBody()


class ExecBody(Wire, frozen=True):
    """``POST /containers/{id}/exec``."""

    user: str = ""
    privileged: bool = False
    tty: bool = False
    console_size: list[int] = []
    attach_stdin: bool = False
    attach_stderr: bool = False
    attach_stdout: bool = False
    detach_keys: str = ""
    detach: bool = False
    env: list[str] = []
    working_dir: str = ""
    cmd: list[str] = []
    container: str = ""
    """docker-py repeats the path's."""


class ExecStartBody(Wire, frozen=True):
    """``POST /exec/{id}/start``."""

    detach: bool = False
    tty: bool | None = None
    console_size: list[int] = []


class VolumeBody(Wire, frozen=True):
    """``POST /volumes/create``."""

    name: str = ""
    driver: str = ""
    driver_opts: dict[str, str] = {}
    labels: dict[str, str] = {}
    cluster_volume_spec: dict[str, Any] = {}


class IpamPoolBody(Wire, frozen=True):
    subnet: str = ""
    ip_range: str = msgspec.field(name="IPRange", default="")
    gateway: str = ""
    auxiliary_addresses: dict[str, str] = {}


class IpamBody(Wire, frozen=True):
    driver: str = ""
    options: dict[str, str] | None = None
    config: list[IpamPoolBody] = []


class NetworkBody(Wire, frozen=True):
    """``POST /networks/create``."""

    name: str = ""
    check_duplicate: bool = False
    driver: str = ""
    scope: str = ""
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_only: bool = False
    config_from: dict[str, Any] | None = None
    ipam: IpamBody = msgspec.field(name="IPAM", default=IpamBody())
    enable_ipv4: bool = msgspec.field(name="EnableIPv4", default=True)
    enable_ipv6: bool = msgspec.field(name="EnableIPv6", default=False)
    options: dict[str, str] = {}
    labels: dict[str, str] = {}


class ConnectBody(Wire, frozen=True):
    container: str = ""
    endpoint_config: EndpointBody = EndpointBody()


class DisconnectBody(Wire, frozen=True):
    container: str = ""
    force: bool = False


S = TypeVar("S", bound=msgspec.Struct)


def decode_body(document: object, type_: type[S]) -> S:
    """``document`` as a wire struct. Raises InvalidArgument naming the field that has a wrong type, or that
    has a value and is not known."""
    cleaned = without_nulls(document)
    try:
        body = msgspec.convert(cleaned, type_)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"invalid request body: {error}") from None
    refuse_unknown(cleaned, type_, "")
    return body


def console_size(size: list[int]) -> tuple[int, int]:
    """Rows and columns of a terminal; zeros when the client does not say. Raises InvalidArgument."""
    if size and (len(size) != 2 or not all(0 <= number < 65536 for number in size)):
        raise InvalidArgument("ConsoleSize: two whole numbers from 0 to 65535 expected, rows and columns")
    return (size[0], size[1]) if size else (0, 0)


def without_nulls(value: Any) -> Any:
    """``value`` without the members of objects that are null."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def refuse_unknown(value: Any, type_: type[msgspec.Struct], where: str) -> None:
    """Raise InvalidArgument for a member (with a value) that ``type_`` does not have; looks one struct deep
    into ``HostConfig``, where most settings are."""
    known = _members(type_)
    for key, item in value.items():
        if key not in known:
            if item not in (None, "", 0, False, [], {}):
                raise unsupported(where + key)
        elif isinstance(known[key], type) and issubclass(known[key], HostConfigBody):
            refuse_unknown(item, known[key], f"{where}{key}.")


@cache
def _members(type_: type[msgspec.Struct]) -> dict[str, Any]:
    """Types by name. To know them msgspec evaluates all annotations, each time it is asked."""
    return {field.encode_name: field.type for field in msgspec.structs.fields(type_)}


def unsupported(field: str, value: object = None) -> InvalidArgument:
    shown = "" if value is None else f" {value!r}"
    return InvalidArgument(f"{field}:{shown} is not supported", hint="Leave it out.")
