"""Merging one file onto another, attribute by attribute, and removing what is there twice.

Mappings merge, lists append, scalars replace, null keeps what was there; the attributes below have rules of their own
(the Compose Specification's chapter on merging, as Docker Compose applies it).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from composer.compose.problem import Problem
from composer.compose.trace import Path, key_like, like, put, shadowing
from composer.compose.volumes import parse_volume

Merger = Callable[[Any, Any, Path], Any]
Rules = dict[str, Any]
"""By key (``*``: any): the merger of the value there, or the rules below it under ``""`` for both."""


def merge(base: Any, override: Any, path: Path = ()) -> Any:
    """``override`` over ``base``, which is changed. Raises :class:`Problem` for kinds that do not go together."""
    return _merge(base, override, path, _rules_at(path))


def _rules_at(path: Path) -> Any:
    rules: Any = _RULES
    for step in path:
        rules = _below(rules, str(step))
    return rules


def _below(rules: Any, key: str) -> Any:
    if not isinstance(rules, dict):
        return None
    return rules.get(key, rules.get("*"))


def _merge(base: Any, override: Any, path: Path, rules: Any) -> Any:
    merger = rules.get("") if isinstance(rules, dict) else rules
    if merger is not None:
        return merger(base, override, path)
    return _plain(base, override, path, rules)


def _plain(base: Any, override: Any, path: Path, rules: Any) -> Any:
    if base is None:
        return override
    if override is None:
        return base
    if isinstance(base, dict):
        if not isinstance(override, dict):
            raise Problem(
                f"cannot override {'.'.join(map(str, path))}: a mapping is there already",
                path,
                hint="write a mapping here, too",
            )
        return _mappings(base, override, path, rules)
    if isinstance(base, list):
        if not isinstance(override, list):
            raise Problem(
                f"cannot override {'.'.join(map(str, path))}: a list is there already",
                path,
                hint="write a list here, too",
            )
        base.extend(override)
        return base
    return override


def _mappings(base: dict[str, Any], override: dict[str, Any], path: Path, rules: Any) -> dict[str, Any]:
    for key, value in override.items():
        if key in base:
            value = _merge(base[key], value, (*path, key), _below(rules, key))
        put(base, key, value)
    return base


# Rules of attributes


def _replace(base: Any, override: Any, path: Path) -> Any:
    return override


def _sequence(base: Any, override: Any, path: Path) -> Any:
    """As lists of ``key=value``; what is there twice goes later, the last one winning."""
    return like(override, as_list(base) + as_list(override))


def as_list(value: Any) -> list[Any]:
    """A mapping as ``key=value`` items in the order of keys, anything else in a list."""
    if value is None:
        return []
    if isinstance(value, dict):
        return [
            like(_place_of(key, inner), str(key) if inner is None else f"{key}={_shown(inner)}")
            for key, inner in sorted(value.items())
        ]
    if isinstance(value, list):
        return list(value)
    return [value]


def _place_of(key: str, value: Any) -> Any:
    return value if getattr(value, "at", None) is not None else key


def _shown(value: Any) -> str:
    from composer.compose.decoders import text

    return text(value)


def _extra_hosts(base: Any, override: Any, path: Path) -> Any:
    """A host may have several addresses: what is added is what is not there in the same words."""
    left = _hosts(base)
    return like(override, left + [item for item in _hosts(override) if item not in left])


def _hosts(value: Any) -> list[Any]:
    """As :func:`as_list`, a host with several addresses once for each."""
    if not isinstance(value, dict):
        return as_list(value)
    pairs = [(host, value[host]) for host in sorted(value)]
    return [
        item
        for host, addresses in pairs
        for address in (addresses if isinstance(addresses, list) else [addresses])
        for item in as_list({host: address})
    ]


def _build(base: Any, override: Any, path: Path) -> Any:
    return _into_mapping(base, override, path, lambda text: {"context": text})


def _into_mapping(base: Any, override: Any, path: Path, make: Callable[[Any], dict[str, Any]]) -> Any:
    if base is None or override is None:
        return override if base is None else base
    left = base if isinstance(base, dict) else like(base, make(base))
    right = override if isinstance(override, dict) else like(override, make(override))
    rules = _rules_at(path)
    inner = {key: value for key, value in rules.items() if key} if isinstance(rules, dict) else None
    return _mappings(left, right, path, inner)


def _depends_on(base: Any, override: Any, path: Path) -> Any:
    def make(names: Any) -> dict[str, Any]:
        return {
            key_like(name, str(name)): {"condition": "service_started", "required": True}
            for name in as_list(names)
        }

    return _into_mapping(base, override, path, make)


def _names(base: Any, override: Any, path: Path) -> Any:
    return _into_mapping(
        base, override, path, lambda names: {key_like(n, str(n)): None for n in as_list(names)}
    )


def _logging(base: Any, override: Any, path: Path) -> Any:
    """Options of one driver mean nothing to another."""
    if not isinstance(base, dict) or not isinstance(override, dict):
        return _plain(base, override, path, None)
    if (
        base.get("driver") is not None
        and override.get("driver") is not None
        and base["driver"] != override["driver"]
    ):
        return override
    return _mappings(base, override, path, None)


def _ulimit(base: Any, override: Any, path: Path) -> Any:
    if isinstance(base, dict) and isinstance(override, dict):
        return _mappings(base, override, path, None)
    return base if override is None else override


def _ipam_config(base: Any, override: Any, path: Path) -> Any:
    """Pools of the same subnet merge; of others only those of the override are left."""
    if not isinstance(base, list) or not isinstance(override, list):
        return _plain(base, override, path, None)
    pools: list[dict[str, Any]] = []
    for old in base:
        for index, new in enumerate(override):
            if not isinstance(old, dict) or not isinstance(new, dict):
                raise Problem("must be a mapping", (*path, index))
            if new.get("subnet") != old.get("subnet") and _pool(pools, new) is None:
                pools.append(new)
                continue
            merged = _mappings(old, new, (*path, index), None)
            place = _pool(pools, merged)
            if place is None:
                pools.append(merged)
            else:
                pools[place] = merged
    return like(override, pools)


def _pool(pools: list[dict[str, Any]], wanted: dict[str, Any]) -> int | None:
    return next((i for i, p in enumerate(pools) if p.get("subnet") == wanted.get("subnet")), None)


_LABELS: Rules = {"labels": _sequence}
_SERVICE: Rules = {
    "annotations": _sequence,
    "build": {
        "": _build,
        "args": _sequence,
        "additional_contexts": _sequence,
        "extra_hosts": _extra_hosts,
        "labels": _sequence,
        "ssh": _sequence,
    },
    "command": _replace,
    "depends_on": _depends_on,
    "deploy": _LABELS,
    "dns": _sequence,
    "dns_opt": _sequence,
    "dns_search": _sequence,
    "entrypoint": _replace,
    "env_file": _sequence,
    "environment": _sequence,
    "extra_hosts": _extra_hosts,
    "healthcheck": {"test": _replace},
    "label_file": _sequence,
    "labels": _sequence,
    "logging": _logging,
    "models": _names,
    "networks": _names,
    "sysctls": _sequence,
    "tmpfs": _sequence,
    "ulimits": {"*": _ulimit},
}
_RULES: Rules = {
    "services": {"*": _SERVICE},
    "networks": {"*": {"labels": _sequence, "ipam": {"config": _ipam_config}}},
    "volumes": {"*": _LABELS},
    "configs": {"*": _LABELS},
    "secrets": {"*": _LABELS},
}


# Once each


def enforce_unicity(tree: dict[str, Any]) -> dict[str, Any]:
    """Of items of lists that mean the same thing, the last one in the place of the first. In place."""
    _unique(tree, UNIQUE)
    return tree


def _unique(value: Any, rules: Any) -> Any:
    if isinstance(rules, dict):
        if isinstance(value, dict):
            if "*" in rules and len(rules) == 1:
                for key in value:
                    value[key] = _unique(value[key], rules["*"])
            else:
                for key, below in rules.items():
                    if key in value:
                        value[key] = _unique(value[key], below)
        return value
    if not isinstance(value, list) or len(value) < 2:
        return value
    places: dict[str, int] = {}
    kept: list[Any] = []
    for item in value:
        identity = rules(item)
        if identity in places:
            kept[places[identity]] = shadowing(item, kept[places[identity]])
        else:
            places[identity] = len(kept)
            kept.append(item)
    if len(kept) == len(value):
        return value
    return like(value, kept)


def _by_key(item: Any) -> str:
    return item.partition("=")[0] if isinstance(item, str) else repr(item)


def _by_text(item: Any) -> str:
    return str(item)


def _by_volume(item: Any) -> str:
    if isinstance(item, dict):
        return str(item.get("target", ""))
    try:
        return str(parse_volume(str(item)).get("target", ""))
    except ValueError:
        return str(item)


def _by_device(item: Any) -> str:
    if isinstance(item, dict):
        return str(item.get("target", ""))
    parts = str(item).split(":")
    return parts[1] if len(parts) > 1 else parts[0]


def _by_mount(directory: str) -> Callable[[Any], str]:
    def identity(item: Any) -> str:
        if isinstance(item, dict):
            return str(item["target"]) if item.get("target") else f"{directory}/{item.get('source', '')}"
        return f"{directory}/{item}"

    return identity


def _by_path(item: Any) -> str:
    return str(item.get("path", "")) if isinstance(item, dict) else str(item)


def _by_port(item: Any) -> str:
    if not isinstance(item, dict):
        return str(item)
    published = item.get("published", "")
    kind = "" if isinstance(published, str) else "#"
    return f"{item.get('host_ip') or '0.0.0.0'}:{kind}{published}:{item.get('target')}/{item.get('protocol') or 'tcp'}"


UNIQUE: Rules = {
    "networks": {"*": {"labels": _by_key, "ipam": {"options": _by_key}}},
    "services": {
        "*": {
            "annotations": _by_key,
            "build": {
                "args": _by_key,
                "additional_contexts": _by_key,
                "tags": _by_key,
                "labels": _by_key,
            },
            "cap_add": _by_key,
            "cap_drop": _by_key,
            "configs": _by_mount(""),
            "deploy": {"labels": _by_key},
            "devices": _by_device,
            "dns": _by_key,
            "dns_opt": _by_key,
            "dns_search": _by_key,
            "environment": _by_key,
            "env_file": _by_path,
            "expose": _by_text,
            "labels": _by_key,
            "links": _by_key,
            "networks": {"*": {"aliases": _by_key, "link_local_ips": _by_key}},
            "ports": _by_port,
            "profiles": _by_key,
            "secrets": _by_mount("/run/secrets"),
            "sysctls": _by_key,
            "tmpfs": _by_key,
            "volumes": _by_volume,
        }
    },
}
