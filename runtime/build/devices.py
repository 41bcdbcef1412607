"""``RUN --device``: devices of the Container Device Interface that a step asks for, and which a build may have. Pure.

Source: Dockerfile reference, "RUN --device"; docs.docker.com/build/building/cdi. A step names a device
(``vendor.com/kind=name``), devices that annotations put into a class, all of a kind (``vendor.com/kind=*``) or the
first of a kind (``vendor.com/kind``).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runtime.container.cdi import Registry, is_kind
from runtime.errors import InvalidArgument

ENTITLEMENT = "device"
_CLASS = "org.mobyproject.buildkit.device.class"
_FREE = "org.mobyproject.buildkit.device.autoallow"
_TRUE = frozenset({"1", "t", "true"})
_FALSE = frozenset({"0", "f", "false"})


@dataclass(frozen=True, slots=True)
class StepDevice:
    """One ``--device``. A step goes without one that is not there, unless it is required."""

    name: str
    is_required: bool = False


def parse_device(text: str) -> StepDevice:
    """What ``--device=text`` says. Raises ValueError with a sentence."""
    try:
        (fields,) = csv.reader([text], strict=True)
    except (csv.Error, ValueError) as error:
        raise ValueError(f"failed to parse device {text!r}: {error}") from None
    name, is_required = "", False
    for field in fields:
        key, equals, value = field.partition("=")
        word = (value if equals else "true").lower()
        if key.lower() == "required" and word in _TRUE | _FALSE:
            is_required = word in _TRUE
        elif key.lower() == "required":
            raise ValueError(f"invalid value for required: {value}")
        elif name:
            raise ValueError(f"unexpected {field!r} behind the device {name}: there are name and required")
        else:
            name = value if key.lower() == "name" else field
    if not is_kind(name.partition("=")[0]):
        raise ValueError(f"invalid device {name!r}: write vendor.com/class=name")
    return StepDevice(name, is_required)


def is_device_entitlement(text: str) -> bool:
    """``device``, or ``device=`` and a device or kind."""
    word, _, name = text.partition("=")
    return word == ENTITLEMENT and (text == word or is_kind(name.partition("=")[0]))


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
            granted = {f"device={one}" for one in (name, kind, f"{kind}=*", device.name)} | {ENTITLEMENT}
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
