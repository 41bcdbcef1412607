"""The body of ``POST /containers/create`` to a ``ContainerConfig``. Pure.

Field names and meanings: Docker Engine API v1.47, ContainerCreate. Absent and null are the same, as in Go.
What is asked for and cannot be given is refused by the field's name, never ignored.
"""

from __future__ import annotations

from typing import Literal, cast

from composer.api.container_mounts import mounts
from composer.api.wire import (
    CreateBody,
    DeviceBody,
    DeviceRequestBody,
    EndpointBody,
    HealthcheckBody,
    HostConfigBody,
    PortBindingBody,
    ResourcesBody,
    RestartPolicyBody,
    ThrottleDeviceBody,
    console_size,
    unsupported,
)
from runtime.container.config import (
    ContainerConfig,
    Device,
    DeviceRequest,
    EndpointConfig,
    Healthcheck,
    LogConfig,
    PortBinding,
    Resources,
    RestartPolicy,
    ThrottleDevice,
    Ulimit,
    WeightDevice,
)
from runtime.container.config_rules import check_aliases
from runtime.errors import InvalidArgument
from runtime.kernel import cgroup_files

_REFUSED_HOST_FIELDS = (
    ("kernel_memory", "KernelMemory"),
    ("kernel_memory_tcp", "KernelMemoryTCP"),
    ("cgroup", "Cgroup"),
    ("cpu_count", "CpuCount"),
    ("cpu_percent", "CpuPercent"),
    ("io_maximum_iops", "IOMaximumIOps"),
    ("io_maximum_bandwidth", "IOMaximumBandwidth"),
)
RESTART_POLICIES = ("no", "always", "on-failure", "unless-stopped")


def container_config(body: CreateBody, platform: str = "") -> ContainerConfig:
    """What the body asks for. Networks and volumes are named as the client did."""
    host = body.host_config
    _refuse_unsupported(body, host)
    network_mode, endpoints = _networks(body, host)
    return ContainerConfig(
        image=body.image,
        platform=platform,
        entrypoint=_words(body.entrypoint),
        command=None if body.cmd is None else (body.cmd,) if isinstance(body.cmd, str) else tuple(body.cmd),
        env=tuple(body.env),
        working_dir=body.working_dir,
        user=body.user,
        group_add=tuple(host.group_add),
        hostname=body.hostname,
        domainname=body.domainname,
        labels=body.labels,
        annotations=host.annotations,
        tty=body.tty,
        console_size=console_size(host.console_size),
        stdin_open=body.open_stdin,
        stdin_once=body.stdin_once,
        init=bool(host.init),
        read_only=host.readonly_rootfs,
        stop_signal=body.stop_signal,
        stop_timeout=body.stop_timeout,
        restart=restart_policy(host.restart_policy, auto_remove=host.auto_remove),
        healthcheck=_healthcheck(body.healthcheck),
        auto_remove=host.auto_remove,
        mounts=mounts(body, host),
        volumes_from=tuple(host.volumes_from),
        devices=tuple(_device(device) for device in host.devices),
        device_requests=tuple(_device_request(request) for request in host.device_requests),
        device_cgroup_rules=tuple(host.device_cgroup_rules),
        shm_size=host.shm_size,
        storage_opt=host.storage_opt,
        network_mode=network_mode,
        endpoints=endpoints,
        ports=_port_bindings(host),
        expose=tuple(_expose(port) for port in body.exposed_ports),
        publish_all=host.publish_all_ports,
        extra_hosts=tuple(_extra_host(entry) for entry in host.extra_hosts),
        dns=tuple(host.dns),
        dns_search=tuple(host.dns_search),
        dns_opt=tuple(host.dns_options),
        links=tuple(host.links),
        mac_address=body.mac_address,
        pid_mode=host.pid_mode,
        ipc_mode=host.ipc_mode,
        uts_mode=host.uts_mode,
        userns_mode=host.userns_mode,
        cgroupns_mode=_cgroupns_mode(host.cgroupns_mode),
        cgroup_parent=host.cgroup_parent,
        privileged=host.privileged,
        cap_add=tuple(host.cap_add),
        cap_drop=tuple(host.cap_drop),
        security_opt=_security_opt(host),
        sysctls=host.sysctls,
        ulimits=tuple(Ulimit(name=u.name, soft=u.soft, hard=u.hard) for u in host.ulimits),
        oom_score_adj=host.oom_score_adj,
        resources=_consistent(resources(host)),
        log=LogConfig(driver=host.log_config.type or "json-file", options=host.log_config.config),
    )


def _refuse_unsupported(body: CreateBody, host: HostConfigBody) -> None:
    if not body.image:
        raise InvalidArgument("No image was specified", hint='Give "Image".')
    for field, name in _REFUSED_HOST_FIELDS:
        if getattr(host, field):
            raise unsupported(f"HostConfig.{name}")
    if host.runtime not in ("", "runc", "composer"):
        raise InvalidArgument(f"unknown or invalid runtime name: {host.runtime}")
    if host.isolation not in ("", "default"):
        raise unsupported("HostConfig.Isolation", host.isolation)
    if host.volume_driver not in ("", "local"):
        raise unsupported("HostConfig.VolumeDriver", host.volume_driver)


