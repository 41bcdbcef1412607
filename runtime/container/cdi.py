"""Devices by name: specifications of the Container Device Interface, and what they add to a container. Pure; the files
are read by ``cdi_files``.

Source: github.com/cncf-tags/container-device-interface, SPEC.md (up to 1.0). A device is ``vendor/class=name``; its
specification says which nodes, mounts, variables and groups it takes. Hooks are programs of the host: they are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runtime.container.config import DeviceRequest, Mount
from runtime.errors import InvalidArgument
from runtime.nearest import nearest

_VENDOR = r"[A-Za-z](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?"
_CLASS = r"[A-Za-z](?:[A-Za-z0-9_-]*[A-Za-z0-9])?"
_KIND = re.compile(f"{_VENDOR}/{_CLASS}")
_DEVICE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.:-]*[A-Za-z0-9])?")
_QUALIFIED = re.compile(f"({_VENDOR}/{_CLASS})=(.+)")
GPU_KINDS = {"nvidia": "nvidia.com/gpu", "amd": "amd.com/gpu"}
"""Kinds of GPUs by the driver that a request names, in the order in which they are looked for."""
_REFUSED = ("hooks", "intelRdt", "netDevices")


def is_qualified(name: str) -> bool:
    """``vendor.com/class=name``, not a path."""
    return _QUALIFIED.fullmatch(name) is not None


def is_kind(name: str) -> bool:
    """``vendor.com/class``."""
    return _KIND.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Node:
    """A device node to be made; what is not given is taken from the host's node at ``source``."""

    path: str
    source: str
    kind: str = ""
    major: int | None = None
    minor: int | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    permissions: str = "rwm"


@dataclass(frozen=True, slots=True)
class Edits:
    """What devices add to a container."""

    env: tuple[str, ...] = ()
    nodes: tuple[Node, ...] = ()
    mounts: tuple[Mount, ...] = ()
    groups: tuple[str, ...] = ()

    def __add__(self, other: Edits) -> Edits:
        return Edits(
            self.env + other.env,
            self.nodes + other.nodes,
            self.mounts + other.mounts,
            tuple(dict.fromkeys(self.groups + other.groups)),
        )


@dataclass(frozen=True, slots=True)
class Specification:
    """One file: the edits are as they stand there, and read when a device is asked for."""

    path: str
    kind: str
    devices: Mapping[str, Mapping[str, Any]]
    common: Mapping[str, Any]
    annotations: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By device: those of the file, and its own over them."""


def parse(document: Any, path: str) -> Specification:
    """A specification's document. Raises InvalidArgument that names the file."""
    try:
        _demand(isinstance(document, Mapping), "it is not a mapping")
        _demand(isinstance(document.get("cdiVersion"), str), "cdiVersion is missing")
        kind = document.get("kind")
        _demand(isinstance(kind, str) and bool(_KIND.fullmatch(kind)), f"invalid kind {kind!r}")
        devices: dict[str, Mapping[str, Any]] = {}
        annotations: dict[str, Mapping[str, str]] = {}
        general = _texts(document.get("annotations"))
        for device in document.get("devices") or ():
            name = device.get("name") if isinstance(device, Mapping) else None
            _demand(isinstance(name, str) and bool(_DEVICE.fullmatch(name)), f"invalid device name {name!r}")
            _demand(name not in devices, f"device {name} is there twice")
            devices[str(name)] = _mapping(device.get("containerEdits"), "containerEdits")
            annotations[str(name)] = {**general, **_texts(device.get("annotations"))}
        _demand(bool(devices), "it has no devices")
        common = _mapping(document.get("containerEdits"), "containerEdits")
    except InvalidArgument as error:
        raise error.within(f"CDI specification {path}") from None
    return Specification(path, str(kind), devices, common, annotations)


def _demand(holds: bool, message: str) -> None:
    if not holds:
        raise InvalidArgument(message)


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    _demand(value is None or isinstance(value, Mapping), f"{what} is not a mapping")
    return value or {}


def _texts(value: Any) -> Mapping[str, str]:
    return {str(key): str(text) for key, text in _mapping(value, "annotations").items()}


def edits_of(fields: Mapping[str, Any]) -> Edits:
    """``containerEdits``. Raises InvalidArgument for what is wrong, or cannot be done."""
    for key in _REFUSED:
        if fields.get(key):
            what = ", ".join(str(hook.get("path")) for hook in fields[key]) if key == "hooks" else ""
            raise InvalidArgument(
                f"it wants {key}{f' ({what})' if what else ''}, which are not applied by this engine",
                hint="generate the specification without hooks" if key == "hooks" else "",
            )
    env = tuple(str(item) for item in fields.get("env") or ())
    _demand(all("=" in item for item in env), "env is not a list of NAME=value")
    return Edits(
        env=env,
        nodes=tuple(_node(_mapping(one, "deviceNodes")) for one in fields.get("deviceNodes") or ()),
        mounts=tuple(_mount(_mapping(one, "mounts")) for one in fields.get("mounts") or ()),
        groups=tuple(
            str(int(gid)) for gid in fields.get("additionalGids") or fields.get("additionalGIDs") or ()
        ),
    )


