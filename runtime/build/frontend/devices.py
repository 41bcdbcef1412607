"""``RUN --device``: what it says (Dockerfile reference, "RUN --device"), and what allows it. Pure.

A step names a device of the Container Device Interface (``vendor.com/kind=name``), devices that annotations put into a
class, all of a kind (``vendor.com/kind=*``) or the first of a kind (``vendor.com/kind``).
"""

from __future__ import annotations

import csv

from runtime.build.steps import DEVICE_ENTITLEMENT, StepDevice
from runtime.container.cdi import is_kind

_TRUE = frozenset({"1", "t", "true"})
_FALSE = frozenset({"0", "f", "false"})


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
    return word == DEVICE_ENTITLEMENT and (text == word or is_kind(name.partition("=")[0]))
