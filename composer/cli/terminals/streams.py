"""The conversation between this terminal and a process in a container, over a connection that became a raw stream."""

from __future__ import annotations

import os

from runtime.errors import ComposerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable

_READ_SIZE = 65536
_EXIT_STATUS = 4
"""``composer.api.streams.EXIT_STATUS``, which is not to be imported for it alone."""


class Detached(ComposerError):
    """The keys that detach were typed: what was come to goes on without this terminal. Docker's words and status."""

    def __init__(self) -> None:
        super().__init__("read escape sequence")


class Account:
    """What is known of a conversation when it is over."""

    __slots__ = ("given", "status")

    def __init__(self) -> None:
        self.given = 0
        """Bytes of input."""
        self.status = b""
        """How the process has ended, in decimal digits; empty when the engine has not said so."""

    def has_input(self) -> bool:
        """Also what waits to be read now."""
        from select import POLLIN, poll

        if self.given:
            return True
        poller = poll()
        poller.register(0, POLLIN)
        return any(events & POLLIN for _, events in poller.poll(0)) and bool(_read_stdin())


def converse(
    connection: socket,
    received: bytes,
    *,
    tty: bool,
    stdin: bool,
    resize: Callable[[int, int], None] | None = None,
    stdout: int = 1,
    stderr: int = 2,
    detach_keys: str = "",
    account: Account | None = None,
) -> bool:
    """Copy stdin to the process and its output to ``stdout`` and ``stderr`` until the other side closes.

    With ``tty`` the bytes are as the process wrote them, this terminal is raw meanwhile, and ``resize`` is called with
    rows and columns now and whenever the terminal changes. Without, output comes in Docker's frames of 8 bytes of
    header (Engine API, "Attach to a container"). End of input is passed on as a half-close. Returns whether it ended
    because the keys that detach (``detach_keys``, "" for the usual ones) were typed.
    """
    is_raw = tty and stdin and os.isatty(0)
    if is_raw:
        from composer.cli.terminals.rawmode import RawTerminal

        with RawTerminal(resize):
            return _copy(
                connection, received, tty=True, stdin=stdin, out=stdout, err=stdout, keys=detach_keys
            )
    return _copy(
        connection, received, tty=tty, stdin=stdin, out=stdout, err=stderr, keys=detach_keys, account=account
    )


def _copy(
    connection: socket,
    received: bytes,
    *,
    tty: bool,
    stdin: bool,
    out: int,
    err: int,
    keys: str,
    account: Account | None = None,
) -> bool:
    from select import POLLERR, POLLHUP, POLLIN, POLLOUT, poll

    from composer.api.detaching import DEFAULT_DETACH_KEYS, DetachKeys, parse_detach_keys

    # The engine looks for them, too, and ends the conversation; here it is only told from the process's end.
    detaching = DetachKeys((parse_detach_keys(keys) if keys else DEFAULT_DETACH_KEYS) if tty else b"")
    is_detached = False
    network = connection.fileno()
    frames = Frames()
    account = account or Account()
    if received:
        _deliver(received, frames, tty, out, err, account)
    poller = poll()
    poller.register(network, POLLIN)
    if stdin:
        try:
            poller.register(0, POLLIN)
        except OSError:
            stdin = False
    if not stdin:
        _half_close(connection)
    # Never waits until input is taken: the process may take none before its output is read.
    unsent = b""
    while True:
        for fd, events in poller.poll():
            if fd == network:
                if events & (POLLIN | POLLHUP | POLLERR):
                    data = _receive(connection)
                    if not data:
                        return is_detached
                    _deliver(data, frames, tty, out, err, account)
                if events & POLLOUT:
                    try:
                        unsent = _send(connection, unsent)
                    except OSError:
                        poller.modify(network, POLLIN)
                        continue
                    if not unsent:
                        poller.modify(network, POLLIN)
                        poller.register(0, POLLIN)
            elif events & (POLLIN | POLLHUP | POLLERR):
                typed = _read_stdin()
                if not typed:
                    poller.unregister(0)
                    _half_close(connection)
                    continue
                account.given += len(typed)
                is_detached |= detaching.feed(typed)[1]
                try:
                    unsent = _send(connection, typed)
                except OSError:  # the process has ended; its last output may still be on the way
                    poller.unregister(0)
                    continue
                if unsent:
                    poller.unregister(0)
                    poller.modify(network, POLLIN | POLLOUT)
            else:
                poller.unregister(fd)


def _send(connection: socket, data: bytes) -> bytes:
    """What the connection does not take now. Raises OSError when it takes nothing any more."""
    from _socket import MSG_DONTWAIT

    try:
        return data[connection.send(data, MSG_DONTWAIT) :]
    except BlockingIOError:
        return data


def _receive(connection: socket) -> bytes:
    try:
        return connection.recv(_READ_SIZE)
    except ConnectionResetError:
        return b""


def _read_stdin() -> bytes:
    try:
        return os.read(0, _READ_SIZE)
    except OSError:
        return b""


def _half_close(connection: socket) -> None:
    from _socket import SHUT_WR

    try:
        connection.shutdown(SHUT_WR)
    except OSError:
        pass


def _deliver(data: bytes, frames: Frames, tty: bool, out: int, err: int, account: Account) -> None:
    if tty:
        write_all(out, data)
        return
    for stream, piece in frames.feed(data):
        if stream == _EXIT_STATUS:
            account.status += piece
        else:
            write_all(err if stream == 2 else out, piece)


def write_all(fd: int, data: bytes) -> None:
    """All of it, also to a pipe that takes less at once."""
    while data:
        data = data[os.write(fd, data) :]


class Frames:
    """Takes Docker's framed output apart: pieces in, (stream number, bytes) out, whatever the borders."""

    __slots__ = ("_buffer", "_left", "_stream")

    def __init__(self) -> None:
        self._buffer = b""
        self._left = 0
        self._stream = 1

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The output that is complete; part of a frame's content is passed on as it comes."""
        found = []
        buffer = self._buffer + data if self._buffer else data
        position, count = 0, len(buffer)
        while True:
            if self._left:
                piece = buffer[position : position + self._left]
                if not piece:
                    break
                found.append((self._stream, piece))
                self._left -= len(piece)
                position += len(piece)
            elif count - position >= 8:
                self._stream = buffer[position]
                self._left = int.from_bytes(buffer[position + 4 : position + 8], "big")
                position += 8
            else:
                break
        self._buffer = buffer[position:]
        return found
