"""Values of attributes that were left out, where Compose shows them."""

from __future__ import annotations

from typing import Any


def set_defaults(tree: dict[str, Any]) -> dict[str, Any]:
    """Fill in what a merged canonical tree leaves out, in place."""
    for service in _mappings(tree.get("services")):
        build = service.get("build")
        if isinstance(build, dict):
            build.setdefault("context", ".")
        for mount in _mappings(service.get("secrets")):
            if "target" not in mount and isinstance(mount.get("source"), str):
                mount["target"] = "/run/secrets/" + mount["source"]
        for port in _mappings(service.get("ports")):
            port.setdefault("mode", "ingress")
            port.setdefault("protocol", "tcp")
        for request in _mappings(service.get("gpus")):
            _count_all(request)
        for request in _mappings(_at(service, "deploy", "resources", "reservations", "devices")):
            _count_all(request)
    return tree


def _count_all(request: dict[str, Any]) -> None:
    if "count" not in request and "device_ids" not in request:
        request["count"] = "all"


def _at(tree: Any, *path: str) -> Any:
    for key in path:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _mappings(value: Any) -> list[dict[str, Any]]:
    """The mappings in a list or a mapping; none of anything else."""
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return []
    return [item for item in value if isinstance(item, dict)]
