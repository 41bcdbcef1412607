"""What a machine's facts mean for an engine on it: each finding with what to do. Pure."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from runtime.doctor.controllers import delegation, fixes
from runtime.doctor.facts import Attempt, Disk, Facts
from runtime.kernel.capabilities import NUMBERS

Verdict = Literal["ok", "note", "missing"]
"""``note``: everything works but what the finding says. ``missing``: containers cannot be run."""

MACHINES = {"x86_64": "qemu-x86_64", "aarch64": "qemu-aarch64"}
"""Machines that there is an engine for, with what runs their programs elsewhere."""
OLDEST_KERNEL = (5, 10)
OLDEST_PYTHON = (3, 11)
CAPABILITIES = (
    *("SYS_ADMIN", "NET_ADMIN", "SYS_CHROOT", "MKNOD", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID"),
    *("KILL", "SETUID", "SETGID", "SETPCAP", "SETFCAP", "NET_BIND_SERVICE", "NET_RAW", "AUDIT_WRITE"),
)
"""What the engine does its work with, and what it gives to containers."""
NAMESPACES = {"mnt": "mnt", "pid": "pid", "net": "net", "ipc": "ipc", "uts": "uts", "cgroup": "cgroup"}
NEEDED_CONTROLLERS = {1: ("devices", "freezer"), 2: ()}
WANTED_CONTROLLERS = {
    1: ("cpu", "cpuset", "memory", "pids", "blkio"),
    2: ("cpu", "cpuset", "memory", "pids", "io"),
}
LOW, FULL = 1 << 30, 64 << 20
"""Free bytes that are worth a word, and with which nothing works."""
FEW_FILES = 10_000
FEW_DESCRIPTORS = 4096
NO_UPPERS = {
    "overlay": "it is itself an overlay: put the state on a volume or a bind mount",
    "nfs": "put the state on a local disk",
    "nfs4": "put the state on a local disk",
    "cifs": "put the state on a local disk",
    "fuse.sshfs": "put the state on a local disk",
    "9p": "put the state on a disk of this machine",
    "virtiofs": "put the state on a disk of this machine",
    "vfat": "put the state on ext4, xfs or btrfs",
    "exfat": "put the state on ext4, xfs or btrfs",
    "ecryptfs": "put the state on ext4, xfs or btrfs",
}


_FORBIDDEN = (errno.EPERM, errno.EACCES)
_ALLOWED = "something around this process forbids it: in a container, start it with --privileged"


@dataclass(frozen=True)
class Finding:
    """``fix`` is what to type or to change, "" where there is nothing to do."""

    check: str
    verdict: Verdict
    detail: str
    fix: str = ""


def diagnose(facts: Facts) -> list[Finding]:
    """All findings, in the order in which one would look."""
    return [
        *_system(facts),
        *_rights(facts),
        *_namespaces(facts),
        *_user_namespaces(facts),
        *_cgroups(facts),
        *_overlay(facts),
        *_network(facts),
        *_confinement(facts),
        *(finding for disk in facts.disks for finding in _disk(disk)),
        *_limits(facts),
        *_others(facts),
        *_engine(facts),
    ]


def _system(facts: Facts) -> Iterator[Finding]:
    if facts.system != "linux":
        yield Finding("system", "missing", f"this is {facts.system}", "composer runs containers with Linux")
        return
    numbers = tuple(int(part) for part in facts.kernel.split("-")[0].split(".")[:2] if part.isdigit())
    if facts.machine not in MACHINES:
        names = " and ".join(MACHINES)
        yield Finding("system", "missing", f"this is a {facts.machine} machine", f"composer runs on {names}")
    elif numbers < OLDEST_KERNEL:
        yield Finding("system", "missing", f"Linux {facts.kernel} is too old", "boot Linux 5.10 or newer")
    elif facts.python < OLDEST_PYTHON:
        found = ".".join(map(str, facts.python))
        yield Finding("system", "missing", f"Python {found} is too old", "install Python 3.11 or newer")
    else:
        yield Finding("system", "ok", f"Linux {facts.kernel}, {facts.machine}")


def _rights(facts: Facts) -> Iterator[Finding]:
    if facts.user != 0:
        yield Finding("rights", "missing", "starting the engine needs root", "run the command with sudo")
        return
    if facts.is_own_user_namespace:
        yield Finding(
            "rights",
            "missing",
            "this is root of a user namespace only: device nodes and filters, overlays and rules are not for it",
            "run the command as the machine's root (sudo), outside of that namespace; in an LXD container: "
            "lxc config set NAME security.privileged=true",
        )
        return
    lacking = [name for name in CAPABILITIES if not facts.capabilities >> NUMBERS[name] & 1]
    if "SYS_ADMIN" in lacking or "NET_ADMIN" in lacking:
        yield Finding(
            "rights",
            "missing",
            f"root without capabilities: {', '.join(lacking)}",
            "in a container, start it with --privileged; in a systemd unit, take away CapabilityBoundingSet",
        )
    elif lacking:
        yield Finding(
            "rights",
            "note",
            f"root without capabilities: {', '.join(lacking)}; containers will lack them, too",
        )
    else:
        yield Finding("rights", "ok", "root, with the capabilities that are needed")


def _namespaces(facts: Facts) -> Iterator[Finding]:
    found = False
    for kind in NAMESPACES:
        attempt = facts.tried.get(f"namespace {kind}")
        if attempt is None or attempt.worked:
            continue
        found = True
        limit = f"user.max_{kind}_namespaces"
        if attempt.errno == errno.ENOSPC or facts.sysctls.get(limit) == "0":
            fix = f"sysctl -w {limit}=100000 (it is {facts.sysctls.get(limit, 'unknown')})"
        elif attempt.errno == errno.EINVAL:
            fix = f"this kernel was built without CONFIG_{kind.upper()}_NS: boot another one"
        else:
            fix = _ALLOWED
        yield Finding("namespaces", "missing", f"no {kind} namespaces: {attempt.text}", fix)
    if not found and any(name.startswith("namespace ") for name in facts.tried):
        yield Finding("namespaces", "ok", ", ".join(NAMESPACES))


def _user_namespaces(facts: Facts) -> Iterator[Finding]:
    """Not for the engine, which is root: for browsers, bubblewrap and builds inside of containers."""
    barred = {
        "kernel.apparmor_restrict_unprivileged_userns": ("1", "0", "AppArmor bars them"),
        "kernel.unprivileged_userns_clone": ("0", "1", "they are for root only"),
        "user.max_user_namespaces": ("0", "100000", "there may be none"),
    }
    for name, (bad, good, why) in barred.items():
        if facts.sysctls.get(name) == bad:
            yield Finding(
                "user namespaces",
                "note",
                f"{why} ({name} = {bad}): programs that make sandboxes of their own will fail, "
                "in containers that let them (seccomp=unconfined) as well",
                f"sysctl -w {name}={good}; to keep it, echo '{name} = {good}' > /etc/sysctl.d/60-userns.conf",
            )


def _cgroups(facts: Facts) -> Iterator[Finding]:
    version = facts.cgroup_version
    if not version:
        yield Finding(
            "cgroups", "missing", "no cgroups at /sys/fs/cgroup", "mount -t cgroup2 cgroup2 /sys/fs/cgroup"
        )
        return
    needed = [name for name in NEEDED_CONTROLLERS[version] if name not in facts.controllers]
    wanted = [name for name in WANTED_CONTROLLERS[version] if name not in facts.controllers]
    kinds: tuple[tuple[list[str], Verdict, str], ...] = (
        (needed, "missing", ""),
        (wanted, "note", ": limits of that kind are refused"),
    )
    for names, verdict, consequence in kinds:
        for found, cause, fix in fixes(names, facts):
            detail = f"no controller {', '.join(found)} (version {version}; {cause}){consequence}"
            yield Finding("cgroups", verdict, detail, fix)
    attempt = facts.tried.get("cgroup")
    if attempt is not None and not attempt.worked:
        yield Finding(
            "cgroups", "missing", f"no cgroup can be made: {attempt.text}", _no_cgroup(facts, attempt)
        )
    elif not needed and not wanted:
        yield Finding("cgroups", "ok", f"version {version}")


def _no_cgroup(facts: Facts, attempt: Attempt) -> str:
    """What lets the engine make cgroups."""
    where = attempt.text.rpartition(": ")[2] if ": /" in attempt.text else "/sys/fs/cgroup"
    if attempt.errno == errno.EROFS:
        return (
            f"mount -o remount,rw {where}; where that is refused, in a container, start it with --privileged"
        )
    if attempt.errno == errno.EAGAIN:
        return f"{where}/cgroup.max.descendants (or .depth) allows no more: raise it, or remove cgroups"
    if facts.is_own_user_namespace and facts.cgroup_version == 2 and not facts.is_whole_tree:
        return delegation(WANTED_CONTROLLERS[2], facts.own_cgroup)
    if facts.is_own_user_namespace:
        return "root of a user namespace may not: run the command as the machine's root (sudo)"
    return "in a container, start it with --privileged"


def _overlay(facts: Facts) -> Iterator[Finding]:
    attempt = facts.tried.get("overlay")
    if attempt is None:
        return
    if attempt.worked:
        yield Finding("overlay", "ok", "layers can be stacked on the state's file system")
        return
    kind = facts.disks[0].kind if facts.disks else ""
    if attempt.errno == errno.ENODEV:
        fix = "modprobe overlay; to keep it, echo overlay > /etc/modules-load.d/composer.conf"
    elif attempt.errno in _FORBIDDEN:
        fix = _ALLOWED
    elif kind in NO_UPPERS:
        fix = f"{NO_UPPERS[kind]}, with COMPOSER_ROOT=/some/directory"
    else:
        fix = "set COMPOSER_ROOT to a directory on ext4, xfs or btrfs; `dmesg | tail` has the kernel's reason"
    where = f" (on {kind})" if kind else ""
    yield Finding("overlay", "missing", f"layers cannot be stacked{where}: {attempt.text}", fix)


_NETWORK = {
    "bridge": ("no bridges", "modprobe bridge"),
    "veth": ("no veth pairs", "modprobe veth"),
    "nf_tables": (
        "the firewall's rules are refused",
        "modprobe -a nf_tables nft_chain_nat nft_masq nft_ct nft_fib_inet",
    ),
}
_UNKNOWN = (errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.ENOENT, errno.ENODEV)


def _network(facts: Facts) -> Iterator[Finding]:
    is_whole = True
    for name, (what, module) in _NETWORK.items():
        attempt = facts.tried.get(name)
        if attempt is None or attempt.worked:
            continue
        is_whole = False
        if not facts.tried.get("namespace net", Attempt()).worked:
            continue  # it could not be tried, and why is told already
        yield Finding("network", "missing", f"{what}: {attempt.text}", _module_fix(attempt, module))
    if is_whole and "nf_tables" in facts.tried:
        yield Finding("network", "ok", "bridges, veth pairs, nf_tables")
    if (
        facts.sysctls.get("net.ipv4.ip_forward") == "0"
        and not facts.tried.get("ip_forward", Attempt()).worked
    ):
        yield Finding(
            "network",
            "missing",
            "packets are not forwarded, and the sysctl cannot be written here",
            "on the host: sysctl -w net.ipv4.ip_forward=1",
        )


def _module_fix(attempt: Attempt, module: str) -> str:
    if attempt.errno in _FORBIDDEN:
        return _ALLOWED
    if attempt.errno in _UNKNOWN:
        return f"{module}; where there is no such module, the kernel was built without it: boot another one"
    return f"{module}, and look at `dmesg | tail`"


def _confinement(facts: Facts) -> Iterator[Finding]:
    if facts.has_seccomp:
        yield Finding("seccomp", "ok", "system calls can be filtered")
    else:
        yield Finding(
            "seccomp",
            "missing",
            "system calls cannot be filtered",
            "boot a kernel with CONFIG_SECCOMP_FILTER; until then, security_opt: [seccomp=unconfined]",
        )


def _disk(disk: Disk) -> Iterator[Finding]:
    room = f"{disk.free_bytes / 2**30:.1f} GiB free"
    if disk.is_read_only:
        yield Finding(
            "disk",
            "missing",
            f"{disk.path} is on a read-only file system",
            "mount it for writing, or set COMPOSER_ROOT to a directory that can be written",
        )
    elif disk.free_bytes < FULL or disk.free_files in range(100):
        what = room if disk.free_bytes < FULL else f"{disk.free_files} free inodes"
        yield Finding(
            "disk", "missing", f"{disk.path} is full: {what}", "composer system prune, or give it more room"
        )
    elif disk.free_bytes < LOW or disk.free_files in range(FEW_FILES):
        yield Finding(
            "disk", "note", f"{disk.path} has little room: {room}", "composer system df tells what uses it"
        )
    else:
        yield Finding("disk", "ok", f"{disk.path}: {disk.kind}, {room}")


def _limits(facts: Facts) -> Iterator[Finding]:
    if facts.descriptors < FEW_DESCRIPTORS:
        yield Finding(
            "limits",
            "note",
            f"at most {facts.descriptors} open files: enough for some {facts.descriptors // 16} containers",
            "ulimit -Hn 1048576 before the engine starts (LimitNOFILE= in a systemd unit)",
        )
    instances = facts.sysctls.get("fs.inotify.max_user_instances", "")
    if instances.isdigit() and int(instances) < 128:
        yield Finding(
            "limits",
            "note",
            f"fs.inotify.max_user_instances is {instances}: watching files will fail early",
            "sysctl -w fs.inotify.max_user_instances=1024",
        )


def _others(facts: Facts) -> Iterator[Finding]:
    foreign = [name for machine, name in MACHINES.items() if machine != facts.machine]
    if not any(name in facts.interpreters for name in foreign):
        yield Finding(
            "other machines",
            "note",
            "images for other machines cannot be run",
            "install qemu-user-static (it registers itself with binfmt_misc)",
        )
    if not facts.has_pressure:
        yield Finding(
            "pressure", "note", "no pressure figures (PSI)", "boot with psi=1 on the kernel's command line"
        )


def _engine(facts: Facts) -> Iterator[Finding]:
    if not facts.engine:
        yield Finding("engine", "ok", "not running; the next command starts it")
    elif facts.engine != facts.version:
        yield Finding(
            "engine",
            "note",
            f"the engine that runs is version {facts.engine}, this command {facts.version}",
            "composer engine stop: the next command starts the new one, and containers go on",
        )
    else:
        yield Finding("engine", "ok", f"running, version {facts.engine}")
