"""The canonical document of ``config``: a decoded tree in the order and the form in which Docker Compose prints it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from composer.compose.decoding import decode
from composer.compose.durations import format_duration
from composer.compose.key_order import in_order
from composer.compose.quantities import Duration, Size


class Form:
    """How one kind of mapping is printed: its keys in order, the forms of what is in them, the keys that are printed
    also when they are empty, and what JSON has always or by another name."""

    __slots__ = ("always", "convert", "each", "inner", "kept", "order", "rename")

    def __init__(
        self,
        order: str = "",
        *,
        kept: str = "",
        always: dict[str, Any] | None = None,
        rename: dict[str, str] | None = None,
        each: Form | None = None,
        convert: dict[str, Callable[[Any], Any]] | None = None,
        **inner: Form,
    ) -> None:
        self.order = order.split()
        self.kept = frozenset(kept.split())
        self.always = always or {}
        self.rename = rename or {}
        self.each = each
        self.convert = convert or {}
        self.inner = inner


def document(tree: dict[str, Any], services: Iterable[str], *, is_json: bool) -> dict[str, Any]:
    """What ``config`` prints of a tree: ``services`` are those chosen. Raises :class:`Problem`."""
    return arrange(decode(tree), services, is_json=is_json)


def undecoded(tree: dict[str, Any], *, is_json: bool = False, is_normalised: bool = True) -> dict[str, Any]:
    """The tree as ``config --no-interpolate`` prints it: long forms, keys sorted, values as they are written.

    In JSON an empty list is null, but where items are looked at for being there twice.
    """
    made: dict[str, Any] = _plain(tree)
    if not is_json:
        return made
    from composer.compose.merging import UNIQUE

    completed = ("environment", "args") if is_normalised else ()
    return {key: _nulls_but(inner, UNIQUE.get(key), completed) for key, inner in made.items()}


def _nulls_but(value: Any, kept: Any, completed: tuple[str, ...]) -> Any:
    """``value`` with null for empty lists, except those that ``kept`` names and that were not ``completed``."""
    if isinstance(value, dict):
        rules = kept if isinstance(kept, dict) else {}
        return {
            key: _nulls_but(inner, None if key in completed else rules.get(key, rules.get("*")), completed)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        if not value:
            return value if callable(kept) else None
        return [_nulls_but(item, None, completed) for item in value]
    return value


def render(values: dict[str, Any], *, is_json: bool, escape_dollars: bool = True) -> str:
    """The text of a document; a ``$`` is doubled, so that reading it again gives the same."""
    if is_json:
        import json

        text = escaped_as_in_go(json.dumps(values, indent=2, ensure_ascii=False)) + "\n"
    else:
        from composer.compose.yaml_writer import to_yaml

        text = to_yaml(values)
    return text.replace("$", "$$") if escape_dollars else text


def escaped_as_in_go(text: str) -> str:
    """JSON with the characters escaped that Go's encoder escapes."""
    return text.translate(_GO_ESCAPES)


_GO_ESCAPES = {ord(char): f"\\u{ord(char):04x}" for char in "&<>\u2028\u2029"}


def arrange(values: dict[str, Any], services: Iterable[str], *, is_json: bool) -> dict[str, Any]:
    """Decoded values in order; resources that no active service uses are left out."""
    chosen = set(services)
    active = {str(k): v for k, v in (values.get("services") or {}).items() if k in chosen}
    used = used_resources(active)
    made: dict[str, Any] = {}
    if values.get("name"):
        made["name"] = str(values["name"])
    made["services"] = {name: _shown(_SERVICE, active[name], is_json) for name in _sorted(active, is_json)}
    for kind, form in _SECTIONS.items():
        section = values.get(kind) or {}
        found = {}
        for key in _sorted(section, is_json):
            if key in used[kind]:
                found[str(key)] = _shown(form, section[key] or {}, is_json)
        if found and not (kind == "models" and is_json):
            made[kind] = found
    made.update((str(k), _plain(values[k], is_json)) for k in _sorted(values, is_json) if k.startswith("x-"))
    if is_json:
        top = sorted(made, key=lambda k: (k.startswith("x-"), k))
        return {key: _nulls(made[key]) if key.startswith("x-") else made[key] for key in top}
    return made


