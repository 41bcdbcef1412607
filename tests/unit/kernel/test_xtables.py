"""The old iptables, read without its tools: a policy is a chain's last entry."""

from __future__ import annotations

import struct

from runtime.kernel.xtables import NF_DROP, policy_at


def entry(verdict: int) -> bytes:
    target = struct.pack("=H30xi4x", 40, verdict)
    return bytes(84) + struct.pack("=IHH", 0, 112, 112 + len(target)) + bytes(20) + target


def test_policy() -> None:
    accept, drop = entry(-2), entry(NF_DROP)
    assert policy_at(accept + drop, len(accept)) == NF_DROP
    assert policy_at(accept + drop, 0) == -2
