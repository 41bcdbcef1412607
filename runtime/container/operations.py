"""What is done to make a container's root: small operations as data, in the order in which they are executed.

``runtime.container.launch`` executes them in the container's first process. They travel as JSON, tagged ``op``.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Namespace = Literal["new", "host"] | int
"""A namespace of its own, the host's, or that of the process with this id."""


class Operation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="op"):
    """Base of all operations."""


class Overlay(Operation, frozen=True, kw_only=True, tag="overlay"):
    """The root: ``layers`` (host directories, topmost first) under the writable ``upper``."""

    layers: tuple[str, ...]
    upper: str
    work: str
    base: str
    """The layer below all others: mount points that an image may lack, so that none has to be made in ``upper``."""
    is_volatile: bool = False
    """What is written need not survive the machine: syncing does nothing."""
    peers: tuple[tuple[str, bool, bool], ...] = ()
    """Sources of shared binds, whether they are recursive, and made when missing: copied while this namespace still is
    a peer of the host's, before it is made a slave."""


class Filesystem(Operation, frozen=True, kw_only=True, tag="filesystem"):
    """A new kernel filesystem (proc, sysfs, devpts, mqueue, tmpfs ...)."""

    kind: str
    target: str
    options: tuple[tuple[str, str | None], ...] = ()
    attributes: tuple[str, ...] = ()
    follow: bool = True
    """Whether links on the way to ``target`` are followed (inside the root)."""
    inherit_mode: bool = False
    """tmpfs: take the permission bits of the directory that is there already."""
    propagation: str = ""


class Devices(Operation, frozen=True, kw_only=True, tag="devices"):
    """/dev: a tmpfs with device nodes ``(path below /dev, type, major, minor, mode, uid, gid)`` and links."""

    nodes: tuple[tuple[str, str, int, int, int, int, int], ...]
    links: tuple[tuple[str, str], ...]
    size: int = 65536 * 1024


class Nodes(Operation, frozen=True, kw_only=True, tag="nodes"):
    """Device nodes elsewhere than in /dev, as in :class:`Devices` but with absolute paths."""

    nodes: tuple[tuple[str, str, int, int, int, int, int], ...]


class Bind(Operation, frozen=True, kw_only=True, tag="bind"):
    """A host file or directory, or (``subpath``) what is inside of it, links resolved within ``source``."""

    source: str
    target: str
    read_only: bool = False
    recursive: bool = True
    read_only_recursive: bool = False
    attributes: tuple[str, ...] = ()
    """``nosuid``, ``nodev``, ``noexec``; beyond those that the source has already."""
    propagation: str = "rprivate"
    create: bool = False
    """Make ``source`` (a directory) on the host when it is not there."""
    subpath: str = ""


class BindFrom(Operation, frozen=True, kw_only=True, tag="bind_from"):
    """What process ``pid`` has mounted at ``target``, in the same place here."""

    pid: int
    target: str


class ImageMount(Operation, frozen=True, kw_only=True, tag="image"):
    """The content of an image, read-only: an overlay of ``layers`` without an upper directory."""

    layers: tuple[str, ...]
    target: str
    subpath: str = ""


class CopyUp(Operation, frozen=True, kw_only=True, tag="copy_up"):
    """Fill the empty volume directory ``volume`` with what the image has at ``target``."""

    target: str
    volume: str


class File(Operation, frozen=True, kw_only=True, tag="file"):
    """A read-only file from ``content`` (base64) or from the host file ``source``, on a tmpfs of its own."""

    target: str
    content: str = ""
    source: str = ""
    uid: int = 0
    gid: int = 0
    mode: int = 0o444


class Links(Operation, frozen=True, kw_only=True, tag="links"):
    """Symbolic links to make, ``(path, text)``."""

    links: tuple[tuple[str, str], ...]


class Network(Operation, frozen=True, kw_only=True, tag="network"):
    """Configure the network, whose interfaces are there."""


class Hostname(Operation, frozen=True, kw_only=True, tag="hostname"):
    name: str
    domain: str = ""


class Sysctls(Operation, frozen=True, kw_only=True, tag="sysctls"):
    """Kernel settings of the container's namespaces, by dotted name, written through its own /proc."""

    values: dict[str, str]
    optional: bool = False
    """Skip those that this kernel does not have."""


class ReadOnly(Operation, frozen=True, kw_only=True, tag="read_only"):
    """Make what is at ``paths`` read-only, where it exists."""

    paths: tuple[str, ...]
    are_mounts: bool = False
    """They are roots of mounts; else a read-only copy is put over them."""


class Mask(Operation, frozen=True, kw_only=True, tag="mask"):
    """Hide what is at ``paths``, where it exists: files under /dev/null, directories under an empty tmpfs."""

    paths: tuple[str, ...]


class ReadOnlyRoot(Operation, frozen=True, kw_only=True, tag="read_only_root"):
    """Make the root itself read-only; mounts below it stay as they are."""


AnyOperation = (
    Overlay
    | Filesystem
    | Devices
    | Nodes
    | Bind
    | BindFrom
    | ImageMount
    | CopyUp
    | File
    | Links
    | Network
    | Hostname
    | Sysctls
    | ReadOnly
    | Mask
    | ReadOnlyRoot
)