def _nulls(value: Any) -> Any:
    """Extensions in JSON: an empty list is null there."""
    if isinstance(value, dict):
        return {key: _nulls(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_nulls(inner) for inner in value] or None
    return value


def used_resources(services: dict[str, dict[str, Any]]) -> dict[str, set[str]]:
    """Keys of the top-level resources that these decoded services use, by section."""
    used: dict[str, set[str]] = {kind: set() for kind in _SECTIONS}
    for service in services.values():
        used["networks"].update(service.get("networks") or ())
        used["models"].update(service.get("models") or ())
        for mount in service.get("volumes") or ():
            if mount.get("type") == "volume" and mount.get("source"):
                used["volumes"].add(mount["source"])
        for kind in ("configs", "secrets"):
            used[kind].update(mount.get("source", "") for mount in service.get(kind) or ())
        build = service.get("build") or {}
        used["secrets"].update(mount.get("source", "") for mount in build.get("secrets") or ())
    return used


def _shown(form: Form, values: Any, is_json: bool) -> Any:
    """``values`` as ``form`` prints them."""
    if not isinstance(values, dict):
        return _plain(values, is_json)
    if form.each is not None:
        each = form.each
        return {str(k): _shown(each, values[k], is_json) for k in _sorted(values, is_json)}
    made: dict[str, Any] = {}
    for key in form.order:
        value = values.get(key)
        name = form.rename.get(key, key) if is_json else key
        if value is None or not (value or key in form.kept):
            if is_json and key in form.always:
                made[name] = form.always[key]
            continue
        inner = form.inner.get(key)
        if key in form.convert:
            shown = form.convert[key](value)
        elif inner is None:
            shown = _plain(value, is_json)
        elif isinstance(value, list):
            shown = [_shown(inner, item, is_json) for item in value]
        else:
            shown = _shown(inner, value, is_json)
            if not shown and not is_json and key in form.always:
                continue
        made[name] = shown
    if not is_json:
        made.update(
            (str(k), _plain(values[k], is_json)) for k in _sorted(values, is_json) if k.startswith("x-")
        )
    return made


def _sorted(keys: Iterable[Any], is_json: bool) -> list[Any]:
    """Keys in the order of the format: by code points in JSON, in YAML as :mod:`composer.compose.key_order` has it."""
    return sorted(keys) if is_json else in_order(keys)


def _plain(value: Any, is_json: bool = False) -> Any:
    """Units as text, mappings sorted, plain types."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Duration):
        return format_duration(value)
    if isinstance(value, Size):
        return str(int(value))
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if value.is_integer() and (abs(value) < 1e6 or (is_json and abs(value) < 1e21)):
            from decimal import Decimal

            return int(Decimal(repr(float(value))))
        return float(value)
    if isinstance(value, dict):
        return {str(k): _plain(value[k], is_json) for k in _sorted(value, is_json)}
    if isinstance(value, list | tuple):
        return [_plain(item, is_json) for item in value]
    return value


def _octal(mode: int) -> str:
    return f"0{mode:o}"


def _ulimits(limits: dict[str, Any]) -> dict[str, Any]:
    """One number for both limits, or a mapping without those that are 0."""
    shown: dict[str, Any] = {}
    for key in sorted(limits):
        limit = limits[key]
        both = limit if isinstance(limit, dict) else {}
        shown[str(key)] = (
            {k: both[k] for k in ("soft", "hard") if both.get(k)} if both or not limit else limit
        )
    return shown


_HOOK = Form("command user privileged working_dir environment", kept="command", always={"command": None})
_FILE = Form("source target uid gid mode", kept="mode", convert={"mode": _octal})
_LIMITS = "cpus memory pids devices generic_resources"
_REQUEST = Form("capabilities driver count device_ids options")
_RESOURCES = Form(
    "limits reservations",
    kept="limits reservations",
    limits=Form(_LIMITS),
    reservations=Form(
        _LIMITS,
        devices=_REQUEST,
        generic_resources=Form(
            "discrete_resource_spec", discrete_resource_spec=Form("kind value", kept="kind value")
        ),
    ),
)
_UPDATE = Form("parallelism delay failure_action monitor max_failure_ratio order", kept="parallelism")
_THROTTLE = Form("path rate", rename={"path": "Path", "rate": "Rate"}, kept="path rate")
_BUILD = Form(
    "context dockerfile dockerfile_inline entitlements args provenance sbom ssh labels cache_from cache_to no_cache "
    "no_cache_filter additional_contexts pull extra_hosts isolation network target secrets shm_size tags ulimits "
    "platforms privileged",
    convert={"ulimits": _ulimits},
    secrets=_FILE,
)
_SERVICE = Form(
    "profiles annotations attach build develop blkio_config cap_add cap_drop cgroup_parent cgroup cpu_count "
    "cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpus cpuset cpu_shares command configs "
    "container_name credential_spec depends_on deploy device_cgroup_rules devices dns dns_opt dns_search "
    "domainname entrypoint provider environment expose external_links extra_hosts group_add gpus "
    "hostname healthcheck image init ipc isolation labels links logging mem_limit "
    "mem_reservation memswap_limit mem_swappiness mac_address models network_mode networks oom_kill_disable "
    "oom_score_adj pid pids_limit platform ports privileged pull_policy read_only restart runtime scale secrets "
    "security_opt shm_size stdin_open stop_grace_period stop_signal storage_opt sysctls tmpfs tty ulimits "
    "use_api_socket user userns_mode uts volumes volumes_from working_dir pre_start post_start pre_stop",
    kept="attach build command credential_spec deploy develop entrypoint healthcheck init logging scale "
    "stop_grace_period provider blkio_config",
    always={"command": None, "entrypoint": None},
    convert={"ulimits": _ulimits},
    blkio_config=Form(
        "weight weight_device device_read_bps device_read_iops device_write_bps device_write_iops",
        weight_device=Form("path weight", rename={"path": "Path", "weight": "Weight"}, kept="path weight"),
        device_read_bps=_THROTTLE,
        device_read_iops=_THROTTLE,
        device_write_bps=_THROTTLE,
        device_write_iops=_THROTTLE,
    ),
    build=_BUILD,
    configs=_FILE,
    credential_spec=Form("config file registry"),
    depends_on=Form(each=Form("condition restart required", kept="required")),
    deploy=Form(
        "mode replicas labels update_config rollback_config resources restart_policy placement endpoint_mode",
        kept="replicas update_config rollback_config restart_policy",
        always={"resources": {}, "placement": {}},
        update_config=_UPDATE,
        rollback_config=_UPDATE,
        resources=_RESOURCES,
        restart_policy=Form("condition delay max_attempts window", kept="delay max_attempts window"),
        placement=Form("constraints preferences max_replicas_per_node", preferences=Form("spread")),
    ),
    develop=Form(
        "watch",
        watch=Form(
            "path action target exec include ignore initial_sync",
            kept="path action",
            always={"exec": {"command": None}},
            exec=_HOOK,
        ),
    ),
    devices=Form("source target permissions"),
    gpus=_REQUEST,
    healthcheck=Form(
        "test timeout interval retries start_period start_interval disable",
        kept="timeout interval retries start_period start_interval",
    ),
    logging=Form("driver options"),
    models=Form(each=Form("endpoint_var model_var")),
    networks=Form(
        each=Form(
            "aliases driver_opts gw_priority interface_name ipv4_address ipv6_address link_local_ips mac_address "
            "priority"
        )
    ),
    ports=Form("name mode host_ip target published protocol app_protocol"),
    post_start=_HOOK,
    pre_start=_HOOK,
    pre_stop=_HOOK,
    provider=Form("type options"),
    secrets=_FILE,
    volumes=Form(
        "type source target read_only consistency bind volume tmpfs image",
        kept="bind volume tmpfs image",
        bind=Form("selinux propagation create_host_path recursive"),
        volume=Form("labels nocopy subpath"),
        tmpfs=Form("size mode"),
        image=Form("subpath"),
    ),
)
_FILE_OBJECT = Form("name file environment content external labels driver driver_opts template_driver")
_SECTIONS = {
    "networks": Form(
        "name driver driver_opts ipam external internal attachable labels enable_ipv4 enable_ipv6",
        kept="enable_ipv4 enable_ipv6",
        always={"ipam": {}},
        ipam=Form("driver config", config=Form("subnet gateway ip_range aux_addresses")),
    ),
    "volumes": Form("name driver driver_opts external labels"),
    "secrets": _FILE_OBJECT,
    "configs": _FILE_OBJECT,
    "models": Form("name model context_size runtime_flags"),
}

__all__ = ["arrange", "document", "escaped_as_in_go", "render", "undecoded", "used_resources"]
