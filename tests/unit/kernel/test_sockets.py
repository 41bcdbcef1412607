"""Packets between the processes of one container."""

from __future__ import annotations

import os
import socket

import pytest

from runtime.container.shim_client import PacketSocket
from runtime.kernel import sockets


def pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def test_packets_and_descriptors() -> None:
    ours, theirs = pair()
    reading, writing = os.pipe()
    with ours, theirs:
        sockets.send_packet(ours, {"a": 1}, [reading])
        received = sockets.receive_packet(theirs)
        assert received is not None
        message, (descriptor,) = received
        assert message == {"a": 1}
        assert os.fstat(descriptor).st_ino == os.fstat(reading).st_ino
        assert not os.get_inheritable(descriptor)
    for fd in (reading, writing, descriptor):
        os.close(fd)


def test_what_was_sent_before_the_other_side_went_without_reading_is_not_lost() -> None:
    ours, theirs = pair()
    with ours:
        sockets.send_packet(ours, {"go": "on"})
        sockets.send_packet(theirs, {"failed": "why"})
        theirs.close()
        assert sockets.receive_packet(ours) == ({"failed": "why"}, [])
        assert sockets.receive_packet(ours) is None


async def test_the_same_for_the_engines_side() -> None:
    ours, theirs = pair()
    connection = PacketSocket(ours)
    sockets.send_packet(theirs, {"failed": "why"})
    await connection.send({"go": "on"})
    theirs.close()
    assert await connection.receive() == ({"failed": "why"}, [])
    assert await connection.receive() is None
    connection.close()


@pytest.mark.parametrize("data", [b"x", b"[1]", b"{", b"\xff"])
def test_what_is_no_message(data: bytes) -> None:
    ours, theirs = pair()
    with ours, theirs:
        ours.send(data)
        with pytest.raises(ValueError, match="bad packet"):
            sockets.receive_packet(theirs)
