"""Which devices of this machine a step of a build is given. Pure; source: docs.docker.com/build/building/cdi."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from runtime.build.steps import DEVICE_ENTITLEMENT, StepDevice
from runtime.container.cdi import Registry
from runtime.errors import InvalidArgument

_CLASS = "org.mobyproject.buildkit.device.class"
_FREE = "org.mobyproject.buildkit.device.autoallow"
_TRUE = frozenset({"1", "t", "true"})


def chosen_devices(
    devices: Sequence[StepDevice], registry: Registry, allow: Sequence[str]
) -> tuple[str, ...]:
    """Qualified names of what a step is given. Raises InvalidArgument for one that is required and not there, and for
    one that the build has not been allowed and whose specification does not allow it to all."""
    found: dict[str, None] = {}
    for device in devices:
        names = _named(device.name, registry)
        if not names and device.is_required:
            there = ", ".join(registry.names) or "no CDI specification was found"
            raise InvalidArgument(f"required device {device.name!r} is not there: {there}")
        for name in names:
            kind = name.partition("=")[0]
            granted = {f"device={one}" for one in (name, kind, f"{kind}=*", device.name)} | {
                DEVICE_ENTITLEMENT
            }
            if granted.isdisjoint(allow) and registry.annotations(name).get(_FREE, "").lower() not in _TRUE:
                raise InvalidArgument(
                    f"the device {name} is not allowed: the build has to be given --allow device={name}"
                )
            found[name] = None
    return tuple(found)


def _named(text: str, registry: Registry) -> tuple[str, ...]:
    kind, _, name = text.partition("=")
    of_kind = tuple(one for one in registry.names if one.partition("=")[0] == kind)
    if not name:
        return of_kind[:1]
    if name == "*":
        return of_kind
    if text in of_kind:
        return (text,)
    return tuple(one for one in of_kind if _class(registry.annotations(one)) == name)


def _class(annotations: Mapping[str, str]) -> str:
    return annotations.get(_CLASS, "")
