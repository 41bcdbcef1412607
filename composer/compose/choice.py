"""Which services of a tree a command line is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from composer.compose.errors import ComposeError
from composer.compose.profiles import is_enabled
from runtime.nearest import nearest


def chosen_services(
    tree: dict[str, Any], names: Sequence[str], profiles: Sequence[str], unready: Mapping[str, str]
) -> list[str]:
    """Sorted: all that ``profiles`` enable, or ``names`` and what they need. Naming a service enables its profiles.

    Raises :class:`ComposeError` for a name that is not there, and for what is wrong (``unready``) with one of these
    that no profile enabled.
    """
    services: dict[str, Any] = tree.get("services") or {}
    active = tuple(profiles)
    for name in names:
        service = _find(services, name)
        if not is_enabled(service.get("profiles") or (), active):
            active += tuple(service["profiles"])
    enabled = [str(n) for n, s in services.items() if is_enabled((s or {}).get("profiles") or (), active)]
    if not names:
        return sorted(enabled)
    found: dict[str, None] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        if name in unready:
            raise ComposeError(unready[name])
        found[name] = None
        for needed, dependency in (services[name].get("depends_on") or {}).items():
            if needed in enabled:
                waiting.append(str(needed))
            elif not isinstance(dependency, dict) or dependency.get("required") not in (False, "false"):
                wanted = (services.get(needed) or {}).get("profiles") or ()
                hint = (
                    f"{name} needs it; --profile {' or '.join(map(str, wanted))} enables it" if wanted else ""
                )
                raise ComposeError(f"no such service: {needed}", hint=hint, status=404)
    return sorted(found)


def check_enabled(tree: dict[str, Any], names: Sequence[str], profiles: Sequence[str]) -> None:
    """Raises :class:`ComposeError` for a name that is not there, or that no profile enables."""
    services: dict[str, Any] = tree.get("services") or {}
    for name in names:
        wanted = _find(services, name).get("profiles") or ()
        if not is_enabled(wanted, tuple(profiles)):
            hint = f"--profile {' or '.join(map(str, wanted))} enables it"
            raise ComposeError(f"no such service: {name}: disabled", hint=hint, status=404)


def _find(services: dict[str, Any], name: str) -> dict[str, Any]:
    service: dict[str, Any] | None = services.get(name)
    if service is None:
        close = nearest(name, services)
        hint = f"did you mean {close}?" if close else f"services: {', '.join(sorted(services)) or 'none'}"
        raise ComposeError(f"no such service: {name}", hint=hint, status=404)
    return service


def without_disabled(tree: dict[str, Any], chosen: Sequence[str]) -> dict[str, Any]:
    """The tree of chosen services without what they could do without and do not have."""
    services = dict(tree.get("services") or {})
    for name in chosen:
        needed = services[name].get("depends_on")
        if isinstance(needed, dict) and not needed.keys() <= set(chosen):
            kept = {key: value for key, value in needed.items() if key in chosen}
            services[name] = {**services[name], "depends_on": kept}
    return {**tree, "services": services}
