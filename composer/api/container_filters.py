"""Which containers a ``filters`` parameter selects. Pure, but for the lookups it is given."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from composer.api.container_create import parse_port
from composer.api.container_network_json import exposed_ports
from composer.api.interface import Container
from runtime.errors import ComposerError, InvalidArgument

Filters = Mapping[str, Sequence[str]]

KNOWN = frozenset(
    {
        "ancestor",
        "before",
        "exited",
        "expose",
        "health",
        "id",
        "is-task",
        "isolation",
        "label",
        "name",
        "network",
        "publish",
        "since",
        "status",
        "volume",
    }
)
STATES = ("created", "restarting", "running", "removing", "paused", "exited", "dead")
HEALTHS = ("starting", "healthy", "unhealthy", "none")


def shows_stopped(filters: Filters) -> bool:
    """Filters that speak of stopped containers include them without ``all``."""
    return "status" in filters or "exited" in filters


def has_labels(labels: Mapping[str, str], wanted: Iterable[str]) -> bool:
    """Every one of ``wanted`` (``name`` or ``name=value``) is there."""
    for text in wanted:
        name, has_value, value = text.partition("=")
        if name not in labels or (has_value and labels[name] != value):
            return False
    return True


def select(
    containers: Sequence[Container],
    filters: Filters,
    *,
    find: Callable[[str], Container],
    image_id: Callable[[str], str | None],
) -> list[Container]:
    """The containers that match all filters (one of the values of each; labels: all of them).

    ``find`` looks a container up (for ``before`` and ``since``), ``image_id`` the id of an image (for
    ``ancestor``).
    """
    _check(filters)
    bounds = {
        key: [find(ref).created for ref in filters[key]] for key in ("before", "since") if key in filters
    }
    ancestors = {found for ref in filters.get("ancestor", ()) if (found := image_id(ref)) is not None}

    def matches(container: Container) -> bool:
        if "before" in bounds and container.created >= min(bounds["before"]):
            return False
        if "since" in bounds and container.created <= max(bounds["since"]):
            return False
        if "ancestor" in filters and not (
            container.image_id in ancestors or container.image_ref in filters["ancestor"]
        ):
            return False
        if not has_labels(container.labels, filters.get("label", ())):
            return False
        return all(
            key in _SPECIAL or any(_matches(container, key, value) for value in values)
            for key, values in filters.items()
        )

    return [container for container in containers if matches(container)]


_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
_SPECIAL = frozenset({"before", "since", "ancestor", "label"})


def _check(filters: Filters) -> None:
    for key, valid in (("status", STATES), ("health", HEALTHS)):
        for value in filters.get(key, ()):
            if value not in valid:
                raise InvalidArgument(
                    f"invalid filter '{key}={value}'", hint=f"Use one of {', '.join(valid)}."
                )
    for value in filters.get("is-task", ()):
        if value not in _FALSE and value not in _TRUE:
            raise InvalidArgument(f"invalid filter 'is-task={value}'", hint="Use true or false.")
    for value in filters.get("exited", ()):
        if not value.lstrip("-").isdecimal():
            raise InvalidArgument(f"invalid filter 'exited={value}'")


def _matches(container: Container, key: str, value: str) -> bool:
    match key:
        case "id":
            return container.id.startswith(value)
        case "name":
            return _matches_name(container.name, value)
        case "status":
            return container.state.status == value
        case "exited":
            return container.state.status == "exited" and container.state.exit_code == int(value)
        case "health":
            health = container.state.health
            return value == (health.status if health else "none")
        case "volume":
            return any(value in (point.name, point.source, point.target) for point in container.mounts)
        case "network":
            return any(
                value in (name, endpoint.network_id) or (value and endpoint.network_id.startswith(value))
                for name, endpoint in container.endpoints.items()
            ) or (not container.endpoints and container.config.network_mode == value)
        case "publish":
            wanted = _ports(value)
            return any((port.host_port, port.protocol) in wanted for port in container.ports)
        case "expose":
            wanted = _ports(value)
            return any(parse_port(entry) in wanted for entry in exposed_ports(container))
        case "is-task":
            return value in _FALSE
        case _:
            return True


def _matches_name(name: str, pattern: str) -> bool:
    return has_pattern(f"/{name}", pattern) or has_pattern(name, pattern)


def has_pattern(text: str, pattern: str) -> bool:
    """Whether the regular expression is found in ``text``; what is none is looked for as it stands."""
    try:
        return bool(re.search(pattern, text))
    except re.error:
        return pattern in text


def _ports(text: str) -> set[tuple[int, str]]:
    """``8000-8010/tcp`` as (port, protocol) pairs."""
    ports, _, protocol = text.partition("/")
    first, _, last = ports.partition("-")
    try:
        start, _ = parse_port(f"{first}/{protocol or 'tcp'}")
        end, kind = parse_port(f"{last or first}/{protocol or 'tcp'}")
    except ComposerError as error:
        raise error.within("invalid filter") from None
    return {(port, kind) for port in range(start, end + 1)}
