"""Switching IP forwarding on, for the whole host, only when it is off; and back off."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from runtime.kernel import xtables
from runtime.network.model import BRIDGE_PREFIX

_IPV4 = Path("/proc/sys/net/ipv4/ip_forward")
_IPV6 = Path("/proc/sys/net/ipv6/conf")


def enable() -> frozenset[str]:
    """Let the host forward IPv4. Returns the interfaces that are not to become connected by that: those
    that were there before, or none when forwarding was on already."""
    if _is_on():
        return frozenset()
    present = frozenset(name for _, name in socket.if_nameindex() if name != "lo")
    _IPV4.write_text("1")
    return present


def _is_on() -> bool:
    # With every published port: `read_text` takes four times as long.
    descriptor = os.open(_IPV4, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 8).strip() == b"1"
    finally:
        os.close(descriptor)


def disable() -> None:
    _IPV4.write_text("0")


def enable_ipv6() -> None:
    """Let the host forward IPv6.

    A forwarding host ignores router advertisements unless told otherwise, so interfaces that listen to them
    are told to go on (accept_ra 2: ip-sysctl.rst); otherwise the host would lose its own route after a
    while.
    """
    forwarding = _IPV6 / "all" / "forwarding"
    if not forwarding.exists() or forwarding.read_text().strip() == "1":
        return
    for interface in _IPV6.iterdir():
        accept = interface / "accept_ra"
        if accept.read_text().strip() == "1":
            accept.write_text("2")
    forwarding.write_text("1")


def legacy_policy_warning() -> str:
    """A warning if the old iptables (not nf_tables) drops forwarded packets by policy, else ""."""
    try:
        is_dropping = xtables.drops_forwarded()
    except OSError:
        return ""
    if not is_dropping:
        return ""
    return (
        "the policy of the old iptables' FORWARD chain drops the traffic of containers: allow it with "
        f"iptables-legacy -I FORWARD -i {BRIDGE_PREFIX}+ -j ACCEPT; "
        f"iptables-legacy -I FORWARD -o {BRIDGE_PREFIX}+ -j ACCEPT"
    )
