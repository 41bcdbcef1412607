"""``RUN --device``: what it says, which devices that is, and whether the build may have them."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.build.frontend.devices import is_device_entitlement, parse_device
from runtime.build.steps import StepDevice
from runtime.build.worker.devices import chosen_devices
from runtime.container.cdi import Registry, parse
from runtime.errors import InvalidArgument

_CLASS = "org.mobyproject.buildkit.device.class"
_FREE = "org.mobyproject.buildkit.device.autoallow"
_DOCUMENT: dict[str, Any] = {
    "cdiVersion": "0.7.0",
    "kind": "v.example/gpu",
    "devices": [
        {"name": "one", "annotations": {_CLASS: "big"}, "containerEdits": {}},
        {"name": "two", "annotations": {_CLASS: "big", _FREE: "true"}, "containerEdits": {}},
        {"name": "three", "containerEdits": {}},
    ],
}
REGISTRY = Registry([[parse(_DOCUMENT, "gpu.json")]])


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("v.example/gpu=one", StepDevice("v.example/gpu=one")),
        ("v.example/gpu", StepDevice("v.example/gpu")),
        ("name=v.example/gpu=*,required", StepDevice("v.example/gpu=*", is_required=True)),
        ("v.example/gpu=one,required=false", StepDevice("v.example/gpu=one")),
    ],
)
def test_what_it_says(text: str, device: StepDevice) -> None:
    assert parse_device(text) == device


@pytest.mark.parametrize(
    "text",
    ["", "gpu", "required", "v.example/gpu,optional", "v.example/gpu,required=maybe", "a/b=c,name=a/b=d"],
)
def test_what_it_cannot_say(text: str) -> None:
    with pytest.raises(ValueError, match=r"device|required"):
        parse_device(text)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("v.example/gpu=one", ["one"]),
        ("v.example/gpu=*", ["one", "three", "two"]),
        ("v.example/gpu", ["one"]),
        ("v.example/gpu=big", ["one", "two"]),
        ("v.example/gpu=none", []),
        ("w.example/gpu", []),
    ],
)
def test_which_devices_that_is(name: str, found: list[str]) -> None:
    names = chosen_devices([StepDevice(name)], REGISTRY, ["device"])
    assert names == tuple(f"v.example/gpu={one}" for one in found)


@pytest.mark.parametrize(
    "allow", ["device", "device=v.example/gpu", "device=v.example/gpu=*", "device=v.example/gpu=one"]
)
def test_a_device_that_is_allowed(allow: str) -> None:
    assert is_device_entitlement(allow)
    assert chosen_devices([StepDevice("v.example/gpu=one")], REGISTRY, [allow])


def test_a_device_that_is_not_allowed() -> None:
    for allow in ((), ("device=v.example/gpu=two",), ("network.host",)):
        with pytest.raises(InvalidArgument, match="not allowed"):
            chosen_devices([StepDevice("v.example/gpu=one")], REGISTRY, allow)
    assert chosen_devices([StepDevice("v.example/gpu=two")], REGISTRY, ()) == ("v.example/gpu=two",)
    assert not is_device_entitlement("device=")
    assert not is_device_entitlement("devices")


def test_a_device_that_is_required() -> None:
    with pytest.raises(InvalidArgument, match="not there"):
        chosen_devices([StepDevice("v.example/gpu=none", is_required=True)], REGISTRY, ["device"])
