"""``--device`` and ``--gpus`` of ``container run`` and ``create``."""

from __future__ import annotations

from composer.cli.arguments import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def is_named(device: str) -> bool:
    """vendor.com/class=name, a device of a CDI specification."""
    return "=" in device and not device.startswith("/")


def device_requests(devices: list[str], gpus: list[str]) -> list[dict[str, Any]]:
    """Docker's DeviceRequests: what is asked for by name, and GPUs."""
    names = [name for name in devices if is_named(name)]
    found: list[dict[str, Any]] = [{"Driver": "cdi", "DeviceIDs": names}] if names else []
    return found + [_gpus(text) for text in gpus]


def _gpus(text: str) -> dict[str, Any]:
    """``all``, ``2``, ``device=0``, ``"device=0,1",driver=nvidia`` in CSV, as Docker reads them."""
    import csv

    request: dict[str, Any] = {"Driver": "", "Count": 0, "Capabilities": [["gpu"]], "Options": {}}
    try:
        (fields,) = csv.reader([text], strict=True)
    except (csv.Error, ValueError):
        raise UsageError(f'invalid argument "{text}" for "--gpus" flag: it is no CSV') from None
    for field in fields:
        key, equals, value = field.partition("=")
        if not equals:
            key, value = "count", field
        match key:
            case "count" if value == "all" or value.lstrip("-").isdecimal():
                request["Count"] = -1 if value == "all" else int(value)
            case "device":
                request["DeviceIDs"] = value.split(",")
            case "driver":
                request["Driver"] = value
            case "capabilities":
                request["Capabilities"] = [["gpu", *(c for c in value.split(",") if c != "gpu")]]
            case "options":
                request["Options"] = dict(
                    option.split("=", 1) for option in value.split(",") if "=" in option
                )
            case "count":
                raise UsageError(f'invalid argument "{text}" for "--gpus" flag: invalid count ({value})')
            case _:
                raise UsageError(f'invalid argument "{text}" for "--gpus" flag: unexpected key {key!r}')
    if not request["Count"] and "DeviceIDs" not in request:
        request["Count"] = 1
    return request


def device(text: str) -> dict[str, str]:
    """A path on the host, with another one in the container and permissions: ``PATH[:PATH][:rwm]``."""
    parts = text.split(":")
    source = parts[0]
    target = parts[1] if len(parts) > 1 and parts[1].startswith("/") else source
    permissions = parts[-1] if len(parts) > 1 and not parts[-1].startswith("/") else "rwm"
    return {"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": permissions}
