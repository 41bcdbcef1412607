"""Traffic between two network namespaces: the same generator for whatever made them.

Both of its ends come before everything else on the machine (SCHED_RR): what others do there meanwhile changes
figures of the one and the other by a factor otherwise.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import statistics
import struct
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from runtime.network.connect import in_network_namespace

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 0.25
_CHUNK = 1 << 18
_SINK, _ECHO, _CLOSE = b"S", b"E", b"C"


class Figures(NamedTuple):
    gigabits: float
    """Per second, one TCP connection."""
    microseconds: float
    """Median of a byte there and back."""
    connections: float
    """Per second, one after the other."""


def measure(client: int, target: tuple[str, int]) -> Figures:
    """Figures from the namespace ``client`` (a descriptor) to a server of :func:`serving`."""

    def generate() -> Figures:
        come_first()
        return Figures(_throughput(target), _latency(target), _connections(target))

    return in_network_namespace(client, generate)


def come_first() -> None:
    """This thread, from now on. sched(7)"""
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(5))


def _throughput(target: tuple[str, int]) -> float:
    payload = bytes(_CHUNK)
    sent = 0
    with socket.create_connection(target, 5) as client:
        client.sendall(_SINK)
        begun = time.perf_counter()
        while time.perf_counter() - begun < SECONDS:
            client.sendall(payload)
            sent += len(payload)
        client.shutdown(socket.SHUT_WR)
        client.recv(1)  # the server has read all of it
        return sent * 8 / (time.perf_counter() - begun) / 1e9


def _latency(target: tuple[str, int]) -> float:
    taken = []
    with socket.create_connection(target, 5) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sendall(_ECHO)
        end = time.perf_counter() + SECONDS
        while (begun := time.perf_counter()) < end:
            client.sendall(b"x")
            client.recv(1)
            taken.append(time.perf_counter() - begun)
    return statistics.median(taken) * 1e6


def _connections(target: tuple[str, int]) -> float:
    made = 0
    begun = time.perf_counter()
    while time.perf_counter() - begun < SECONDS:
        with socket.create_connection(target, 5) as client:
            client.sendall(_CLOSE)
            client.recv(1)
            # Reset: what waits for late segments would make each further connection dearer, of either side.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        made += 1
    return made / (time.perf_counter() - begun)


@contextlib.contextmanager
def serving(netns: int, port: int) -> Iterator[None]:
    """A server in the namespace ``netns``, in a process of its own, on all addresses."""
    listener = in_network_namespace(netns, _listen_on(port))
    server = os.fork()
    if not server:
        try:
            come_first()
            _serve(listener)
        finally:
            os._exit(1)
    listener.close()
    try:
        yield
    finally:
        os.kill(server, signal.SIGKILL)
        os.waitpid(server, 0)


def _listen_on(port: int) -> Callable[[], socket.socket]:
    def listen() -> socket.socket:
        return socket.create_server(("0.0.0.0", port), backlog=512)

    return listen


def _serve(listener: socket.socket) -> None:
    buffer = bytearray(_CHUNK)
    while True:
        connection, _ = listener.accept()
        with connection:
            kind = connection.recv(1)
            if kind == _SINK:
                while connection.recv_into(buffer):
                    pass
            elif kind == _ECHO:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while data := connection.recv(16):
                    connection.sendall(data)
            else:
                connection.sendall(b"x")
                with contextlib.suppress(ConnectionResetError):
                    connection.recv(1)
