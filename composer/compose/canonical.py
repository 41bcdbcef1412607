"""Short forms to long forms.

Works on whole trees and on parts of one (an override that has nothing but a port), in place, and is idempotent.
What only has another spelling (``K=V`` lists, command strings, durations, sizes) stays as it is written until the last
stage (:mod:`composer.compose.decoding`): ``config --no-interpolate`` shows it so, and variables may still be in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from composer.compose.ports import has_high_port, parse_port
from composer.compose.problem import Problem
from composer.compose.trace import Path, key_like, like
from composer.compose.volumes import clean_path, parse_volume

Form = Callable[[Any, Path, bool], Any]


def canonical(tree: dict[str, Any], *, lenient: bool = False) -> dict[str, Any]:
    """The tree with long forms; ``lenient`` leaves ports and devices that do not parse as they are, and other text with
    a variable in it.

    Raises :class:`Problem`.
    """
    for name, service in _mappings(tree, "services"):
        canonical_service(service, ("services", name), lenient=lenient)
    for kind in ("networks", "volumes", "secrets", "configs"):
        for name, resource in _mappings(tree, kind):
            _external(resource, (kind, name))
    included = tree.get("include")
    if isinstance(included, list):
        included[:] = [_include(item) for item in included]
    return tree


def canonical_service(service: dict[str, Any], path: Path, *, lenient: bool = False) -> dict[str, Any]:
    """One service, in place."""
    for key in service:
        form = _SERVICE.get(key)
        if form is not None:
            value = service[key]
            made = form(value, (*path, key), lenient)
            if made is not value:
                service[key] = like(value, made)
    return service


def _mappings(tree: dict[str, Any], kind: str) -> list[tuple[str, dict[str, Any]]]:
    section = tree.get(kind)
    if not isinstance(section, dict):
        return []
    return [(name, value) for name, value in section.items() if isinstance(value, dict)]


def _items(each: Callable[[Any, Path, bool], Any]) -> Form:
    """A form of every item of a list."""

    def form(value: Any, path: Path, lenient: bool) -> Any:
        if not isinstance(value, list):
            return value
        for i, item in enumerate(value):
            made = each(item, (*path, i), lenient)
            if made is not item:
                value[i] = like(item, made)
        return value

    return form


def _listed(value: Any, path: Path, lenient: bool) -> Any:
    return [value] if isinstance(value, str) else value


def _dns(value: Any, path: Path, lenient: bool) -> Any:
    value = _listed(value, path, lenient)
    return [item for item in value if item != ""] if isinstance(value, list) and "" in value else value


def _ports(value: Any, path: Path, lenient: bool) -> Any:
    if not isinstance(value, list):
        return value
    found: list[Any] = []
    for i, item in enumerate(value):
        if isinstance(item, bool) or not isinstance(item, int | str):
            if isinstance(item, dict) and "target" not in item:
                raise Problem("a port without a target", (*path, i), hint="target: the port in the container")
            if isinstance(item, float):
                raise Problem(f"{item:g} is no port", (*path, i), hint="a whole number up to 65535 expected")
            found.append(item)
            continue
        try:
            found.extend(like(item, port) for port in parse_port(str(item)))
        except ValueError as e:
            if not lenient:
                hint = '"[ADDRESS:][HOST:]CONTAINER[/PROTOCOL]" expected'
                if has_high_port(str(item)):
                    hint = "ports are 1 to 65535"
                raise Problem(str(e), (*path, i), hint=hint) from None
            found.append(item)
    value[:] = found
    return value


def _volume(item: Any, path: Path, lenient: bool) -> Any:
    if isinstance(item, str):
        try:
            return parse_volume(item)
        except ValueError as e:
            if lenient and "$" in item:
                return item
            raise Problem(str(e), path, hint='"[SOURCE:]TARGET[:OPTIONS]" expected') from None
    if isinstance(item, dict):
        target = item.get("target")
        if target is None:
            raise Problem("a volume without a target", path, hint="target: the path in the container")
        if isinstance(target, str):
            cleaned = clean_path(target)
            if cleaned != target:
                item["target"] = like(target, cleaned)
    return item


def _file_mount(item: Any, path: Path, lenient: bool) -> Any:
    return {"source": item} if isinstance(item, str) else item


def _device(item: Any, path: Path, lenient: bool) -> Any:
    if not isinstance(item, str):
        if isinstance(item, dict) and "target" not in item:
            raise Problem("a device without a target", path, hint="target: the path in the container")
        return item
    parts = item.split(":")
    if len(parts) > 3:
        if lenient:
            return item
        raise Problem(f"confusing device mapping: {item}", path, hint='"HOST[:CONTAINER[:rwm]]" expected')
    source, target, permissions = (*parts, "", "")[:3]
    return {
        "source": source,
        "target": target or source,
        "permissions": permissions if len(parts) == 3 else "rwm",
    }


def _depends_on(value: Any, path: Path, lenient: bool) -> Any:
    if isinstance(value, list):
        return {
            key_like(n, n): {"condition": "service_started", "required": True}
            for n in value
            if isinstance(n, str)
        }
    if isinstance(value, dict):
        for dependency in value.values():
            if isinstance(dependency, dict):
                dependency.setdefault("required", True)
    return value


def _env_file(value: Any, path: Path, lenient: bool) -> Any:
    if isinstance(value, str):
        return [like(value, {"path": value, "required": True})]
    if isinstance(value, list):
        for i, item in enumerate(value):
            if isinstance(item, str):
                value[i] = like(item, {"path": item, "required": True})
            elif isinstance(item, dict):
                item.setdefault("required", True)
    return value


def _extends(value: Any, path: Path, lenient: bool) -> Any:
    return {"service": value} if isinstance(value, str) else value


def _gpus(value: Any, path: Path, lenient: bool) -> Any:
    return [like(value, {"count": "all"})] if isinstance(value, str) else value


def _names(value: Any, path: Path, lenient: bool) -> Any:
    """A list of names to a mapping without options."""
    if isinstance(value, list):
        return {key_like(n, n): None for n in value if isinstance(n, str)}
    return value


def _key_values(value: Any, path: Path, lenient: bool) -> Any:
    if not isinstance(value, list):
        return value
    made = {}
    for i, item in enumerate(value):
        key, equals, text = str(item).partition("=")
        if not equals:
            if lenient:
                return value
            raise Problem(f"invalid value {item}, expected key=value", (*path, i))
        made[key_like(item, key)] = like(item, text)
    return made


def _ssh(value: Any, path: Path, lenient: bool) -> Any:
    if isinstance(value, list):
        made: dict[str, Any] = {}
        for i, item in enumerate(value):
            key, equals, text = str(item).partition("=")
            if not equals and key != "default" and not (lenient and "$" in key):
                raise Problem(f'invalid ssh key "{item}"', (*path, i), hint='"default" or "ID=PATH" expected')
            made[key_like(item, key)] = like(item, text) if equals else None
        return made
    if isinstance(value, str):
        return {value: None}
    return value


def _attestation(value: Any, path: Path, lenient: bool) -> Any:
    """``sbom`` and ``provenance`` are text to a builder: ``true`` or parameters."""
    return str(value).lower() if isinstance(value, bool) else value


def _build(value: Any, path: Path, lenient: bool) -> Any:
    if isinstance(value, str):
        return {"context": value}
    if isinstance(value, dict):
        for key in value:
            form = _BUILD.get(key)
            if form is not None:
                old = value[key]
                made = form(old, (*path, key), lenient)
                if made is not old:
                    value[key] = like(old, made)
    return value


def _include(item: Any) -> Any:
    if isinstance(item, str):
        return like(item, {"path": [item]})
    if isinstance(item, dict):
        for key in ("path", "env_file"):
            if isinstance(item.get(key), str):
                item[key] = [item[key]]
    return item


def _external(resource: dict[str, Any], path: Path) -> None:
    """``external: {name: x}`` is an older form of ``external: true`` and ``name: x``."""
    external = resource.get("external")
    if not isinstance(external, dict):
        return
    resource["external"] = True
    name = external.get("name")
    if name is None:
        return
    if resource.get("name") not in (None, name):
        raise Problem(
            "name and external.name are set to different values",
            (*path, "name"),
            hint="external.name is older; keep name",
        )
    resource["name"] = name


_BUILD: dict[str, Form] = {
    "additional_contexts": _key_values,
    "provenance": _attestation,
    "sbom": _attestation,
    "secrets": _items(_file_mount),
    "ssh": _ssh,
}
_SERVICE: dict[str, Form] = {
    "build": _build,
    "configs": _items(_file_mount),
    "depends_on": _depends_on,
    "devices": _items(_device),
    "dns": _dns,
    "env_file": _env_file,
    "extends": _extends,
    "gpus": _gpus,
    "label_file": _listed,
    "models": _names,
    "networks": _names,
    "ports": _ports,
    "secrets": _items(_file_mount),
    "volumes": _items(_volume),
}
