"""From a canonical tree to values: the last stage, in which text becomes numbers, durations, sizes and word lists.

What comes out has plain keys and values of plain types, :class:`Duration` and :class:`Size` among them; it is what
:mod:`composer.compose.typed` makes structs of and :mod:`composer.compose.rendering` prints. Variables have been
replaced by then, so nothing is lenient any more, and everything that is wrong is told in one run.
"""

from __future__ import annotations

from typing import Any

from composer.compose.decoders import (
    Decoder,
    Wrong,
    boolean,
    command,
    device_count,
    extra_hosts,
    file_mode,
    healthcheck_test,
    integer,
    listed,
    mapping,
    natural,
    options,
    provider_options,
    several,
    single,
    size,
    ssh_keys,
    strict_integer,
    strict_natural,
    struct,
    table,
    text,
    variables,
    words,
)
from composer.compose.durations import parse_duration
from composer.compose.problem import Problem, raise_all
from composer.compose.quantities import Size


def decode(tree: dict[str, Any]) -> dict[str, Any]:
    """A new tree of values. Raises :class:`Problem`."""
    try:
        found: dict[str, Any] = _PROJECT(tree)
    except Wrong as e:
        raise_all([Problem(message, path, tree=tree) for path, message in e.faults])
        raise
    return found


def ulimit(value: Any) -> Any:
    if isinstance(value, dict):
        return _ULIMIT(value)
    return strict_integer(value)


def throttle(value: Any) -> dict[str, Any]:
    return {"path": "", "rate": Size(0), **_THROTTLE(value)}


def weight(value: Any) -> dict[str, Any]:
    return {"path": "", "weight": 0, **_WEIGHT(value)}


def countable(value: Any) -> dict[str, Any]:
    return {"kind": "", "value": 0, **_COUNTABLE(value)}


_ULIMIT = struct({"soft": strict_integer, "hard": strict_integer})
_FILE_MOUNT = struct({"mode": file_mode})
_HOOK = struct({"command": command, "privileged": boolean, "environment": variables})
_DEVICE_REQUEST = struct(
    {"count": device_count, "options": mapping, "capabilities": listed, "device_ids": listed}
)
_THROTTLE = struct({"rate": size})
_COUNTABLE = struct({"value": integer})
_WEIGHT = struct({"weight": strict_natural})
_UPDATE = struct(
    {
        "parallelism": natural,
        "delay": parse_duration,
        "monitor": parse_duration,
        "max_failure_ratio": single,
    }
)
_LIMITS: dict[str, Decoder] = {"cpus": single, "memory": size, "pids": integer}
_RESERVATIONS = struct(
    {
        **_LIMITS,
        "devices": several(_DEVICE_REQUEST),
        "generic_resources": several(struct({"discrete_resource_spec": countable})),
    }
)
_BUILD = struct(
    {
        "args": variables,
        "ssh": ssh_keys,
        "labels": mapping,
        "cache_from": listed,
        "cache_to": listed,
        "no_cache": boolean,
        "no_cache_filter": listed,
        "additional_contexts": mapping,
        "pull": boolean,
        "provenance": text,
        "sbom": text,
        "shm_size": size,
        "extra_hosts": extra_hosts,
        "privileged": boolean,
        "secrets": several(_FILE_MOUNT),
        "tags": listed,
        "ulimits": table(ulimit),
        "platforms": listed,
        "entitlements": listed,
    }
)
_VOLUME_MOUNT = struct(
    {
        "read_only": boolean,
        "bind": struct({"create_host_path": boolean}),
        "volume": struct({"nocopy": boolean, "labels": mapping}),
        "tmpfs": struct({"size": size, "mode": strict_natural}),
    }
)
_SERVICE = struct(
    {
        "annotations": mapping,
        "attach": boolean,
        "blkio_config": struct(
            {
                "weight": strict_natural,
                "weight_device": several(weight),
                "device_read_bps": several(throttle),
                "device_read_iops": several(throttle),
                "device_write_bps": several(throttle),
                "device_write_iops": several(throttle),
            }
        ),
        "build": _BUILD,
        "cap_add": listed,
        "cap_drop": listed,
        "command": command,
        "configs": several(_FILE_MOUNT),
        "cpu_count": integer,
        "cpu_percent": single,
        "cpu_period": integer,
        "cpu_quota": integer,
        "cpu_rt_period": integer,
        "cpu_rt_runtime": integer,
        "cpu_shares": integer,
        "cpus": single,
        "depends_on": table(struct({"restart": boolean, "required": boolean})),
        "deploy": struct(
            {
                "replicas": integer,
                "labels": mapping,
                "update_config": _UPDATE,
                "rollback_config": _UPDATE,
                "resources": struct({"limits": struct(_LIMITS), "reservations": _RESERVATIONS}),
                "restart_policy": struct(
                    {"delay": parse_duration, "max_attempts": natural, "window": parse_duration}
                ),
                "placement": struct({"max_replicas_per_node": natural}),
            }
        ),
        "develop": struct(
            {
                "watch": several(
                    struct({"ignore": listed, "include": listed, "exec": _HOOK, "initial_sync": boolean})
                )
            }
        ),
        "dns": listed,
        "dns_opt": listed,
        "dns_search": listed,
        "entrypoint": command,
        "env_file": several(struct({"required": boolean})),
        "environment": variables,
        "expose": listed,
        "extra_hosts": extra_hosts,
        "gpus": several(_DEVICE_REQUEST),
        "group_add": listed,
        "healthcheck": struct(
            {
                "test": healthcheck_test,
                "disable": boolean,
                "interval": parse_duration,
                "timeout": parse_duration,
                "start_period": parse_duration,
                "start_interval": parse_duration,
                "retries": natural,
            }
        ),
        "init": boolean,
        "label_file": listed,
        "labels": mapping,
        "logging": struct({"options": options}),
        "mem_limit": size,
        "mem_reservation": size,
        "mem_swappiness": size,
        "memswap_limit": size,
        "networks": table(struct({"driver_opts": options, "priority": integer, "gw_priority": integer})),
        "oom_kill_disable": boolean,
        "oom_score_adj": integer,
        "pids_limit": integer,
        "ports": several(struct({"target": natural, "published": text})),
        "post_start": several(_HOOK),
        "pre_start": several(_HOOK),
        "pre_stop": several(_HOOK),
        "privileged": boolean,
        "provider": struct({"options": provider_options}),
        "read_only": boolean,
        "scale": integer,
        "secrets": several(_FILE_MOUNT),
        "shm_size": size,
        "stdin_open": boolean,
        "stop_grace_period": parse_duration,
        "storage_opt": words,
        "sysctls": mapping,
        "tmpfs": listed,
        "tty": boolean,
        "ulimits": table(ulimit),
        "use_api_socket": boolean,
        "volumes": several(_VOLUME_MOUNT),
    }
)
_NETWORK = struct(
    {
        "driver_opts": options,
        "ipam": struct({"config": several(struct({"aux_addresses": options})), "options": options}),
        "external": boolean,
        "internal": boolean,
        "attachable": boolean,
        "enable_ipv4": boolean,
        "enable_ipv6": boolean,
        "labels": mapping,
    }
)
_RESOURCE = struct({"driver_opts": options, "external": boolean, "labels": mapping})
_PROJECT = struct(
    {
        "services": table(_SERVICE),
        "networks": table(_NETWORK),
        "volumes": table(_RESOURCE),
        "secrets": table(_RESOURCE),
        "configs": table(_RESOURCE),
        "models": table(struct({"context_size": integer})),
    }
)
