"""What an engine can leave on a machine, looked up before and after: a test that leaves something has failed.

Looks at the kernel only: processes, mounts, links, namespaces, cgroups, nftables tables. A ``Scope`` is one engine,
known by its state root, so that engines can be tested beside each other and beside the machine's own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from composer.engine.engine import tag_of
from runtime.kernel.cgroups import base_of
from runtime.kernel.netlink import nftables, rtnetlink
from runtime.kernel.netlink.transport import NETLINK_NETFILTER, NETLINK_ROUTE, NetlinkSocket
from runtime.network.bridge import link_group

SETTLE = 30.0
"""Seconds that the kernel may take to tear down what has ended (network namespaces are taken apart later)."""
_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "uts")
_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Scope:
    """The engine whose state is in ``root``."""

    root: str
    """COMPOSER_ROOT."""
    name: str
    """Of its cgroup and its nftables table."""
    group: int
    """Of its links."""


def scope_of(root: Path) -> Scope:
    """The engine with this COMPOSER_ROOT."""
    tag = tag_of(root / "lib")
    return Scope(str(root), base_of(tag), link_group(tag))


def scopes_below(directory: Path) -> list[Scope]:
    """All engines that had their state somewhere below a directory."""
    return [
        scope_of(Path(place)) for place, names, _ in os.walk(directory) if "lib" in names and "run" in names
    ]


def observe(scopes: Collection[Scope]) -> frozenset[str]:
    """Everything of these engines that is in the kernel now, each a few words."""
    if not scopes:
        return frozenset()
    return frozenset(
        [*_processes(scopes), *_mounts(scopes), *_cgroups(scopes), *_links(scopes), *_tables(scopes)]
    )


def left_behind(scopes: Collection[Scope], settle: float = SETTLE) -> list[str]:
    """What these engines have left, after giving it ``settle`` seconds to go away."""
    deadline = time.monotonic() + settle
    while (left := observe(scopes)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return sorted(left)


def _processes(scopes: Collection[Scope]) -> Iterator[str]:
    names = {scope.name for scope in scopes}
    variables = {f"COMPOSER_ROOT={scope.root}" for scope in scopes}
    directories = {f"{scope.root}/run" for scope in scopes}
    ours = {name: _link(f"/proc/self/ns/{name}") for name in _NAMESPACES}
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        words = _read(f"/proc/{entry}/cmdline").split("\0")
        groups = {part for line in _read(f"/proc/{entry}/cgroup").splitlines() for part in line.split("/")}
        if not (
            names & groups
            or directories & set(words)
            or variables & set(_read(f"/proc/{entry}/environ").split("\0"))
        ):
            continue
        yield f"process {entry}: {' '.join(words).strip()[:120] or _read(f'/proc/{entry}/comm').strip()}"
        for name, own in ours.items():
            if (other := _link(f"/proc/{entry}/ns/{name}")) and other != own:
                yield f"namespace {other} (of process {entry})"


def _mounts(scopes: Collection[Scope]) -> Iterator[str]:
    for line in _read("/proc/self/mountinfo").splitlines():
        place = line.split()[4]
        if any(place.startswith(scope.root + "/") for scope in scopes):
            yield f"mount {place}"


def _cgroups(scopes: Collection[Scope]) -> Iterator[str]:
    for directory in (_CGROUPS, *(path for path in _CGROUPS.iterdir() if path.is_dir())):
        for scope in scopes:
            if (directory / scope.name).is_dir():
                yield f"cgroup {directory / scope.name}"


def _links(scopes: Collection[Scope]) -> Iterator[str]:
    groups = {scope.group for scope in scopes}
    with NetlinkSocket(NETLINK_ROUTE) as socket:
        links = [rtnetlink.decode_link(reply) for reply in socket.query(rtnetlink.dump_links())]
    bridges = {link.ifindex for link in links if link.group in groups}
    for link in links:
        if link.ifindex in bridges or link.master in bridges:
            yield f"link {link.name}"


def _tables(scopes: Collection[Scope]) -> Iterator[str]:
    names = {scope.name for scope in scopes}
    with NetlinkSocket(NETLINK_NETFILTER) as socket:
        for reply in socket.query(nftables.dump_tables()):
            _, name = nftables.decode_table(reply)
            if name in names:
                yield f"nftables table {name}"


def _read(path: str) -> str:
    return _or_nothing(lambda: Path(path).read_text(errors="replace"))


def _link(path: str) -> str:
    return _or_nothing(lambda: os.readlink(path))


def _or_nothing(look: Callable[[], str]) -> str:
    """Processes end while one looks at them."""
    try:
        return look()
    except OSError:
        return ""
