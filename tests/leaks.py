"""What an engine can leave on a machine, looked up before and after: a test that leaves something has failed.

Looks at the kernel only: processes, mounts, links, namespaces, cgroups, nftables tables, and the directories of
the default state root. ``Scope`` narrows that to one engine, so that several can be tested side by side.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from runtime.kernel.netlink import nftables, rtnetlink
from runtime.kernel.netlink.transport import NETLINK_NETFILTER, NETLINK_ROUTE, NetlinkSocket
from runtime.network.bridge import link_group

SETTLE = 5.0
"""Seconds that the kernel may take to tear down what has ended (network namespaces are taken apart later)."""
_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "uts")
_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Scope:
    """Which engine's traces to look for: the one at ``root`` with ``tag``, or (without) every engine's."""

    root: str = ""
    tag: str = ""

    @property
    def name(self) -> str:
        """Of the engine's cgroup and nftables table."""
        return f"composer-{self.tag}" if self.tag else "composer"

    def has_name(self, name: str) -> bool:
        """Whether a cgroup or table with this name belongs to it."""
        if self.root:
            return name == self.name
        return name == "composer" or name.startswith("composer-")


@dataclass(frozen=True, slots=True)
class Traces:
    """What was there at one moment; each a sentence's worth of text."""

    found: frozenset[str] = field(default_factory=frozenset)

    def since(self, before: Traces) -> list[str]:
        """What is here and was not there, in order."""
        return sorted(self.found - before.found)


def observe(scope: Scope | None = None) -> Traces:
    """Everything of an engine that is on the machine now."""
    wanted = scope or Scope()
    found = {*_processes(wanted), *_mounts(wanted), *_cgroups(wanted), *_links(wanted), *_tables(wanted)}
    if not wanted.root:
        found |= {f"file {path}" for path in ("/run/composer", "/var/lib/composer") if os.path.exists(path)}
    return Traces(frozenset(found))


def left_behind(before: Traces, scope: Scope | None = None, settle: float = SETTLE) -> list[str]:
    """What was not there before, after giving it ``settle`` seconds to go away."""
    deadline = time.monotonic() + settle
    while True:
        left = observe(scope).since(before)
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.05)


def _processes(scope: Scope) -> Iterator[str]:
    ours = {name: _link(f"/proc/self/ns/{name}") for name in _NAMESPACES}
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        words = _read(f"/proc/{entry}/cmdline").split("\0")
        command = " ".join(words).strip()
        groups = _read(f"/proc/{entry}/cgroup")
        is_engine = "composer.core" in words and (
            not scope.root or f"COMPOSER_ROOT={scope.root}" in _read(f"/proc/{entry}/environ").split("\0")
        )
        parts = {part for line in groups.splitlines() for part in line.split(":")[-1].split("/")}
        if not is_engine and not any(scope.has_name(part) for part in parts):
            continue
        yield f"process {entry}: {command[:120] or _read(f'/proc/{entry}/comm').strip()}"
        for name, own in ours.items():
            if (other := _link(f"/proc/{entry}/ns/{name}")) and other != own:
                yield f"namespace {other} (of process {entry})"


def _mounts(scope: Scope) -> Iterator[str]:
    for line in _read("/proc/self/mountinfo").splitlines():
        place, source = line.split()[4], line.partition(" - ")[2]
        if scope.root:
            if place.startswith(scope.root + "/"):
                yield f"mount {place}"
        elif "/composer" in place or "composer" in source:
            yield f"mount {place}"


def _cgroups(scope: Scope) -> Iterator[str]:
    controllers = [_CGROUPS, *(path for path in _CGROUPS.iterdir() if path.is_dir())]
    for directory in controllers:
        for path in directory.glob("composer*"):
            if path.is_dir() and scope.has_name(path.name):
                yield f"cgroup {path}"


def _links(scope: Scope) -> Iterator[str]:
    group = link_group(scope.tag)
    with NetlinkSocket(NETLINK_ROUTE) as socket:
        for reply in socket.query(rtnetlink.dump_links()):
            link = rtnetlink.decode_link(reply)
            if link.name.startswith(("cmp-", "cmv")) and (not scope.root or link.group == group):
                yield f"link {link.name}"


def _tables(scope: Scope) -> Iterator[str]:
    with NetlinkSocket(NETLINK_NETFILTER) as socket:
        for reply in socket.query(nftables.dump_tables()):
            _, name = nftables.decode_table(reply)
            if scope.has_name(name):
                yield f"nftables table {name}"


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
