"""The blocking client of the engine's socket, for the command line.

Imports nothing but C modules: a command that takes 20 ms in all has no room for ``http.client`` (``email``
and friends) or ``socket`` (``enum`` and friends). It speaks as much HTTP/1.1 as the engine answers with:
Content-Length, chunked, bodies that end with the connection, and switched protocols (RFC 9112).
"""

from __future__ import annotations

from _socket import AF_UNIX, SHUT_RD, SOCK_CLOEXEC, SOCK_STREAM, socket

from composer.api.plain_json import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any, Protocol

    from runtime.errors import ComposerError

    class Readable(Protocol):
        def read(self, size: int, /) -> bytes: ...

    QueryValue = str | int | float | bool | None | Sequence[str] | Mapping[str, object]
    Body = bytes | Readable | Mapping[str, object] | Sequence[object] | None

API = "/v1.47"
"""Prefix for paths of the Docker Engine API; ``/composer/v1`` has none."""

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/:,")
_READ_SIZE = 65536


class Response:
    """A complete answer. ``headers`` have lower-case names."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> Any:
        """The body's value; None when it is empty."""
        return loads(self.body) if self.body else None


class EngineClient:
    """One connection to an engine, kept open between requests.

    ``address`` is the path of the socket or a socket that is already connected. Connecting happens with the
    first request and raises ``FileNotFoundError`` or ``ConnectionRefusedError`` when no engine listens.
    ``connection`` is a socket that is connected to ``address`` already. ``timeout`` bounds (in seconds) each
    wait for the engine; None waits as long as it takes.

    All requests raise ``ComposerError`` with the engine's message, hint and exit status when it answers with
    an error. Not for use by several threads at once.
    """

    def __init__(
        self, address: str | socket, *, connection: socket | None = None, timeout: float | None = None
    ) -> None:
        self._path = address if isinstance(address, str) else ""
        self._socket = connection if isinstance(address, str) else address
        self._timeout = timeout
        self._buffer = b""
        self._is_idle = True
        self._is_cut = False
        """The engine closed the connection before it had read the whole request."""
        self.server = ""
        """What the engine calls itself (``composer/0.1.0 (linux)``); "" until it has answered."""
        if self._socket is not None:
            self._socket.settimeout(timeout)

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, QueryValue] | None = None,
        body: Body = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send a request and read the whole answer.

        ``query``: None values are left out, booleans become 1 and 0, lists repeat the key, mappings become
        JSON (Docker's ``filters``). ``body``: a mapping or sequence is sent as JSON, bytes and readable
        files as they are.
        """
        status, answer_headers = self._exchange(method, path, query, body, headers)
        content = b"".join(self._body(method, status, answer_headers))
        return Response(status, answer_headers, content)

    def stream(
        self,
        method: str,
        path: str,
        query: Mapping[str, QueryValue] | None = None,
        body: Body = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[Any]:
        """Send a request, and return an iterator of the JSON lines of its answer as they come. The request
        is sent (and an error raised) before this returns; closing the iterator early closes the connection,
        which ends the request."""
        status, answer_headers = self._exchange(method, path, query, body, headers)
        return self._lines(self._body(method, status, answer_headers))

    def chunks(
        self,
        method: str,
        path: str,
        query: Mapping[str, QueryValue] | None = None,
        body: Body = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[bytes]:
        """As :meth:`stream`, for answers that are bytes (logs, archives): pieces as they come."""
        status, answer_headers = self._exchange(method, path, query, body, headers)
        return self._body(method, status, answer_headers)

    def hijack(
        self,
        method: str,
        path: str,
        query: Mapping[str, QueryValue] | None = None,
        body: Body = None,
    ) -> tuple[socket, bytes]:
        """Send a request that turns the connection into a raw stream (attach, exec start).

        Returns the socket (blocking, the caller's from now on; ``shutdown(SHUT_WR)`` ends the other side's
        input) and the bytes that were read from it already. The next request opens a new connection.
        """
        self._exchange(method, path, query, body, {"Connection": "Upgrade", "Upgrade": "tcp"})
        connection, leftover = self._socket, self._buffer
        assert connection is not None
        self._socket, self._buffer, self._is_idle = None, b"", True
        connection.settimeout(None)
        return connection, leftover

    def take(self) -> socket | None:
        """The connection between two requests, which is the caller's from now on; None when there is none."""
        connection = self._socket
        self._socket, self._buffer, self._is_idle = None, b"", True
        return connection

    def cut(self) -> None:
        """End what the engine says on the connection, in every process that has it: what has come can still be read."""
        if self._socket is not None:
            try:
                self._socket.shutdown(SHUT_RD)
            except OSError:
                pass  # the other side has ended it

    def close(self) -> None:
        """Drop the connection; a next request would open another one."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._buffer, self._is_idle = None, b"", True

    def __enter__(self) -> EngineClient:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _exchange(
        self,
        method: str,
        path: str,
        query: Mapping[str, QueryValue] | None,
        body: Body,
        headers: Mapping[str, str] | None,
    ) -> tuple[int, dict[str, str]]:
        if not self._is_idle:  # an answer was not read to its end
            self.close()
        is_reused = self._socket is not None
        head, content = _encode_request(method, path, query, body, headers)
        try:
            self._send(head, content)
            status, answer_headers = self._read_head()
        except (BrokenPipeError, ConnectionResetError, _Closed) as error:
            # A kept connection may have been closed by an engine that restarted. Nothing was answered, so
            # what does not change anything can be asked again on a new one.
            self.close()
            if not (is_reused and self._path and method in ("GET", "HEAD")):
                raise _lost() from error
            self._send(head, content)
            status, answer_headers = self._read_head()
        self.server = answer_headers.get("server", "")
        if status >= 400:
            told = b"".join(self._body(method, status, answer_headers))
            if method == "HEAD":
                from binascii import a2b_base64

                told = a2b_base64(answer_headers.get("x-composer-error", ""))
            raise _error(status, told)
        return status, answer_headers

    def _send(self, head: bytes, content: bytes | Readable | None) -> None:
        connection = self._connect()
        self._is_idle = self._is_cut = False
        if content is None:
            connection.sendall(head)
            return
        try:
            if isinstance(content, bytes):
                connection.sendall(head + content)
            else:
                connection.sendall(head)
                while piece := content.read(_READ_SIZE):
                    connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
                connection.sendall(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            # An engine that refuses a long body does not read it to its end: its reason is there to be read.
            self._is_cut = True

    def _connect(self) -> socket:
        if self._socket is None:
            if not self._path:
                raise _lost()
            connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
            try:
                connection.settimeout(self._timeout)
                connection.connect(self._path)
            except BaseException:
                connection.close()
                raise
            self._socket = connection
        return self._socket

    def _receive(self) -> bytes:
        assert self._socket is not None
        try:
            return self._socket.recv(_READ_SIZE)
        except TimeoutError:
            self.close()
            from runtime.errors import ComposerError

            raise ComposerError(f"the engine did not answer within {self._timeout:g} seconds") from None

    def _read_head(self) -> tuple[int, dict[str, str]]:
        while True:
            while (end := self._buffer.find(b"\r\n\r\n")) < 0:
                piece = self._receive()
                if not piece:
                    raise _Closed
                self._buffer += piece
            lines = self._buffer[:end].decode("latin-1").split("\r\n")
            self._buffer = self._buffer[end + 4 :]
            status = int(lines[0].split(" ", 2)[1])
            if status != 100:
                break
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return status, headers

    def _body(self, method: str, status: int, headers: Mapping[str, str]) -> Iterator[bytes]:
        """The pieces of the answer's body. The connection is idle again when the last one was taken."""
        try:
            if method == "HEAD" or status in (204, 304):
                pass
            elif headers.get("transfer-encoding", "").lower() == "chunked":
                yield from self._chunked()
            elif "content-length" in headers:
                yield from self._counted(int(headers["content-length"]))
            else:
                yield from self._until_closed()
        except (BrokenPipeError, ConnectionResetError, _Closed) as error:
            self.close()
            raise _lost() from error
        except GeneratorExit:
            self.close()
            raise
        if self._is_cut or headers.get("connection", "").lower() == "close":
            self.close()
        self._is_idle = True

    def _counted(self, remaining: int) -> Iterator[bytes]:
        while remaining:
            piece = self._buffer or self._receive()
            if not piece:
                raise _Closed
            self._buffer = piece[remaining:]
            piece = piece[:remaining]
            remaining -= len(piece)
            yield piece

    def _chunked(self) -> Iterator[bytes]:
        while True:
            size = int(self._line().split(b";", 1)[0], 16)
            if size == 0:
                while self._line():
                    pass
                return
            yield from self._counted(size)
            self._line()

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            piece = self._receive()
            if not piece:
                raise _Closed
            self._buffer += piece
        line = self._buffer[:end]
        self._buffer = self._buffer[end + 2 :]
        return line

    def _until_closed(self) -> Iterator[bytes]:
        if self._buffer:
            yield self._buffer
            self._buffer = b""
        while piece := self._receive():
            yield piece
        self.close()

    @staticmethod
    def _lines(pieces: Iterator[bytes]) -> Iterator[Any]:
        pending = b""
        for piece in pieces:
            *lines, pending = (pending + piece).split(b"\n")
            for line in lines:
                if line.strip():
                    yield loads(line)
        if pending.strip():
            yield loads(pending)


class _Closed(Exception):
    """The engine closed the connection in the middle of an answer."""


def _encode_request(
    method: str,
    path: str,
    query: Mapping[str, QueryValue] | None,
    body: Body,
    headers: Mapping[str, str] | None,
) -> tuple[bytes, bytes | Readable | None]:
    # Names in it are encoded already; what else is not a path's is encoded now.
    target = "%".join(map(quote, path.split("%"))) + (f"?{encode_query(query)}" if query else "")
    lines = [f"{method} {target.rstrip('?')} HTTP/1.1", "Host: composer"]
    content: bytes | Readable | None
    given = {name.lower() for name in headers or ()}
    if body is None:
        content = None
        if method not in ("GET", "HEAD"):
            lines.append("Content-Length: 0")
    elif isinstance(body, bytes):
        content = body
        if "content-type" not in given:
            lines.append("Content-Type: application/octet-stream")
        lines.append(f"Content-Length: {len(content)}")
    elif isinstance(body, dict | list | tuple):
        content = dumps(body)
        lines.append("Content-Type: application/json")
        lines.append(f"Content-Length: {len(content)}")
    else:
        content = body  # type: ignore[assignment]
        if "content-type" not in given:
            lines.append("Content-Type: application/x-tar")
        lines.append("Transfer-Encoding: chunked")
    lines.extend(f"{name}: {value}" for name, value in (headers or {}).items())
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"), content


def encode_query(query: Mapping[str, QueryValue]) -> str:
    """``query`` as the part of a URL behind the question mark (see :meth:`EngineClient.request`)."""
    pairs = []
    for key, value in query.items():
        if value is None:
            continue
        for item in value if isinstance(value, list | tuple) else (value,):
            if isinstance(item, bool):
                text = "1" if item else "0"
            elif isinstance(item, dict):
                text = dumps(item).decode()
            else:
                text = str(item)
            pairs.append(f"{quote(key)}={quote(text)}")
    return "&".join(pairs)


def quote(text: str) -> str:
    """Percent-encode all but RFC 3986's unreserved characters, ``/``, ``:`` and ``,``."""
    data = text.encode()
    if _UNRESERVED.issuperset(data):
        return text
    return "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in data)


def _lost() -> ComposerError:
    from runtime.errors import ConnectionLost

    return ConnectionLost(
        "the engine closed the connection before it answered",
        hint="run the command again; `composer engine logs` tells what happened",
    )


def _error(status: int, body: bytes) -> ComposerError:
    from runtime.errors import ComposerError, Conflict, InvalidArgument, NotFound

    try:
        fields = loads(body)
    except ValueError:
        fields = {}
    if not isinstance(fields, dict):
        fields = {}
    kind: type[ComposerError] = {400: InvalidArgument, 404: NotFound, 409: Conflict}.get(
        status, ComposerError
    )
    text = body.decode(errors="replace").strip() or f"the engine answered with status {status}"
    return _error_of(fields, kind, text, status)


def _error_of(fields: dict[str, Any], kind: type[ComposerError], text: str, status: int) -> ComposerError:
    from runtime.errors import ComposerError, Location

    error = kind(
        str(fields.get("message") or text),
        hint=str(fields.get("hint") or ""),
        exit_status=fields.get("exit_status"),
        status=status,
        locations=tuple(Location(**location) for location in fields.get("locations") or ()),
    )
    error.errors = tuple(_error_of(one, ComposerError, text, status) for one in fields.get("errors") or ())
    return error
