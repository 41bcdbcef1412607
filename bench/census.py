"""Counting what an engine holds: in the kernel, on the disk, and in its own processes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from composer.engine.engine import tag_of
from runtime.kernel.cgroups import base_of
from runtime.kernel.netlink import nftables, rtnetlink
from runtime.kernel.netlink.transport import NETLINK_NETFILTER, NETLINK_ROUTE, NetlinkError, NetlinkSocket
from runtime.network.bridge import link_group
from runtime.network.ruleset import SETS, table_name

_CGROUPS = Path("/sys/fs/cgroup")
_ENGINE = ("composer-core", "composer-keeper")


class Census(NamedTuple):
    """Numbers, but for ``memory``: bytes that belong to the core alone."""

    mounts: int
    links: int
    namespaces: int
    cgroups: int
    elements: int
    """Of the sets and maps of the engine's nftables table."""
    descriptors: int
    processes: int
    files: int
    memory: int


def take(root: Path) -> Census:
    """What there is of the engine whose COMPOSER_ROOT is ``root``."""
    tag = tag_of(root / "lib")
    members = list(_processes(root, base_of(tag)))
    engine = [pid for pid in members if _name(pid) in _ENGINE]
    cores = [pid for pid in engine if _name(pid) == "composer-core"]
    return Census(
        mounts=sum(
            f"{root}/" in line for pid in (os.getpid(), *engine) for line in _lines(f"/proc/{pid}/mountinfo")
        ),
        links=_links(link_group(tag)),
        namespaces=len(set(_namespaces(members))),
        cgroups=sum(
            sum(1 for _ in os.walk(directory / base_of(tag)))
            for directory in (_CGROUPS, *(path for path in _CGROUPS.iterdir() if path.is_dir()))
        ),
        elements=_elements(table_name(tag)),
        descriptors=sum(len(_entries(f"/proc/{pid}/fd")) for pid in engine),
        processes=len(members),
        files=sum(len(names) + len(directories) for _, directories, names in os.walk(root)),
        memory=sum(map(_private_bytes, cores)),
    )


def _processes(root: Path, cgroup: str) -> Iterator[int]:
    variable = os.fsencode(f"COMPOSER_ROOT={root}")
    for entry in _entries("/proc"):
        if not entry.isdecimal():
            continue
        with contextlib.suppress(OSError):
            in_it = any(cgroup in line.split("/") for line in _lines(f"/proc/{entry}/cgroup"))
            has_it = variable in Path(f"/proc/{entry}/environ").read_bytes().split(b"\0")
            # The command that is counting, or waits for a count, has the variable too.
            if in_it or (has_it and _name(int(entry)).startswith("composer-")):
                yield int(entry)


def _namespaces(pids: list[int]) -> Iterator[str]:
    own = set(_targets(f"/proc/{os.getpid()}/ns"))
    for pid in pids:
        yield from set(_targets(f"/proc/{pid}/ns")) - own
        for target in _targets(f"/proc/{pid}/fd"):
            if target.startswith(("net:", "mnt:", "pid:", "ipc:", "uts:", "user:")) and target not in own:
                yield target


def _links(group: int) -> int:
    with NetlinkSocket(NETLINK_ROUTE) as socket:
        links = [rtnetlink.decode_link(reply) for reply in socket.query(rtnetlink.dump_links())]
    bridges = {link.ifindex for link in links if link.group == group}
    return sum(link.ifindex in bridges or link.master in bridges for link in links)


def _elements(table: str) -> int:
    found = 0
    with NetlinkSocket(NETLINK_NETFILTER) as socket:
        for name in SETS:
            with contextlib.suppress(NetlinkError):  # there is no table while nothing runs
                for reply in socket.query(nftables.dump_elements(nftables.NFPROTO_INET, table, name)):
                    found += len(nftables.decode_elements(reply))
    return found


def _private_bytes(pid: int) -> int:
    fields = dict(line.split(":", 1) for line in _lines(f"/proc/{pid}/smaps_rollup")[1:])
    return sum(int(fields.get(name, "0").split()[0]) * 1024 for name in ("Private_Dirty", "Private_Clean"))


def _name(pid: int) -> str:
    return "".join(_lines(f"/proc/{pid}/comm"))


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _entries(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


def _targets(directory: str) -> Iterator[str]:
    for entry in _entries(directory):
        with contextlib.suppress(OSError):
            yield os.readlink(f"{directory}/{entry}")
