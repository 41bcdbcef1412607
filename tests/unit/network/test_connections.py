"""Which tracked connections a change of published ports makes wrong."""

from __future__ import annotations

import socket

import pytest

from runtime.kernel.netlink.conntrack import Connection
from runtime.network.connections import is_stale
from runtime.network.ruleset import Forward

HOST, OLD, NEW = "198.51.100.1", "172.30.0.2", "172.30.0.3"


def connection(destination: str, answering: str, port: int = 53, protocol: int = 17) -> Connection:
    return Connection(
        int(socket.AF_INET), protocol, destination, 5353, answering, port, tuple=b"", id=b"", zone=b""
    )


@pytest.mark.parametrize(
    ("found", "gone", "made"),
    [
        (connection(HOST, OLD), True, True),
        (connection(HOST, NEW), False, False),
        # Begun before there was anything.
        (connection(HOST, HOST, 5353), False, True),
        (connection("127.0.0.1", OLD), True, True),
        # To a port of the same number elsewhere, through this host.
        (connection("203.0.113.7", "203.0.113.7", 5353), False, False),
        (connection(HOST, OLD, protocol=6), False, False),
    ],
)
def test_stale(found: Connection, gone: bool, made: bool) -> None:
    def is_local(address: str) -> bool:
        return address in (HOST, "127.0.0.1")

    old, new = Forward("udp", "0.0.0.0", 5353, OLD, 53), Forward("udp", "0.0.0.0", 5353, NEW, 53)
    assert is_stale(found, gone=[old], made=[], is_local=is_local) == gone
    assert is_stale(found, gone=[], made=[new], is_local=is_local) == made


def test_stale_on_one_address() -> None:
    forward = Forward("udp", "127.0.0.1", 5353, OLD, 53)
    for destination, expected in (("127.0.0.1", True), (HOST, False)):
        found = connection(destination, OLD)
        assert is_stale(found, gone=[forward], made=[], is_local=lambda _: True) == expected
