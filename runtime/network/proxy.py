"""Connections that reach a published port's own socket: those to ``::1``, IPv6 for containers that only
have IPv4, and all of them where the kernel's way cannot be had. Bytes are passed on as they come."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast

import trio

UDP_IDLE = 90.0
"""Seconds after which a silent UDP exchange is forgotten."""
UDP_CLIENTS = 1024
_CHUNK = 65536
_PIPE = 1 << 18
"""Bytes that a pipe holds: what is moved at once."""
_SPLICE_F_MOVE, _SPLICE_F_NONBLOCK = 1, 2  # linux/splice.h
_CONNECT_TIMEOUT = 10.0

_ABORT = struct.pack("ii", 1, 0)

Target = tuple[str, int]
FindTarget = Callable[[], Target | None]
"""Where connections go now; None while the container is on no network that leads to it."""


async def serve_listener(listener: socket.socket, find_target: FindTarget) -> None:
    """Pass on whatever reaches ``listener`` (TCP listening or UDP bound) to the target, until cancelled.

    Owns and closes ``listener``.
    """
    ours = trio.socket.from_stdlib_socket(listener)
    with ours:
        if listener.type == socket.SOCK_DGRAM:
            await _serve_udp(ours, find_target)
        else:
            await _serve_tcp(ours, find_target)


async def _serve_tcp(listener: trio.socket.SocketType, find_target: FindTarget) -> None:
    async with trio.open_nursery() as nursery:
        while True:
            try:
                client, _ = await listener.accept()
            except OSError:
                # The client has gone again, or descriptors are short: the next one may do better.
                await trio.sleep(0.05)
                continue
            # SCTP is for the kernel alone, and what is published for it no way to a TCP port.
            target = None if listener.proto == socket.IPPROTO_SCTP else find_target()
            nursery.start_soon(_pass_on, client, target)


async def _pass_on(client: trio.socket.SocketType, target: Target | None) -> None:
    if target is None:
        with client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        return
    family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
    with client, trio.socket.socket(family, socket.SOCK_STREAM) as server:
        try:
            with trio.fail_after(_CONNECT_TIMEOUT):
                await server.connect(target)
        except (OSError, trio.TooSlowError):
            # The client sees what it would have seen without us: a reset.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
            return
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_copy, client, server, nursery.cancel_scope)
            nursery.start_soon(_copy, server, client, nursery.cancel_scope)


async def _copy(
    source: trio.socket.SocketType, sink: trio.socket.SocketType, exchange: trio.CancelScope
) -> None:
    """One direction, until its end is passed on too: the kernel moves the bytes through a pipe (splice(2)), so they
    never come here. A broken connection ends the whole exchange."""
    reader, writer = -1, -1
    try:
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # more than a user may have in pipes: then it stays as it is
            fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, _PIPE)
        while count := await _splice(source.fileno(), writer, _PIPE, _wait_first):
            while count:
                count -= await _splice(reader, sink.fileno(), count, _wait_second)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        exchange.cancel()
    finally:
        for descriptor in (reader, writer):
            if descriptor >= 0:
                os.close(descriptor)


async def _splice(source: int, sink: int, count: int, wait: Callable[[int, int], Awaitable[None]]) -> int:
    """Move up to ``count`` bytes, as soon as some can be; 0 at the source's end. ``wait`` is for the socket among the
    two: the pipe is empty before something comes, and has what goes."""
    await trio.lowlevel.checkpoint_if_cancelled()
    while True:
        try:
            moved = os.splice(source, sink, count, flags=_SPLICE_F_MOVE | _SPLICE_F_NONBLOCK)
        except BlockingIOError:
            await wait(source, sink)
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()
            return moved


async def _wait_first(source: int, sink: int) -> None:
    await trio.lowlevel.wait_readable(source)


async def _wait_second(source: int, sink: int) -> None:
    await trio.lowlevel.wait_writable(sink)


@dataclass(slots=True)
class _Exchange:
    """One UDP client's."""

    server: trio.socket.SocketType
    deadline: trio.CancelScope


async def _serve_udp(listener: trio.socket.SocketType, find_target: FindTarget) -> None:
    if listener.family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        level, kind = int(socket.IPPROTO_IPV6), socket.IPV6_PKTINFO
    else:
        listener.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        level, kind = int(socket.IPPROTO_IP), _IP_PKTINFO
    exchanges: dict[tuple[Any, ...], _Exchange] = {}
    async with trio.open_nursery() as nursery:
        while True:
            try:
                data, ancillary, _, address = await listener.recvmsg(_CHUNK, 128)
            except OSError:
                await trio.sleep(0.01)  # an ICMP error about an earlier answer
                continue
            client = cast("tuple[Any, ...]", address)
            # Answers leave from the address that was asked.
            own = [item for item in ancillary if (item[0], item[1]) == (level, kind)]
            exchange = exchanges.get(client)
            if exchange is None:
                target = find_target()
                if len(exchanges) >= UDP_CLIENTS or target is None:
                    continue
                family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
                server = trio.socket.socket(family, socket.SOCK_DGRAM)
                try:
                    await server.connect(target)
                except OSError:
                    server.close()
                    continue
                exchange = exchanges[client] = _Exchange(server, trio.CancelScope())
                nursery.start_soon(_answer, listener, client, own, exchange, exchanges)
            exchange.deadline.deadline = trio.current_time() + UDP_IDLE
            try:
                await exchange.server.send(data)
            except OSError:
                continue


async def _answer(
    listener: trio.socket.SocketType,
    client: tuple[Any, ...],
    own: list[tuple[int, int, bytes]],
    exchange: _Exchange,
    exchanges: dict[tuple[Any, ...], _Exchange],
) -> None:
    try:
        with exchange.server, exchange.deadline:
            while True:
                try:
                    data = await exchange.server.recv(_CHUNK)
                    exchange.deadline.deadline = trio.current_time() + UDP_IDLE
                    await listener.sendmsg([data], own, 0, client)
                except ConnectionRefusedError:
                    continue  # nobody listens in the container yet
                except OSError:
                    return
    finally:
        exchanges.pop(client, None)


_IP_PKTINFO = 8  # linux/in.h; the socket module has it from 3.12 on
