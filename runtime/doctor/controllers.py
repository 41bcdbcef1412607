"""Why controllers of cgroups are not to be had, and what gives them: not built in, switched off, held by the other
version, not mounted, or not handed down to where this runs. Pure.

Sources: Documentation/admin-guide/cgroup-v2.rst (a root cgroup has no ``cgroup.type``), cgroups(7) (/proc/cgroups),
systemd.resource-control(5) (``Delegate=``)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runtime.doctor.facts import Facts

CONFIG = {
    "cpu": "CGROUP_SCHED",
    "cpuset": "CPUSETS",
    "memory": "MEMCG",
    "pids": "CGROUP_PIDS",
    "io": "BLK_CGROUP",
    "blkio": "BLK_CGROUP",
    "devices": "CGROUP_DEVICE",
    "freezer": "CGROUP_FREEZER",
}
_OF_VERSION_1 = {"io": "blkio"}
"""As /proc/cgroups calls them, where that is another name."""


def fixes(names: Sequence[str], facts: Facts) -> Iterator[tuple[list[str], str, str]]:
    """Those of ``names`` that have one cause: they, the cause, and what mends it."""
    causes: dict[tuple[str, str], list[str]] = {}
    for name in names:
        causes.setdefault(_cause(name, names, facts), []).append(name)
    for (cause, fix), found in causes.items():
        yield found, cause, fix


def _cause(name: str, missing: Sequence[str], facts: Facts) -> tuple[str, str]:
    old = _OF_VERSION_1.get(name, name)
    known = facts.known_controllers.get(old)
    if old in facts.switched_off:
        return "switched off at boot", f"take cgroup_disable={old} off the kernel's command line, and boot"
    if known is not None and not known.is_enabled:
        if old == "memory":
            return "switched off", "boot with cgroup_enable=memory on the kernel's command line"
        return "switched off", f"boot a kernel that has {old} enabled (its line in /proc/cgroups ends with 0)"
    if facts.cgroup_version == 2 and not facts.is_whole_tree:
        return "not delegated to the cgroup that this runs in", delegation(missing, facts.own_cgroup)
    if known is None:
        return "not in this kernel", f"boot a kernel with CONFIG_{CONFIG[name]}"
    if facts.cgroup_version == 2:
        if known.hierarchy:
            return "held by cgroup v1", "boot with cgroup_no_v1=all on the kernel's command line"
        return "not given by the kernel", "`dmesg | grep cgroup` may tell why"
    together = ",".join(
        other for other, one in facts.known_controllers.items() if one.hierarchy == known.hierarchy != 0
    )
    what = together or old
    where = f"/sys/fs/cgroup/{what}"
    return "not mounted", f"mkdir -p {where} && mount -t cgroup -o {what} cgroup {where}"


def delegation(names: Sequence[str], own: str = "") -> str:
    """What makes systemd hand controllers down to the unit in which this runs, as far as its name is known."""
    # Delegate= is a list of all that there are to be: what has been handed down already stays.
    wanted = "Delegate=cpu cpuset io memory pids"
    units = [part for part in own.split("/") if part.endswith((".service", ".scope", ".slice"))]
    manager = next((unit for unit in units if unit.startswith("user@")), "")
    unit = (
        "user@.service" if manager else next((unit for unit in units[::-1] if unit.endswith(".service")), "")
    )
    see = "`cat /sys/fs/cgroup/cgroup.controllers` then shows " + ", ".join(names)
    if not unit:
        return (
            f"outside, in the systemd unit that this runs in: {wanted} below [Service] (systemctl edit UNIT), then "
            f"systemctl restart UNIT; in a container, start it with the host's cgroups or with all controllers; {see}"
        )
    directory = f"/etc/systemd/system/{unit}.d"
    again = "log out of all sessions and in again" if manager else f"systemctl restart {unit}"
    return (
        f"mkdir -p {directory}; printf '[Service]\\n{wanted}\\n' > {directory}/delegate.conf; "
        f"systemctl daemon-reload; {again}; {see}"
    )
