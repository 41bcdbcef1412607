"""The netlink socket: batches in, acknowledgements and dumps out (netlink(7))."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from collections.abc import Sequence
from types import TracebackType

from runtime.kernel.netlink.message import (
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_DUMP_INTR,
    NLM_F_MULTI,
    NLMSG_DONE,
    NLMSG_ERROR,
    Reply,
    Request,
    acknowledgement,
    decode,
    encode,
)

NETLINK_ROUTE = 0
NETLINK_SOCK_DIAG = 4
NETLINK_NETFILTER = 12

SOL_NETLINK = 270
NETLINK_CAP_ACK = 10
NETLINK_EXT_ACK = 11
NETLINK_GET_STRICT_CHK = 12

SIOCGIFINDEX = 0x8933
_IFREQ = struct.Struct("16si20x")

_DUMP_ATTEMPTS = 10


class NetlinkError(OSError):
    """The kernel refused a request. ``strerror`` has the request in words, the reason and the kernel's own
    text."""


def netlink_error(error: int, label: str, text: str) -> NetlinkError:
    reason = os.strerror(error)
    words = f"{label}: {reason}" if label else reason
    return NetlinkError(error, f"{words} ({text})" if text else words)


class NetlinkSocket:
    """One netlink socket of the network namespace that the calling thread is in.

    It stays in that namespace whatever the thread does afterwards. Not for use by several threads at once.
    """

    def __init__(self, protocol: int, *, descriptor: int | None = None, strict: bool = True) -> None:
        """``descriptor`` adopts an open socket (and closes it at the end). ``strict`` asks for filtered
        dumps, which only some protocols know."""
        if descriptor is not None:
            self._socket = socket.socket(fileno=descriptor)
        else:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
            self._socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
            self._socket.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
            if strict and protocol == NETLINK_ROUTE:
                self._socket.setsockopt(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
        self._sequence = 0

    def fileno(self) -> int:
        return self._socket.fileno()

    def detach(self) -> int:
        """Give up the descriptor; the socket stays open."""
        return self._socket.detach()

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> NetlinkSocket:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def index_of(self, name: str) -> int:
        """The number of a link in this socket's namespace. Raises OSError.

        By ioctl (netdevice(7)), which changes nothing: asked for a new link by message, the kernel first tells
        everybody that it has no carrier yet, which goes through all IPv6 routes and all ports of its bridge."""
        answer = fcntl.ioctl(self._socket, SIOCGIFINDEX, _IFREQ.pack(name.encode(), 0))
        index: int = _IFREQ.unpack(answer)[1]
        return index

    def execute(self, requests: Sequence[Request]) -> None:
        """Send all requests in one datagram and read what the kernel says to them.

        It executes them in order, each by itself: a refused one does not stop the next ones. Each refusal is told,
        success only of the last one. Raises :class:`NetlinkError` for the first that was refused with an errno it does
        not ignore.
        """
        if not requests:
            return
        first = self._sequence + 1
        self._sequence += len(requests)
        last = len(requests) - 1
        self._socket.send(
            b"".join(
                encode(request, first + index, NLM_F_ACK if index == last else 0)
                for index, request in enumerate(requests)
            )
        )
        failure: NetlinkError | None = None
        index = -1
        while index != last:
            for reply in decode(self._socket.recv(16384)):
                if reply.type != NLMSG_ERROR or not 0 <= reply.sequence - first <= last:
                    continue
                index = reply.sequence - first
                if reply.body[:4] == b"\0\0\0\0":
                    continue
                error, text = acknowledgement(reply)
                request = requests[index]
                if error not in request.ignore and failure is None:
                    failure = netlink_error(error, request.label, request.reasons.get(error, text))
        if failure:
            raise failure

    def transact(self, requests: Sequence[Request]) -> None:
        """Send a batch that the kernel takes as a whole or not at all (nf_tables between BATCH_BEGIN and
        BATCH_END).

        Netlink handles a request before ``send`` returns, so whatever there is to complain about is there
        to be read then: without a complaint all went well. Raises :class:`NetlinkError` with the cause that
        is most specific.
        """
        first = self._sequence + 1
        self._sequence += len(requests)
        data = b"".join(encode(request, first + index, 0) for index, request in enumerate(requests))
        if len(data) > 100_000:
            # The default send buffer bounds one datagram; a big first ruleset may be larger.
            option = getattr(socket, "SO_SNDBUFFORCE", 32)
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, option, 2 * len(data))
            except PermissionError:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * len(data))
        self._socket.send(data)
        failure: NetlinkError | None = None
        while True:
            try:
                replies = self._socket.recv(65536, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            for reply in decode(replies):
                index = reply.sequence - first
                if reply.type != NLMSG_ERROR or not 0 <= index < len(requests):
                    continue
                error, text = acknowledgement(reply)
                request = requests[index]
                if error and error not in request.ignore and failure is None:
                    failure = netlink_error(error, request.label, text)
        if failure:
            raise failure

    def query(self, request: Request) -> list[Reply]:
        """Send one request (a dump if its flags say so) and return what comes back, without the ending.

        A dump that the kernel marks as inconsistent (something changed meanwhile) is repeated.
        """
        for _ in range(_DUMP_ATTEMPTS):
            replies, consistent = self._query(request)
            if consistent:
                return replies
        return replies

    def _query(self, request: Request) -> tuple[list[Reply], bool]:
        self._sequence += 1
        sequence = self._sequence
        self._socket.send(encode(request, sequence, 0))
        is_dump = request.flags & NLM_F_DUMP == NLM_F_DUMP
        replies: list[Reply] = []
        consistent = True
        while True:
            for reply in decode(self._socket.recv(65536)):
                if reply.sequence != sequence:
                    continue
                if reply.flags & NLM_F_DUMP_INTR:
                    consistent = False
                if reply.type in (NLMSG_ERROR, NLMSG_DONE):
                    error, text = acknowledgement(reply)
                    if error and error not in request.ignore:
                        raise netlink_error(error, request.label, text)
                    return replies, consistent
                replies.append(reply)
                if not is_dump and not reply.flags & NLM_F_MULTI:
                    return replies, consistent
