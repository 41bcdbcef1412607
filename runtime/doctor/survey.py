"""Looking at a machine: reads what can be read; what can only be tried is, in a child whose namespaces end with it.

Leaves nothing behind. Runs in a process of one thread (a command's).
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from runtime.doctor.diagnosis import NAMESPACES
from runtime.doctor.facts import Attempt, Controller, Disk, Facts
from runtime.kernel import cgroups, mounts, syscalls
from runtime.kernel.netlink import nftables, rtnetlink
from runtime.kernel.netlink.transport import NETLINK_NETFILTER, NETLINK_ROUTE, NetlinkSocket
from runtime.network import ruleset
from runtime.storage.paths import Paths

SYSCTLS = (
    *(f"user.max_{kind}_namespaces" for kind in (*NAMESPACES, "user")),
    "kernel.apparmor_restrict_unprivileged_userns",
    "kernel.unprivileged_userns_clone",
    "net.ipv4.ip_forward",
    "fs.inotify.max_user_instances",
)
_FLAGS = {
    "mnt": syscalls.CLONE_NEWNS,
    "pid": syscalls.CLONE_NEWPID,
    "net": syscalls.CLONE_NEWNET,
    "ipc": syscalls.CLONE_NEWIPC,
    "uts": syscalls.CLONE_NEWUTS,
    "cgroup": syscalls.CLONE_NEWCGROUP,
}
_BINFMT = Path("/proc/sys/fs/binfmt_misc")


def look(paths: Paths, *, engine: str, version: str) -> Facts:
    """The facts for an engine with its state at ``paths``."""
    name = os.uname()
    is_root = os.geteuid() == 0
    disks = tuple(_disk(path) for path in (paths.lib, paths.run))
    tried: dict[str, Attempt] = {}
    if is_root and sys.platform == "linux":
        tried = {f"namespace {kind}": _try(lambda kind=kind: _namespace(kind)) for kind in NAMESPACES}  # type: ignore[misc]
        tried |= {
            "bridge": _try(_bridge),
            "veth": _try(_veth),
            "nf_tables": _try(_rules),
            "cgroup": _try(_cgroup),
        }
        if not disks[0].is_read_only:
            tried["overlay"] = _overlay(disks[0].path)
        if os.access("/proc/sys/net/ipv4/ip_forward", os.W_OK):
            tried["ip_forward"] = _try(_write_forwarding)
        else:
            tried["ip_forward"] = Attempt(errno.EROFS, os.strerror(errno.EROFS))
    return Facts(
        system=sys.platform,
        machine=name.machine,
        kernel=name.release,
        python=sys.version_info[:2],
        user=os.geteuid(),
        capabilities=_capabilities(),
        tried=tried,
        sysctls={key: text for key in SYSCTLS if (text := _read(f"/proc/sys/{key.replace('.', '/')}"))},
        cgroup_version=_cgroup_version(),
        controllers=frozenset(part for each in cgroups.controllers() for part in each.split(",")),
        known_controllers=_known_controllers(),
        switched_off=_switched_off(),
        is_whole_tree=not os.path.exists(f"{cgroups.ROOT}/cgroup.type"),
        own_cgroup=_own_cgroup(),
        is_own_user_namespace=_read("/proc/self/uid_map").split() != ["0", "0", "4294967295"],
        disks=tuple(dict.fromkeys(disks)),
        descriptors=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        has_seccomp=bool(_read("/proc/sys/kernel/seccomp/actions_avail")),
        has_pressure=os.path.exists("/proc/pressure/memory"),
        interpreters=frozenset(os.listdir(_BINFMT)) if _BINFMT.is_dir() else frozenset(),
        engine=engine,
        version=version,
    )


def _try(action: Callable[[], None]) -> Attempt:
    """What comes of ``action`` in a child."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            action()
            os.write(writer, b"0 ")
        except OSError as error:
            os.write(writer, f"{error.errno or errno.EIO} {error.strerror or error}".encode())
        except BaseException as error:
            os.write(writer, f"{errno.EIO} {type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        said = file.read(4096).decode(errors="replace")
    os.waitpid(child, 0)
    number, _, text = said.partition(" ")
    return Attempt(int(number or errno.EIO), text or "" if number else "the attempt was killed")


def _namespace(kind: str) -> None:
    syscalls.unshare(_FLAGS[kind])
    if kind == "pid":
        if (child := os.fork()) == 0:
            os._exit(0)
        os.waitpid(child, 0)


def _bridge() -> None:
    syscalls.unshare(syscalls.CLONE_NEWNET)
    with NetlinkSocket(NETLINK_ROUTE) as rtnl:
        rtnl.execute([rtnetlink.create_bridge("doctor0")])


def _veth() -> None:
    syscalls.unshare(syscalls.CLONE_NEWNET)
    own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    with NetlinkSocket(NETLINK_ROUTE) as rtnl:
        rtnl.execute([rtnetlink.create_veth("doctor0", peer="doctor1", peer_netns=own)])


def _rules() -> None:
    """The engine's whole table, as it makes it."""
    syscalls.unshare(syscalls.CLONE_NEWNET)
    content = ruleset.elements(ruleset.FirewallState())
    with NetlinkSocket(NETLINK_NETFILTER) as netfilter:
        netfilter.transact([nftables.begin(), *ruleset.build("doctor", content), nftables.end()])


def _cgroup() -> None:
    """An empty one, made and removed."""
    roots = [cgroups.ROOT]
    if cgroups.version() == 1:
        roots = [f"{cgroups.ROOT}/{name}" for name in cgroups.controllers()]
    for root in roots:
        path = f"{root}/composer-doctor-{os.getpid()}"
        try:
            os.mkdir(path)
        except OSError as error:
            raise OSError(error.errno, f"{error.strerror}: {root}") from error
        os.rmdir(path)


def _write_forwarding() -> None:
    """What it is already, of this process's network."""
    with open("/proc/sys/net/ipv4/ip_forward", "r+", encoding="ascii") as file:
        text = file.read()
        file.seek(0)
        file.write(text)


def _overlay(place: str) -> Attempt:
    try:
        scratch = tempfile.mkdtemp(prefix=".doctor-", dir=place)
    except OSError as error:
        return Attempt(error.errno or errno.EIO, error.strerror or str(error))
    try:
        return _try(lambda: _stack(scratch))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _stack(scratch: str) -> None:
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount(b"none", b"/", b"", syscalls.MS_REC | syscalls.MS_PRIVATE, b"")
    opened = []
    for name in ("lower", "upper", "work", "root"):
        os.mkdir(f"{scratch}/{name}")
        opened.append(os.open(f"{scratch}/{name}", os.O_PATH | os.O_DIRECTORY))
    mounts.overlay(opened[:1], opened[1], opened[2], f"{scratch}/root".encode())
    # Some file systems take the mount, and fail when something is to be written or deleted.
    with open(f"{scratch}/root/file", "w", encoding="ascii") as file:
        file.write("x")
    os.rename(f"{scratch}/root/file", f"{scratch}/root/other")
    os.unlink(f"{scratch}/root/other")


def _disk(path: Path) -> Disk:
    while not path.exists() and path != path.parent:
        path = path.parent
    try:
        found = os.statvfs(path)
    except OSError:
        return Disk(str(path))
    return Disk(
        path=str(path),
        kind=_kind_of(path),
        is_read_only=bool(found.f_flag & os.ST_RDONLY),
        free_bytes=found.f_bavail * found.f_frsize,
        free_files=found.f_favail if found.f_files else -1,
    )


def _kind_of(path: Path) -> str:
    """The type of the file system, from the mount that the device number names."""
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    kinds = [
        line.partition(" - ")[2].split()[0]
        for line in _read("/proc/self/mountinfo").splitlines()
        if line.split()[2] == wanted
    ]
    return kinds[-1] if kinds else ""


def _cgroup_version() -> int:
    return cgroups.version() if cgroups.controllers() or cgroups.version() == 2 else 0


def _known_controllers() -> dict[str, Controller]:
    lines = [line.split() for line in _read("/proc/cgroups").splitlines()]
    return {
        words[0]: Controller(int(words[1]), words[3] == "1")
        for words in lines
        if len(words) == 4 and not words[0].startswith("#")
    }


def _switched_off() -> frozenset[str]:
    words = _read("/proc/cmdline").split()
    values = [word.partition("=")[2] for word in words if word.startswith("cgroup_disable=")]
    return frozenset(name for value in values for name in value.split(","))


def _own_cgroup() -> str:
    lines = _read("/proc/self/cgroup").splitlines()
    return next((line[3:] for line in lines if line.startswith("0::")), "")


def _capabilities() -> int:
    for line in _read("/proc/self/status").splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def _read(path: str) -> str:
    with contextlib.suppress(OSError):
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    return ""