def _node(fields: Mapping[str, Any]) -> Node:
    path = fields.get("path")
    _demand(isinstance(path, str) and path.startswith("/"), f"invalid path of a device node: {path!r}")
    kind = str(fields.get("type") or "")
    _demand(kind in ("", "b", "c", "u", "p"), f"invalid type of {path}: {kind!r}")
    permissions = str(fields.get("permissions") or "rwm")
    _demand(not set(permissions) - set("rwm"), f"invalid permissions of {path}: {permissions!r}")
    return Node(
        path=str(path),
        source=str(fields.get("hostPath") or path),
        kind="c" if kind == "u" else kind,
        major=fields.get("major"),
        minor=fields.get("minor"),
        mode=fields.get("fileMode"),
        uid=fields.get("uid"),
        gid=fields.get("gid"),
        permissions=permissions,
    )


def _mount(fields: Mapping[str, Any]) -> Mount:
    source, target = fields.get("hostPath"), fields.get("containerPath")
    _demand(isinstance(source, str) and isinstance(target, str), "a mount needs hostPath and containerPath")
    options = [str(option) for option in fields.get("options") or ()]
    kind = str(fields.get("type") or "bind")
    if kind == "tmpfs":
        kept = tuple(option for option in options if option not in ("bind", "rbind"))
        return Mount(type="tmpfs", target=str(target), options=kept)
    _demand(kind in ("bind", "none"), f"mount {target}: type {kind} is not supported")
    propagation = next((option for option in options if option.endswith(("private", "slave", "shared"))), "")
    return Mount(
        type="bind",
        source=str(source),
        target=str(target),
        read_only="ro" in options,
        propagation=propagation,
        recursive="" if "rbind" in options or "bind" not in options else "disabled",
    )


@dataclass(frozen=True, slots=True)
class Registry:
    """Everything that is there, the most important first: specifications in groups of the same rank."""

    ranks: Sequence[Sequence[Specification]]
    broken: Mapping[str, str] = field(default_factory=dict)
    """Files that could not be read, and why."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of all devices, qualified."""
        found = {f"{one.kind}={name}" for rank in self.ranks for one in rank for name in one.devices}
        return tuple(sorted(found))

    def annotations(self, name: str) -> Mapping[str, str]:
        """Of a device that is there. Raises InvalidArgument."""
        return self._find(name).annotations.get(name.partition("=")[2], {})

    def edits(self, requests: Iterable[DeviceRequest]) -> Edits:
        """What ``requests`` come to. Raises InvalidArgument that says what there is."""
        total, seen = Edits(), set[str]()
        for name in dict.fromkeys(name for request in requests for name in self._wanted(request)):
            specification = self._find(name)
            try:
                if specification.path not in seen:
                    seen.add(specification.path)
                    total += edits_of(specification.common)
                total += edits_of(specification.devices[name.partition("=")[2]])
            except InvalidArgument as error:
                raise error.within(f"CDI device {name} ({specification.path})") from None
            except (TypeError, ValueError) as error:
                raise InvalidArgument(f"CDI device {name} ({specification.path}): {error}") from None
        return total

    def _wanted(self, request: DeviceRequest) -> tuple[str, ...]:
        """Qualified names of what is asked for."""
        if request.driver == "cdi":
            for name in request.device_ids:
                if not is_qualified(name):
                    raise InvalidArgument(
                        f"invalid CDI device name {name!r}", hint="write vendor.com/class=name"
                    )
            return request.device_ids
        kind = self._gpus(request)
        if request.device_ids:
            return tuple(name if is_qualified(name) else f"{kind}={name}" for name in request.device_ids)
        if request.count == -1:
            return (f"{kind}=all",)
        return tuple(f"{kind}={number}" for number in range(request.count or 1))

    def _gpus(self, request: DeviceRequest) -> str:
        wanted = ", ".join(request.capabilities) or "none"
        if request.driver not in ("", *GPU_KINDS) or (
            not request.driver and "gpu" not in request.capabilities
        ):
            raise InvalidArgument(
                f'could not select device driver "{request.driver}" with capabilities: [{wanted}]',
                hint="drivers are cdi, nvidia and amd; without one the capability gpu finds a GPU",
            ).pointing_at("gpus")
        kinds = (GPU_KINDS[request.driver],) if request.driver else tuple(GPU_KINDS.values())
        there = {name.partition("=")[0] for name in self.names}
        found = [kind for kind in kinds if kind in there]
        if not found and not request.driver:
            found = sorted(kind for kind in there if kind.endswith("/gpu"))
        if not found:
            raise InvalidArgument(
                f'could not select device driver "{request.driver}" with capabilities: [{wanted}]: '
                f"there is no CDI specification of {' or '.join(kinds)}",
                hint=self._there(),
            ).pointing_at("gpus")
        return found[0]

    def _find(self, name: str) -> Specification:
        kind, _, device = name.partition("=")
        for rank in self.ranks:
            found = [one for one in rank if one.kind == kind and device in one.devices]
            if len(found) > 1:
                raise InvalidArgument(
                    f"CDI device {name} is in several files: {', '.join(one.path for one in found)}"
                ).pointing_at("devices")
            if found:
                return found[0]
        close = nearest(name, self.names)
        hint = f"did you mean {close}?" if close else self._there()
        raise InvalidArgument(f"unresolvable CDI device {name}", hint=hint).pointing_at("devices")

    def _there(self) -> str:
        text = f"there are: {', '.join(self.names)}" if self.names else "no CDI specification was found"
        for path, reason in self.broken.items():
            text += f"; {path} cannot be read: {reason}"
        return text
