"""What facts of a machine mean, and that each thing that is missing comes with a way to mend it."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import Any

import pytest

from runtime.doctor.diagnosis import CAPABILITIES, NAMESPACES, diagnose
from runtime.doctor.facts import Attempt, Controller, Disk, Facts
from runtime.kernel.capabilities import NUMBERS

WORKS = Attempt()
TRIED = {
    **{f"namespace {kind}": WORKS for kind in NAMESPACES},
    **dict.fromkeys(("overlay", "bridge", "veth", "nf_tables", "cgroup", "ip_forward"), WORKS),
}
GOOD = Facts(
    capabilities=sum(1 << NUMBERS[name] for name in CAPABILITIES),
    tried=TRIED,
    controllers=frozenset({"cpu", "cpuset", "memory", "pids", "io"}),
    disks=(Disk("/var/lib/composer", "ext4", free_bytes=1 << 36, free_files=1 << 20),),
    interpreters=frozenset({"qemu-aarch64"}),
    version="1",
)
V1 = frozenset({"cpu", "cpuset", "memory", "pids", "blkio", "devices", "freezer"})
KNOWN = dict.fromkeys(V1, Controller(0, True))


def lacking(*names: str, version: int = 2, **facts: Any) -> Facts:
    """Without those controllers, which the kernel has."""
    there = (V1 if version == 1 else GOOD.controllers) - set(names)
    return replace(
        GOOD, **{"cgroup_version": version, "controllers": there, "known_controllers": KNOWN, **facts}
    )


def trying(**attempts: Attempt) -> Facts:
    return replace(
        GOOD, tried={**TRIED, **{name.replace("_of_", " "): one for name, one in attempts.items()}}
    )


def with_sysctl(name: str, text: str) -> Facts:
    return replace(GOOD, sysctls={name: text})


def test_a_good_machine_is_called_one() -> None:
    assert {finding.verdict for finding in diagnose(GOOD)} == {"ok"}


FULL = Disk("/x", "ext4", free_bytes=1 << 20)
MISSING = {
    "not Linux": (replace(GOOD, system="darwin"), "this is darwin", ""),
    "another machine": (replace(GOOD, machine="riscv64"), "riscv64", "x86_64 and aarch64"),
    "an old kernel": (replace(GOOD, kernel="5.4.0-90-generic"), "5.4.0-90-generic", "5.10"),
    "an old Python": (replace(GOOD, python=(3, 9)), "Python 3.9", "3.11"),
    "not root": (replace(GOOD, user=1000, tried={}), "needs root", "sudo"),
    "root of a container": (replace(GOOD, capabilities=0xA80425FB), "SYS_ADMIN", "--privileged"),
    "no overlay": (
        trying(overlay=Attempt(errno.ENODEV, "No such device")),
        "No such device",
        "modprobe overlay",
    ),
    "an overlay below": (
        replace(
            trying(overlay=Attempt(errno.EINVAL, "Invalid argument")),
            disks=(Disk("/root", "overlay", free_bytes=1 << 36),),
        ),
        "on overlay",
        "COMPOSER_ROOT",
    ),
    "an odd file system": (
        replace(
            trying(overlay=Attempt(errno.EINVAL, "Invalid argument")),
            disks=(Disk("/root", "bcachefs", free_bytes=1 << 36),),
        ),
        "on bcachefs",
        "ext4, xfs or btrfs",
    ),
    "no nf_tables": (trying(nf_tables=Attempt(errno.EPROTONOSUPPORT, "?")), "firewall", "nft_chain_nat"),
    "no bridge": (trying(bridge=Attempt(errno.EOPNOTSUPP, "?")), "no bridges", "modprobe bridge"),
    "no veth": (trying(veth=Attempt(errno.EOPNOTSUPP, "?")), "veth", "modprobe veth"),
    "no rights in the network": (trying(bridge=Attempt(errno.EPERM, "?")), "no bridges", "--privileged"),
    "namespaces used up": (
        replace(
            trying(namespace_of_net=Attempt(errno.ENOSPC, "No space left on device")),
            sysctls={"user.max_net_namespaces": "0"},
        ),
        "no net namespaces",
        "sysctl -w user.max_net_namespaces",
    ),
    "namespaces not built in": (
        trying(namespace_of_ipc=Attempt(errno.EINVAL, "Invalid argument")),
        "no ipc",
        "CONFIG_IPC_NS",
    ),
    "no cgroups": (replace(GOOD, cgroup_version=0), "no cgroups", "mount -t cgroup2"),
    "no devices in v1": (
        lacking("devices", version=1),
        "no controller devices (version 1; not mounted)",
        "mount -t cgroup -o devices cgroup /sys/fs/cgroup/devices",
    ),
    "cgroups read-only": (
        trying(cgroup=Attempt(errno.EROFS, "Read-only file system: /sys/fs/cgroup/pids")),
        "no cgroup can be made",
        "remount,rw /sys/fs/cgroup/pids",
    ),
    "as many cgroups as may be": (
        trying(cgroup=Attempt(errno.EAGAIN, "Resource temporarily unavailable: /sys/fs/cgroup")),
        "no cgroup can be made",
        "/sys/fs/cgroup/cgroup.max.descendants",
    ),
    "cgroups of others": (
        trying(cgroup=Attempt(errno.EACCES, "Permission denied: /sys/fs/cgroup")),
        "no cgroup can be made",
        "--privileged",
    ),
    "root of a user namespace": (replace(GOOD, is_own_user_namespace=True), "user namespace", "sudo"),
    "no right to stack": (
        trying(overlay=Attempt(errno.EPERM, "Operation not permitted")),
        "Operation not permitted",
        "--privileged",
    ),
    "no seccomp": (replace(GOOD, has_seccomp=False), "cannot be filtered", "CONFIG_SECCOMP_FILTER"),
    "a full disk": (replace(GOOD, disks=(FULL,)), "is full", "composer system prune"),
    "no inodes": (
        replace(GOOD, disks=(replace(FULL, free_bytes=1 << 36, free_files=3),)),
        "3 free inodes",
        "prune",
    ),
    "a read-only disk": (
        replace(GOOD, disks=(replace(FULL, is_read_only=True),)),
        "read-only",
        "COMPOSER_ROOT",
    ),
    "no forwarding": (
        replace(trying(ip_forward=Attempt(errno.EROFS, "?")), sysctls={"net.ipv4.ip_forward": "0"}),
        "not forwarded",
        "sysctl -w net.ipv4.ip_forward=1",
    ),
}


@pytest.mark.parametrize("name", MISSING)
def test_what_is_missing_is_named_with_its_fix(name: str) -> None:
    facts, detail, fix = MISSING[name]
    missing = [finding for finding in diagnose(facts) if finding.verdict == "missing"]
    assert len(missing) == 1, missing
    assert detail in missing[0].detail
    assert fix in missing[0].fix
    assert missing[0].fix


NOTES = {
    "user namespaces barred by AppArmor": (
        with_sysctl("kernel.apparmor_restrict_unprivileged_userns", "1"),
        "AppArmor",
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    ),
    "user namespaces for root only": (
        with_sysctl("kernel.unprivileged_userns_clone", "0"),
        "root only",
        "kernel.unprivileged_userns_clone=1",
    ),
    "memory switched off": (
        lacking("memory", known_controllers={**KNOWN, "memory": Controller(0, False)}),
        "no controller memory (version 2; switched off)",
        "cgroup_enable=memory",
    ),
    "memory switched off by name": (
        lacking("memory", switched_off=frozenset({"memory"})),
        "no controller memory (version 2; switched off at boot)",
        "take cgroup_disable=memory off",
    ),
    "pids not built in": (
        lacking("pids", known_controllers={name: KNOWN[name] for name in V1 - {"pids"}}),
        "no controller pids (version 2; not in this kernel)",
        "CONFIG_CGROUP_PIDS",
    ),
    "memory with version 1": (
        lacking("memory", known_controllers={**KNOWN, "memory": Controller(4, True)}),
        "no controller memory (version 2; held by cgroup v1)",
        "cgroup_no_v1=all",
    ),
    "controllers not delegated to a user's manager": (
        lacking(
            "cpuset",
            "io",
            is_whole_tree=False,
            own_cgroup="/user.slice/user-1000.slice/user@1000.service/app.slice/run-u3.scope",
        ),
        "no controller cpuset, io (version 2; not delegated",
        "mkdir -p /etc/systemd/system/user@.service.d; "
        "printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' > "
        "/etc/systemd/system/user@.service.d/delegate.conf; "
        "systemctl daemon-reload; log out",
    ),
    "memory not delegated to a service": (
        lacking("memory", is_whole_tree=False, own_cgroup="/system.slice/runner.service"),
        "no controller memory (version 2; not delegated",
        "/etc/systemd/system/runner.service.d/delegate.conf; systemctl daemon-reload; "
        "systemctl restart runner.service; `cat /sys/fs/cgroup/cgroup.controllers` then shows memory",
    ),
    "not delegated to whatever this is": (
        lacking("io", is_whole_tree=False, own_cgroup="/"),
        "no controller io (version 2; not delegated",
        "systemctl edit UNIT",
    ),
    "memory of version 1 not mounted": (
        lacking("memory", version=1),
        "no controller memory (version 1; not mounted)",
        "mkdir -p /sys/fs/cgroup/memory && mount -t cgroup -o memory cgroup /sys/fs/cgroup/memory",
    ),
    "cpu of version 1, together with another": (
        lacking(
            "cpu",
            version=1,
            known_controllers={**KNOWN, "cpu": Controller(3, True), "cpuacct": Controller(3, True)},
        ),
        "no controller cpu (version 1; not mounted)",
        "mount -t cgroup -o cpu,cpuacct cgroup /sys/fs/cgroup/cpu,cpuacct",
    ),
    "a disk that fills": (
        replace(GOOD, disks=(replace(FULL, free_bytes=500 << 20),)),
        "little room",
        "composer system df",
    ),
    "few descriptors": (replace(GOOD, descriptors=1024), "1024 open files", "ulimit -Hn"),
    "no emulation": (replace(GOOD, interpreters=frozenset()), "other machines", "qemu-user-static"),
    "no pressure figures": (replace(GOOD, has_pressure=False), "PSI", "psi=1"),
    "another version runs": (replace(GOOD, engine="0"), "version 0", "composer engine stop"),
    "a weaker root": (
        replace(GOOD, capabilities=GOOD.capabilities & ~(1 << NUMBERS["MKNOD"])),
        "MKNOD",
        "",
    ),
}


@pytest.mark.parametrize("name", NOTES)
def test_what_is_worth_a_word_is_not_called_missing(name: str) -> None:
    facts, detail, fix = NOTES[name]
    found = [finding for finding in diagnose(facts) if finding.verdict != "ok"]
    assert [finding.verdict for finding in found] == ["note"]
    assert detail in found[0].detail
    assert fix in found[0].fix


def test_what_could_not_be_tried_is_not_told_as_missing() -> None:
    attempt = Attempt(errno.ENOSPC, "No space left on device")
    facts = trying(namespace_of_net=attempt, bridge=attempt, veth=attempt, nf_tables=attempt)
    assert [one.check for one in diagnose(facts) if one.verdict == "missing"] == ["namespaces"]
