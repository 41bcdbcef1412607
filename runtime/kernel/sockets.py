"""Unix sockets: long paths, JSON packets, descriptors. unix(7).

A path in ``sockaddr_un`` has 108 bytes at most. Binding and connecting here goes through a descriptor of the
directory (``/proc/self/fd/N/name``), so a state root may be as deep as it likes.
"""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import json
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Any

MAX_PACKET = 1 << 20
MAX_DESCRIPTORS = 253
"""SCM_MAX_FD of the kernel."""

SIOCOUTQ = 0x5411
"""include/uapi/linux/sockios.h: asm-generic's TIOCOUTQ."""

Message = dict[str, Any]


@contextlib.contextmanager
def short_address(path: str | os.PathLike[str]) -> Iterator[str]:
    """A name for ``path`` that fits into ``sockaddr_un``; valid inside the ``with``."""
    directory, name = os.path.split(os.fspath(path))
    fd = os.open(directory or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{name}"
    finally:
        os.close(fd)


def listen(
    path: str | os.PathLike[str], kind: int, *, mode: int = 0o600, backlog: int = 128
) -> socket.socket:
    """A listening unix socket of ``kind`` at ``path``, in place of what was there; never accessible to more than
    ``mode`` allows, not even for a moment."""
    listener = socket.socket(socket.AF_UNIX, kind | socket.SOCK_CLOEXEC)
    with short_address(path) as address:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(address)
        before = os.umask(0o777 & ~mode)
        try:
            listener.bind(address)
        finally:
            os.umask(before)
    listener.listen(backlog)
    return listener


def connect(path: str | os.PathLike[str], kind: int) -> socket.socket:
    """A socket of ``kind`` connected to ``path``. Raises FileNotFoundError or ConnectionRefusedError when nobody
    listens there."""
    connection = socket.socket(socket.AF_UNIX, kind | socket.SOCK_CLOEXEC)
    try:
        with short_address(path) as address:
            connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return connection


NOBODY = (
    FileNotFoundError,
    NotADirectoryError,
    ConnectionRefusedError,
    ConnectionResetError,
    BrokenPipeError,
)
"""What :func:`connect` raises when nobody listens (any more), as opposed to what says nothing about the other side."""


class PacketLost(OSError):
    """A packet came, and there is nothing to be done with it: no memory for what it says."""


class DescriptorsLost(PacketLost):
    """A packet came whole, but this process had no room for the descriptors that came with it."""

    def __init__(self, message: Message) -> None:
        super().__init__(errno.EMFILE, os.strerror(errno.EMFILE))
        self.packet = message


def encode_packet(message: Message) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def send_packet(connection: socket.socket, message: Message, descriptors: Sequence[int] = ()) -> None:
    """Send one JSON object with ``descriptors`` as one packet of a SEQPACKET socket."""
    data = encode_packet(message)
    if descriptors:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        connection.sendmsg([data], ancillary, socket.MSG_NOSIGNAL)
    else:
        connection.send(data, socket.MSG_NOSIGNAL)


def tell(connection: socket.socket, message: Message, descriptors: Sequence[int] = ()) -> bool:
    """Send without ever waiting; False when that was not possible."""
    try:
        send_packet(connection, message, descriptors)
    except OSError:
        return False
    return True


def receive_packet(connection: socket.socket) -> tuple[Message, list[int]] | None:
    """One packet and the descriptors (close-on-exec) that came with it; None at end-of-file.

    Raises ValueError for what is not a JSON object, BlockingIOError when a non-blocking socket has nothing,
    PacketLost.
    """
    space = socket.CMSG_SPACE(4 * MAX_DESCRIPTORS)
    try:
        size = _next_size(connection)
    except ConnectionResetError:
        # The other side has gone without reading all that was sent to it. That is told once, before what it had sent.
        size = _next_size(connection)
    data, ancillary, flags, _ = connection.recvmsg(size, space, socket.MSG_CMSG_CLOEXEC)
    return decode_packet(data, descriptors_in(ancillary), flags)


def _next_size(connection: socket.socket) -> int:
    """Bytes of the next packet. Who has little memory has none for the largest one that may come."""
    return min(MAX_PACKET, max(1, len(connection.recv(1, socket.MSG_PEEK | socket.MSG_TRUNC))))


def decode_packet(data: bytes, descriptors: list[int], flags: int) -> tuple[Message, list[int]] | None:
    """What ``recvmsg`` returned, as :func:`receive_packet` returns (and raises) it."""
    if not data:
        close_all(descriptors)
        return None
    try:
        message = json.loads(data)
        if not isinstance(message, dict) or flags & socket.MSG_TRUNC:
            raise ValueError("not a whole JSON object")
    except MemoryError:
        close_all(descriptors)
        raise PacketLost(errno.ENOMEM, os.strerror(errno.ENOMEM)) from None
    except (ValueError, RecursionError) as error:
        close_all(descriptors)
        raise ValueError(f"bad packet: {error}") from None
    if flags & socket.MSG_CTRUNC:
        close_all(descriptors)
        raise DescriptorsLost(message)
    return message, descriptors


def descriptors_in(ancillary: Sequence[tuple[int, int, bytes]]) -> list[int]:
    """The descriptors in what ``recvmsg`` returned."""
    found: list[int] = []
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.extend(struct.unpack(f"{len(data) // 4}i", data[: len(data) // 4 * 4]))
    return found


def close_all(descriptors: Sequence[int]) -> None:
    for fd in descriptors:
        with contextlib.suppress(OSError):
            os.close(fd)


def unread_by_peer(fd: int) -> int:
    """How much memory holds what was sent to the other end of a unix socket and is not yet read; 0: all is read, or
    the other end is gone."""
    answer = fcntl.ioctl(fd, SIOCOUTQ, struct.pack("i", 0))
    return int(struct.unpack("i", answer)[0])
