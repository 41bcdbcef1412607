"""Limits, restart policy, health check, logging and hooks of a service, in the runtime's terms."""

from __future__ import annotations

from composer.compose import model
from composer.compose.model import Service
from composer.plan.invalid import invalid
from runtime.container.config import (
    Device,
    DeviceRequest,
    Healthcheck,
    Hook,
    LogConfig,
    Resources,
    RestartPolicy,
    ThrottleDevice,
    Ulimit,
    WeightDevice,
)

LOG_DRIVERS = ("json-file", "local", "none")


def restart_policy(service: Service) -> RestartPolicy:
    """``deploy.restart_policy`` where given, else ``restart``. Docker Compose's words: ``any`` is
    ``always``."""
    given = service.deploy.restart_policy if service.deploy else None
    path = f"services.{service.name}"
    if given is not None:
        path = f"{path}.deploy.restart_policy"
        policy = _policy(f"{path}.condition", given.condition or "any", given.max_attempts or 0)
        return RestartPolicy(
            name=policy.name,
            maximum_retry_count=policy.maximum_retry_count,
            delay=_whole(given.delay),
            window=_whole(given.window),
        )
    name, _, retries = service.restart.partition(":")
    if retries and not retries.isdecimal():
        raise invalid(
            f"{path}.restart", f'"{retries}" is not a number of retries', hint="for instance on-failure:3"
        )
    return _policy(f"{path}.restart", name, int(retries or 0))


def _policy(path: str, name: str, retries: int) -> RestartPolicy:
    match name:
        case "" | "no" | "none":
            return RestartPolicy()
        case "any" | "always":
            return RestartPolicy(name="always", maximum_retry_count=retries)
        case "on-failure":
            return RestartPolicy(name="on-failure", maximum_retry_count=retries)
        case "unless-stopped":
            return RestartPolicy(name="unless-stopped", maximum_retry_count=retries)
        case _:
            raise invalid(
                path,
                f'invalid restart policy "{name}"',
                hint="use no, always, on-failure[:n] or unless-stopped",
            )


def _whole(duration: int | None) -> int | None:
    return None if duration is None else int(duration)


def resources(service: Service) -> Resources:
    """Limits of the service's own attributes, overruled by ``deploy.resources``, as in Docker Compose."""
    deploy = service.deploy or model.Deploy()
    limits, reserved = deploy.limits, deploy.reservations
    blkio = service.blkio_config or model.BlkioConfig()
    return Resources(
        memory=int(limits.memory or service.mem_limit),
        memory_swap=int(service.memswap_limit),
        memory_reservation=int(reserved.memory or service.mem_reservation),
        memory_swappiness=None if service.mem_swappiness is None else int(service.mem_swappiness),
        oom_kill_disable=service.oom_kill_disable,
        nano_cpus=round((limits.cpus or service.cpus) * 1e9),
        cpu_shares=service.cpu_shares,
        cpu_period=service.cpu_period,
        cpu_quota=service.cpu_quota,
        cpu_rt_period=service.cpu_rt_period,
        cpu_rt_runtime=service.cpu_rt_runtime,
        cpuset_cpus=service.cpuset,
        pids_limit=limits.pids or service.pids_limit,
        blkio_weight=blkio.weight,
        blkio_weight_device=tuple(WeightDevice(path=d.path, weight=d.weight) for d in blkio.weight_device),
        device_read_bps=_throttles(blkio.device_read_bps),
        device_write_bps=_throttles(blkio.device_write_bps),
        device_read_iops=_throttles(blkio.device_read_iops),
        device_write_iops=_throttles(blkio.device_write_iops),
    )


def _throttles(given: tuple[model.ThrottleDevice, ...]) -> tuple[ThrottleDevice, ...]:
    return tuple(ThrottleDevice(path=d.path, rate=int(d.rate)) for d in given)


def ulimits(service: Service) -> tuple[Ulimit, ...]:
    return tuple(Ulimit(name=n, soft=u.soft, hard=u.hard) for n, u in sorted(service.ulimits.items()))


def healthcheck(service: Service) -> Healthcheck | None:
    """None: as the image says."""
    given = service.healthcheck
    if given is None:
        return None
    if given.disable or given.test[:1] == ("NONE",):
        return Healthcheck(test=("NONE",))
    return Healthcheck(
        test=given.test,
        interval=int(given.interval or 0),
        timeout=int(given.timeout or 0),
        start_period=int(given.start_period or 0),
        start_interval=int(given.start_interval or 0),
        retries=given.retries or 0,
    )


def log_config(service: Service) -> LogConfig:
    """Raises :class:`InvalidArgument` for a driver that is not there."""
    given = service.logging
    if given is None:
        return LogConfig()
    if given.driver not in ("", *LOG_DRIVERS):
        raise invalid(
            f"services.{service.name}.logging.driver",
            f"there is no log driver {given.driver}",
            hint=f"use {', '.join(LOG_DRIVERS[:-1])} or {LOG_DRIVERS[-1]}",
        )
    options = {key: value for key, value in given.options.items() if value is not None}
    return LogConfig(driver=given.driver or "json-file", options=options)


def devices(service: Service) -> tuple[Device, ...]:
    return tuple(
        Device(source=d.source, target=d.target or d.source, permissions=d.permissions or "rwm")
        for d in service.devices
        if not is_named(d)
    )


def is_named(device: model.Device) -> bool:
    """A device of a CDI specification, not a path."""
    return "=" in device.source and not device.source.startswith("/")


def device_requests(service: Service) -> tuple[DeviceRequest, ...]:
    """Devices by name: of ``devices``, ``gpus`` and ``deploy.resources.reservations.devices``."""
    names = tuple(d.source for d in service.devices if is_named(d))
    found = [DeviceRequest(driver="cdi", device_ids=names)] if names else []
    reserved = service.deploy.reservations.devices if service.deploy else ()
    for request in service.gpus:
        found.append(_request(request, ("gpu", *(c for c in request.capabilities if c != "gpu"))))
    for request in reserved:
        found.append(_request(request, request.capabilities))
    return tuple(found)


def _request(request: model.DeviceRequest, capabilities: tuple[str, ...]) -> DeviceRequest:
    return DeviceRequest(
        driver=request.driver,
        count=request.count,
        device_ids=request.device_ids,
        capabilities=capabilities,
        options=dict(request.options),
    )


def hooks(given: tuple[model.Hook, ...]) -> tuple[Hook, ...]:
    return tuple(
        Hook(
            command=hook.command,
            user=hook.user,
            privileged=hook.privileged,
            working_dir=hook.working_dir,
            env=environment(hook.environment),
        )
        for hook in given
    )


def environment(given: dict[str, str | None]) -> tuple[str, ...]:
    """``NAME=value``, or ``NAME`` alone for what is to be unset; by name."""
    return tuple(name if value is None else f"{name}={value}" for name, value in sorted(given.items()))