def _words(value: list[str] | str | None) -> tuple[str, ...] | None:
    """Docker's client sends ``[""]`` for an entrypoint to be emptied, and older ones a plain string."""
    if value is None:
        return None
    words = (value,) if isinstance(value, str) else tuple(value)
    return () if words == ("",) else words


def restart_policy(body: RestartPolicyBody, *, auto_remove: bool = False) -> RestartPolicy:
    name = body.name or "no"
    if name not in RESTART_POLICIES:
        raise InvalidArgument(
            f"invalid restart policy: unknown policy '{name}'; use one of 'no', 'always', 'on-failure', or "
            "'unless-stopped'"
        )
    if body.maximum_retry_count < 0:
        raise InvalidArgument("invalid restart policy: maximum retry count cannot be negative")
    if body.maximum_retry_count and name != "on-failure":
        raise InvalidArgument(
            f"invalid restart policy: maximum retry count can only be used with 'on-failure', not '{name}'"
        )
    if auto_remove and name != "no":
        raise InvalidArgument("can't create 'AutoRemove' container with restart policy")
    return RestartPolicy(
        name=cast('Literal["no", "always", "on-failure", "unless-stopped"]', name),
        maximum_retry_count=body.maximum_retry_count,
    )


def _healthcheck(body: HealthcheckBody | None) -> Healthcheck | None:
    if body is None:
        return None
    for name in ("interval", "timeout", "start_period", "start_interval"):
        value = getattr(body, name)
        if value and value < 1_000_000:
            raise InvalidArgument(f"Healthcheck.{name}: cannot be less than 1ms")
    if body.retries < 0:
        raise InvalidArgument("Healthcheck.Retries cannot be negative")
    if body.test and body.test[0] not in ("NONE", "CMD", "CMD-SHELL"):
        raise InvalidArgument(
            f'Unknown healthcheck type "{body.test[0]}"', hint="Use NONE, CMD or CMD-SHELL."
        )
    return Healthcheck(
        test=tuple(body.test),
        interval=body.interval,
        timeout=body.timeout,
        start_period=body.start_period,
        start_interval=body.start_interval,
        retries=body.retries,
    )


def _device(body: DeviceBody) -> Device:
    return Device(
        source=body.path_on_host,
        target=body.path_in_container or body.path_on_host,
        permissions=body.cgroup_permissions or "rwm",
    )


def _device_request(body: DeviceRequestBody) -> DeviceRequest:
    """The first of the alternatives that capabilities are."""
    return DeviceRequest(
        driver=body.driver,
        count=body.count,
        device_ids=tuple(body.device_ids),
        capabilities=tuple(body.capabilities[0]) if body.capabilities else (),
        options=body.options,
    )


def _networks(body: CreateBody, host: HostConfigBody) -> tuple[str, tuple[EndpointConfig, ...]]:
    """The network mode, and the endpoints with the network that the mode names first."""
    mode = host.network_mode
    if mode in ("", "default"):
        mode = "bridge"
    if body.network_disabled:
        mode = "none"
    asked = {
        "bridge" if name == "default" else name: endpoint
        for name, endpoint in body.networking_config.endpoints_config.items()
    }
    if mode in ("none", "host") or mode.startswith("container:"):
        others = [name for name in asked if name != mode]
        if others:
            raise InvalidArgument(
                f"conflicting options: cannot attach both user-defined and non-user-defined network-modes: "
                f"{mode} and {others[0]}"
            )
        own = asked.get(mode, EndpointBody())
        if own.ipam_config.ipv4_address or own.ipam_config.ipv6_address or own.ipam_config.link_local_ips:
            raise InvalidArgument("user specified IP address is supported on user defined networks only")
        if own.aliases:
            raise InvalidArgument("network-scoped aliases are only supported for user-defined networks")
        return mode, ()
    primary = EndpointBody()
    if mode in asked:
        primary = asked.pop(mode)
    endpoints = [endpoint_config(mode, primary)]
    endpoints += [endpoint_config(name, endpoint) for name, endpoint in asked.items()]
    return "bridge", tuple(endpoints)


def endpoint_config(network: str, body: EndpointBody) -> EndpointConfig:
    """Raises InvalidArgument."""
    check_aliases(body.aliases)
    return EndpointConfig(
        network=network,
        aliases=tuple(body.aliases),
        ipv4_address=body.ipam_config.ipv4_address,
        ipv6_address=body.ipam_config.ipv6_address,
        link_local_ips=tuple(body.ipam_config.link_local_ips),
        mac_address=body.mac_address,
        gw_priority=body.gw_priority,
        driver_opts=body.driver_opts,
        links=tuple(body.links),
    )


