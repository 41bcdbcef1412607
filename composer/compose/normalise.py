"""What a project means beyond what it says: real names, the default network, implied dependencies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from composer.compose.trace import key_like, like, taking


def normalise(tree: dict[str, Any], name: str, env: Mapping[str, str]) -> dict[str, Any]:
    """The merged canonical tree of the project ``name``, completed in place.

    ``env`` gives values to variables and build arguments that are named without one.
    """
    if name:
        tree["name"] = like(tree.get("name"), name) if tree.get("name") == name else name
    _connect_networks(tree)
    for service in (tree.get("services") or {}).values():
        if isinstance(service, dict):
            _complete_service(service, env)
    for kind in ("networks", "volumes", "configs", "secrets"):
        _name_resources(tree, kind, name)
    return tree


def _connect_networks(tree: dict[str, Any]) -> None:
    uses_default = False
    for service in (tree.get("services") or {}).values():
        if not isinstance(service, dict) or "provider" in service or "network_mode" in service:
            continue
        networks = service.get("networks")
        if not networks:
            service["networks"] = {"default": None}
            uses_default = True
        elif isinstance(networks, dict) and "default" in networks:
            uses_default = True
    if uses_default:
        networks = tree.get("networks")
        if not isinstance(networks, dict):
            networks = tree["networks"] = {}
        networks.setdefault("default", None)


def _complete_service(service: dict[str, Any], env: Mapping[str, str]) -> None:
    if service.get("pull_policy") == "if_not_present":
        service["pull_policy"] = like(service["pull_policy"], "missing")
    build = service.get("build")
    if isinstance(build, dict):
        if build.get("context") is None:
            build["context"] = "."
        if build.get("dockerfile") is None and build.get("dockerfile_inline") is None:
            build["dockerfile"] = "Dockerfile"
        if "args" in build:
            build["args"] = resolve_values(build["args"], env, keep_unset=False)
    if "environment" in service:
        service["environment"] = resolve_values(service["environment"], env, keep_unset=True)
    implied = _implied(service)
    if implied:
        depends_on = service.get("depends_on")
        if not isinstance(depends_on, dict):
            depends_on = service["depends_on"] = {}
        for needed, restart in implied:
            if needed not in depends_on:
                made = {"condition": "service_started", "restart": restart, "required": True}
                depends_on[key_like(needed, str(needed))] = like(needed, made)


def _implied(service: dict[str, Any]) -> list[tuple[str, bool]]:
    """Services that this one needs without saying so, and whether it restarts with them."""
    found: list[tuple[str, bool]] = []
    for link in service.get("links") or ():
        parts = str(link).split(":")
        found.append((like(link, parts[0] if len(parts) == 2 else str(link)), True))
    for attribute in ("network_mode", "ipc", "pid", "uts", "cgroup"):
        mode = service.get(attribute)
        if isinstance(mode, str) and mode.startswith("service:"):
            found.append((like(mode, mode[len("service:") :]), True))
    for source in service.get("volumes_from") or ():
        if not str(source).startswith("container:"):
            found.append((like(source, str(source).split(":")[0]), False))
    return found


def resolve_values(values: Any, env: Mapping[str, str], *, keep_unset: bool) -> Any:
    """Names without a value get that of ``env``; when that has none, they stay or, without ``keep_unset``, go."""
    if isinstance(values, list):
        made: list[Any] = []
        for item in values:
            if not isinstance(item, str) or "=" in item:
                made.append(item)
            elif item in env:
                made.append(taking(like(item, f"{item}={env[item]}"), (item,), env))
            elif keep_unset:
                made.append(taking(item, (item,), env))
        return like(values, made)
    if isinstance(values, dict):
        mapping: dict[str, Any] = {}
        for key, value in values.items():
            if value is not None:
                mapping[key] = value
            elif key in env:
                key = taking(key, (key,), env)
                mapping[key] = like(key, env[key])
            elif keep_unset:
                mapping[taking(key, (key,), env)] = None
        return like(values, mapping)
    return values


def _name_resources(tree: dict[str, Any], kind: str, project: str) -> None:
    section = tree.get(kind)
    if not isinstance(section, dict):
        return
    for key, resource in section.items():
        if resource is None:
            resource = section[key] = {}
        if isinstance(resource, dict) and resource.get("name") is None:
            is_external = resource.get("external") in (True, "true")
            resource["name"] = str(key) if is_external else f"{project}_{key}"
