"""The typed project of a loaded tree."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from composer.compose import model
from composer.compose.decoding import decode
from composer.compose.profiles import is_enabled
from composer.compose.quantities import Size

if TYPE_CHECKING:
    from composer.compose.tree import Tree

T = TypeVar("T", bound=model.Value)


def typed_project(tree: Tree) -> model.Project:
    """Decode the tree, and divide its services by the profiles that are on. Raises :class:`Problem`."""
    values = decode(tree.tree)
    services: dict[str, model.Service] = {}
    disabled: dict[str, model.Service] = {}
    for name, attributes in sorted((values.get("services") or {}).items()):
        service = typed_service(str(name), attributes)
        (services if is_enabled(service.profiles, tuple(tree.profiles)) else disabled)[str(name)] = service
    return model.Project(
        name=tree.name,
        working_dir=tree.working_dir,
        compose_files=tuple(tree.compose_files),
        env_files=tuple(tree.env_files),
        environment=dict(tree.environment),
        profiles=tuple(tree.profiles),
        services=services,
        disabled_services=disabled,
        networks={k: _network(k, v) for k, v in _section(values, "networks")},
        volumes={k: _resource(model.Volume, k, v) for k, v in _section(values, "volumes")},
        configs={k: _file_object(k, v, tree.environment) for k, v in _section(values, "configs")},
        secrets={k: _file_object(k, v, tree.environment) for k, v in _section(values, "secrets")},
        models={k: _resource(model.Model, k, v) for k, v in _section(values, "models")},
        extensions=_extensions(values),
        warnings=tuple(str(w) for w in tree.warnings),
        unready=dict(getattr(tree, "unready", {})),
    )


def typed_service(name: str, values: dict[str, Any]) -> model.Service:
    """One service of decoded values."""
    fields: dict[str, Any] = {"name": name}
    for key, value in values.items():
        if value is None:
            continue
        convert = _SERVICE.get(key)
        if convert is not None:
            fields[key] = convert(value)
        elif key in _PLAIN:
            fields[key] = tuple(value) if isinstance(value, list) else value
    fields["extensions"] = _extensions(values)
    return model.Service(**fields)


def _section(values: dict[str, Any], kind: str) -> list[tuple[str, dict[str, Any]]]:
    return [(str(key), value or {}) for key, value in (values.get(kind) or {}).items()]


def _extensions(values: dict[str, Any]) -> dict[str, Any]:
    return {str(key): value for key, value in values.items() if key.startswith("x-")}


def _struct(kind: type[T], **converters: Callable[[Any], Any]) -> Callable[[Any], T]:
    """What makes a struct of a mapping: lists become tuples, null and unknown keys are left out."""
    known = frozenset(kind.__struct_fields__)

    def build(value: dict[str, Any]) -> T:
        fields: dict[str, Any] = {}
        for key, inner in value.items():
            if inner is None or key not in known:
                continue
            convert = converters.get(key)
            if convert is not None:
                inner = convert(inner)
            fields[key] = tuple(inner) if isinstance(inner, list) else inner
        return kind(**fields)

    return build


def _each(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: tuple(convert(item) for item in value)


def _by_key(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: {str(k): None if v is None else convert(v) for k, v in value.items()}


def _tuples(value: dict[str, Any]) -> dict[str, Any]:
    return {str(k): tuple(v) for k, v in value.items()}


def _ulimit(value: Any) -> model.Ulimit:
    if isinstance(value, dict):
        return model.Ulimit(soft=value.get("soft", 0), hard=value.get("hard", 0))
    return model.Ulimit(soft=value, hard=value)


def _ssh(value: str) -> model.Ssh:
    key, _, path = value.partition("=")
    return model.Ssh(id=key, path=path)


def _generic(value: dict[str, Any]) -> model.GenericResource:
    spec = value.get("discrete_resource_spec") or {}
    return model.GenericResource(kind=spec.get("kind", ""), value=spec.get("value", 0))


def _deploy(value: dict[str, Any]) -> model.Deploy:
    resources = value.get("resources") or {}
    fields = {k: v for k, v in value.items() if v is not None and k in _DEPLOY_PLAIN}
    for key, build in _DEPLOY.items():
        if value.get(key) is not None:
            fields[key] = build(value[key])
    for key in ("limits", "reservations"):
        if resources.get(key) is not None:
            fields[key] = _limits(resources[key])
    return model.Deploy(**fields)


def _develop(value: dict[str, Any]) -> tuple[model.Watch, ...]:
    return tuple(_watch(item) for item in value.get("watch") or ())


def _network(key: str, values: dict[str, Any]) -> model.Network:
    found = _resource(model.Network, key, values)
    return found


def _resource(kind: type[T], key: str, values: dict[str, Any]) -> T:
    fields = {k: v for k, v in values.items() if v is not None and k in kind.__struct_fields__}
    for name, value in fields.items():
        if isinstance(value, list):
            fields[name] = tuple(value)
    if isinstance(fields.get("ipam"), dict):
        fields["ipam"] = _ipam(fields["ipam"])
    fields.update(key=key, extensions=_extensions(values))
    if "name" in kind.__struct_fields__:
        fields["name"] = fields.get("name") or key
    return kind(**fields)


def _file_object(key: str, values: dict[str, Any], environment: Any) -> model.FileObject:
    found = _resource(model.FileObject, key, values)
    if not found.environment:
        return found
    from msgspec.structs import replace

    return replace(found, value=environment.get(found.environment))


_file = _struct(model.ServiceFile)
_hook = _struct(model.Hook)
_request = _struct(model.DeviceRequest)
_throttles = _each(_struct(model.ThrottleDevice))
_update = _struct(model.UpdateConfig)
_limits = _struct(model.Limits, memory=Size, devices=_each(_request), generic_resources=_each(_generic))
_watch = _struct(model.Watch, exec=_hook)
_ipam = _struct(model.Ipam, config=_each(_struct(model.IpamPool)))
_DEPLOY: dict[str, Callable[[Any], Any]] = {
    "restart_policy": _struct(model.RestartPolicy),
    "update_config": _update,
    "rollback_config": _update,
    "placement": _struct(model.Placement),
}
_DEPLOY_PLAIN = frozenset({"mode", "replicas", "labels", "endpoint_mode"})
_SERVICE: dict[str, Callable[[Any], Any]] = {
    "blkio_config": _struct(
        model.BlkioConfig,
        weight_device=_each(_struct(model.WeightDevice)),
        device_read_bps=_throttles,
        device_read_iops=_throttles,
        device_write_bps=_throttles,
        device_write_iops=_throttles,
    ),
    "build": _struct(model.Build, ssh=_each(_ssh), secrets=_each(_file), ulimits=_by_key(_ulimit)),
    "configs": _each(_file),
    "credential_spec": _struct(model.CredentialSpec),
    "depends_on": _by_key(_struct(model.Dependency)),
    "deploy": _deploy,
    "develop": _develop,
    "devices": _each(_struct(model.Device)),
    "env_file": _each(_struct(model.EnvFile)),
    "gpus": _each(_request),
    "healthcheck": _struct(model.Healthcheck),
    "logging": _struct(model.Logging),
    "models": _by_key(_struct(model.ServiceModel)),
    "networks": _by_key(_struct(model.ServiceNetwork)),
    "ports": _each(_struct(model.Port)),
    "post_start": _each(_hook),
    "pre_start": _each(_hook),
    "pre_stop": _each(_hook),
    "provider": _struct(model.Provider, options=_tuples),
    "secrets": _each(_file),
    "ulimits": _by_key(_ulimit),
    "volumes": _each(
        _struct(
            model.ServiceVolume,
            bind=_struct(model.BindOptions),
            volume=_struct(model.VolumeOptions),
            tmpfs=_struct(model.TmpfsOptions),
            image=_struct(model.ImageOptions),
        )
    ),
}
_PLAIN = frozenset(model.Service.__struct_fields__) - frozenset(_SERVICE) - {"name", "extensions"}