def parse_port(text: str) -> tuple[int, Literal["tcp", "udp", "sctp"]]:
    """``80/tcp`` (tcp when it says nothing)."""
    number, _, protocol = text.partition("/")
    protocol = (protocol or "tcp").lower()
    if not number.isdecimal() or not 0 < int(number) < 65536:
        raise InvalidArgument(f"invalid port specification: {text!r}")
    if protocol not in ("tcp", "udp", "sctp"):
        raise InvalidArgument(f"invalid protocol in port specification: {text!r}")
    return int(number), cast('Literal["tcp", "udp", "sctp"]', protocol)


def _expose(text: str) -> str:
    port, protocol = parse_port(text)
    return f"{port}/{protocol}"


def _port_bindings(host: HostConfigBody) -> tuple[PortBinding, ...]:
    found = []
    for text, bindings in host.port_bindings.items():
        port, protocol = parse_port(text)
        for binding in bindings or [PortBindingBody()]:
            first, _, last = binding.host_port.partition("-")
            if not all(not part or (part.isdecimal() and int(part) < 65536) for part in (first, last)):
                raise InvalidArgument(f"invalid port specification: {binding.host_port!r}")
            found.append(
                PortBinding(
                    container_port=port,
                    protocol=protocol,
                    host_ip=binding.host_ip,
                    host_port=int(first or 0),
                    host_port_end=int(last or 0),
                )
            )
    return tuple(found)


def _extra_host(text: str) -> str:
    """Docker's ``host:address`` (the address may have colons) in our ``host=address``."""
    name, separator, address = text.partition("=" if "=" in text else ":")
    if not separator or not name or not address:
        raise InvalidArgument(f'bad format for add-host: "{text}"')
    return f"{name}={address.removeprefix('[').removesuffix(']')}"


def _cgroupns_mode(text: str) -> Literal["", "private", "host"]:
    if text not in ("", "private", "host"):
        raise InvalidArgument(f"invalid cgroup namespace mode: {text}", hint="Use private or host.")
    return cast('Literal["", "private", "host"]', text)


def _security_opt(host: HostConfigBody) -> tuple[str, ...]:
    """Docker's client turns ``systempaths=unconfined`` into empty lists of paths; here it is an option
    again."""
    options = tuple(host.security_opt)
    if host.masked_paths is None and host.readonly_paths is None:
        return options
    if host.masked_paths or host.readonly_paths:
        field = "HostConfig.MaskedPaths" if host.masked_paths else "HostConfig.ReadonlyPaths"
        raise InvalidArgument(f"{field}: only an empty list is supported", hint="Use systempaths=unconfined.")
    return (*options, "systempaths=unconfined")


def _consistent(limits: Resources) -> Resources:
    """What no machine could do is refused here, not by the start."""
    cgroup_files.check(limits)
    return limits


def resources(body: ResourcesBody, memory: int = 0) -> Resources:
    """The limits; in our terms 0 is no limit. ``memory``: what holds already, of a container that is changed."""
    if body.memory and body.memory < 6 << 20:
        raise InvalidArgument("Minimum memory limit allowed is 6MB")
    if body.memory_swap > 0 and not (body.memory or memory):
        raise InvalidArgument("You should always set the Memory limit when using Memoryswap limit, see usage")
    if 0 < body.memory_swap < (body.memory or memory):
        raise InvalidArgument("Minimum memoryswap limit should be larger than memory limit, see usage")
    if body.nano_cpus and (body.cpu_period or body.cpu_quota):
        raise InvalidArgument("Conflicting options: Nano CPUs and CPU Period or Quota cannot both be set.")
    if body.memory_swappiness is not None and not -1 <= body.memory_swappiness <= 100:
        raise InvalidArgument(
            f"Invalid value: {body.memory_swappiness}, valid memory swappiness range is 0-100"
        )
    return Resources(
        memory=body.memory,
        memory_swap=body.memory_swap,
        memory_reservation=body.memory_reservation,
        memory_swappiness=None if body.memory_swappiness == -1 else body.memory_swappiness,
        oom_kill_disable=body.oom_kill_disable,
        nano_cpus=body.nano_cpus,
        cpu_shares=body.cpu_shares,
        cpu_period=body.cpu_period,
        cpu_quota=body.cpu_quota,
        cpu_rt_period=body.cpu_realtime_period,
        cpu_rt_runtime=body.cpu_realtime_runtime,
        cpuset_cpus=body.cpuset_cpus,
        cpuset_mems=body.cpuset_mems,
        pids_limit=max(body.pids_limit or 0, 0),
        blkio_weight=body.blkio_weight,
        blkio_weight_device=tuple(
            WeightDevice(path=d.path, weight=d.weight) for d in body.blkio_weight_device
        ),
        device_read_bps=_throttles(body.blkio_device_read_bps),
        device_write_bps=_throttles(body.blkio_device_write_bps),
        device_read_iops=_throttles(body.blkio_device_read_iops),
        device_write_iops=_throttles(body.blkio_device_write_iops),
    )


def _throttles(devices: list[ThrottleDeviceBody]) -> tuple[ThrottleDevice, ...]:
    return tuple(ThrottleDevice(path=device.path, rate=device.rate) for device in devices)
