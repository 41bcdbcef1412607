"""HTTP/1.1 on one connection: bytes to requests, answers to bytes, and the end of either (RFC 9110, RFC
9112).

One task runs a connection. While a handler streams, a second one in the same nursery watches for the client
to go away; otherwise what the client sends early stays in the socket, which is all the flow control there is.
"""

from __future__ import annotations

import base64
import errno
import logging
import os
import secrets
import select
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus

import h11
import trio

from composer.api.messages import (
    Answer,
    Hijack,
    Query,
    Request,
    Response,
    Streaming,
    decode_path,
    error_fields,
    error_response,
    json_response,
)
from composer.api.routing import API_VERSION, Router, split_version, version_text
from runtime.errors import ComposerError
from runtime.kernel.kernel_limits import LimitReached
from runtime.kernel.sockets import unread_by_peer
from runtime.storage.files import hint_for

log = logging.getLogger(__name__)

HEAD_LIMIT = 64 << 10
"""Bytes of a request's line and headers."""
HEAD_TIMEOUT = 30.0
"""Seconds from the first byte of a request to the end of its headers."""
READ_SIZE = 64 << 10
DRAIN_LIMIT = 256 << 10
"""Bytes of an unread request body that are skipped to keep a connection."""
HEAD_POLL = 0.0001
"""Seconds until it is looked for the first time whether a client has read the head of an answer; then twice as long."""
HEAD_POLL_MAX = 0.05
HEAD_BOUND = 30.0
"""Seconds after which a client is taken for one that does not mind."""
GONE_POLL = 1.0
"""Seconds between looks at a half-closed connection: the kernel has no event for its other half."""

ERROR_HEADER = "X-Composer-Error"
"""In an answer to HEAD, which has no body: what it would have been, in base64."""
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class _Disconnected(Exception):
    """The client went away in the middle of something."""


class Connection:
    """Serves the requests of one client until either side closes."""

    def __init__(self, stream: trio.SocketStream, router: Router, server_name: str) -> None:
        self._stream = stream
        self._router = router
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)
        self._common = (
            ("Api-Version", version_text(API_VERSION)),
            ("Docker-Experimental", "false"),
            ("Ostype", "linux"),
            ("Server", server_name),
        )
        self._wants_close = False
        self._unsent = bytearray()
        """Pieces of an answer whose sender was cancelled before they were on their way: the next one sends them."""
        self._sending = trio.Lock()
        self.task: trio.lowlevel.Task | None = None
        """That answers; None before the first request."""
        self.request = ""
        """The present one, or the last: ``METHOD /path`` without the version and what is asked."""
        self.is_at_work = False
        self.last_at = float("-inf")
        """When the last answer was complete, by trio's clock."""

    async def run(self) -> None:
        """Return when the connection is over. Closes it. Only cancellation gets out as an exception."""
        try:
            while await self._serve_one():
                self._h11.start_next_cycle()
        except (_Disconnected, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                await self._stream.aclose()

    async def _serve_one(self) -> bool:
        """One request and its answer; whether another may follow."""
        try:
            head = await self._next_head()
        except h11.RemoteProtocolError as error:
            await self._refuse(error)
            return False
        if head is None:
            return False
        began = time.perf_counter()
        target = head.target.decode("latin-1")
        method = head.method.decode("latin-1")
        status = 0
        self.task, self.is_at_work = trio.lowlevel.current_task(), True
        try:
            status = await self._answer(method, target, head)
        finally:
            self.is_at_work, self.last_at = False, trio.current_time()
            if log.isEnabledFor(logging.DEBUG):
                took = (time.perf_counter() - began) * 1000
                log.debug("%s %s -> %s in %.1f ms", method, target, status or "disconnected", took)
        return not self._wants_close and await self._finish()

    async def _next_head(self) -> h11.Request | None:
        """The next request, however long the client is idle before it; None when it closed instead."""
        event = self._h11.next_event()
        if event is h11.NEED_DATA:
            if not await self._fill():
                return None
            with trio.move_on_after(HEAD_TIMEOUT) as limit:
                while (event := self._h11.next_event()) is h11.NEED_DATA:
                    await self._fill()
            if limit.cancelled_caught:
                raise h11.RemoteProtocolError("the request took too long", error_status_hint=408)
        return event if isinstance(event, h11.Request) else None

    async def _fill(self) -> bool:
        data = await self._stream.receive_some(READ_SIZE)
        self._h11.receive_data(data)
        return bool(data)

    async def _refuse(self, error: h11.RemoteProtocolError) -> None:
        if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._wants_close = True
            await self._send_response(json_response({"message": str(error)}, error.error_status_hint))

    async def _answer(self, method: str, target: str, head: h11.Request) -> int:
        """Route the request and send its answer; the status."""
        try:
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
            if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
                self._h11.next_event()  # the end of a body that is not there
            answer = await self._handle(method, target, headers)
            if isinstance(answer, Streaming):
                return await self._send_streaming(answer, method)
            if isinstance(answer, Hijack):
                return await self._hijack(answer, is_upgrade="upgrade" in headers)
        except (_Disconnected, trio.BrokenResourceError, trio.ClosedResourceError):
            raise
        except Exception as error:
            if self.is_answering:
                self._log_late(error, method, target)
                raise _Disconnected from None
            answer = self._error_answer(error, method, target)
        await self._send_response(answer, method)
        return answer.status

    async def _handle(self, method: str, target: str, headers: dict[str, str]) -> Answer:
        raw_path, _, query = target.partition("?")
        version, path = split_version(decode_path(raw_path))
        self.request = f"{method} {path}"
        handler, params = self._router.find(method, path)
        return await handler(Request(method, path, Query(query), headers, _Body(self), version, params))

    def _error_answer(self, error: Exception, method: str, target: str) -> Response:
        if isinstance(error, h11.RemoteProtocolError):
            self._wants_close = True
            return json_response({"message": str(error)}, error.error_status_hint)
        known = find_composer_error(error)
        if known is not None:
            return error_response(known)
        request_id = secrets.token_hex(4)
        log.error("request %s: %s %s failed", request_id, method, target, exc_info=error)
        return json_response(error_fields(internal_error(error, request_id)), 500)

    def _log_late(self, error: Exception, method: str, target: str) -> None:
        if (known := find_composer_error(error)) is not None:
            log.warning("%s %s broke off: %s", method, target, known.message)
        else:
            log.error("%s %s broke off", method, target, exc_info=error)

    async def _send_response(self, answer: Response, method: str = "GET") -> None:
        has_body = answer.status not in (204, 304)
        headers = [*self._common, *answer.headers]
        if answer.content_type:
            headers.append(("Content-Type", answer.content_type))
        if has_body:
            headers.append(("Content-Length", str(len(answer.body))))
        if self._wants_close:
            headers.append(("Connection", "close"))
        if answer.status >= 400 and method == "HEAD":
            headers.append((ERROR_HEADER, base64.b64encode(answer.body).decode()))
        data = self._head(answer.status, headers)
        if has_body and method != "HEAD":
            data += self._h11.send(h11.Data(data=answer.body)) or b""
        data += self._h11.send(h11.EndOfMessage()) or b""
        await self._stream.send_all(data)

    def _head(self, status: int, headers: list[tuple[str, str]]) -> bytes:
        reason = _REASONS.get(status, "").encode()
        return self._h11.send(h11.Response(status_code=status, headers=headers, reason=reason)) or b""

    async def _send_streaming(self, answer: Streaming, method: str) -> int:
        sink = _Sink(self, answer)
        if method == "HEAD":
            await sink.send(b"")
        else:
            await self.while_connected(lambda: answer.produce(sink))
            await sink.send(b"")
        await self._send(self._h11.send(h11.EndOfMessage()) or b"")
        return 200

    async def while_connected(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run ``work``; cancel it and raise _Disconnected when the client closes the connection meanwhile."""
        is_gone = False
        failure: Exception | None = None

        async def watch(scope: trio.CancelScope) -> None:
            nonlocal is_gone
            if self._h11.their_state is h11.SEND_BODY:
                return  # the work itself reads
            try:
                # Bytes before the answer is complete are the next request (pipelining): one piece is kept for
                # later, after that the client is left to block.
                if await self._fill():
                    return
            except trio.BrokenResourceError:
                pass
            is_gone = True
            scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, nursery.cancel_scope)
            try:
                await work()
            except Exception as error:
                failure = error
            nursery.cancel_scope.cancel()
        if is_gone:
            raise _Disconnected
        if failure is not None:
            raise failure

    async def send_piece(self, answer: Streaming, piece: bytes) -> None:
        """Part of a streamed answer, the first one behind its head."""
        data = b""
        if not self.is_answering:
            headers = [*self._common, *answer.headers, ("Content-Type", answer.content_type)]
            data = self._head(200, [*headers, ("Transfer-Encoding", "chunked")])
        if piece:
            data += self._h11.send(h11.Data(data=piece)) or b""
        await self._send(data)

    async def _send(self, data: bytes) -> None:
        """Send what h11 takes for sent: none of it is lost, or goes twice, when the sender is cancelled."""
        self._unsent += data
        async with self._sending:
            try:
                while self._unsent:
                    sent = await self._stream.socket.send(self._unsent)
                    del self._unsent[:sent]
            except OSError as error:
                raise trio.BrokenResourceError from error

    @property
    def is_answering(self) -> bool:
        return self._h11.our_state is not h11.SEND_RESPONSE

    async def _hijack(self, answer: Hijack, *, is_upgrade: bool) -> int:
        await self.skip_body()
        self._wants_close = True
        leftover, is_closed = self._h11.trailing_data
        duplex = _Duplex(self._stream, leftover, is_closed, answer.content_type, is_upgrade=is_upgrade)
        try:
            await answer.converse(duplex)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            log.debug("who had asked for a raw stream is gone")
        except Exception:
            if not duplex.is_accepted:
                raise
            log.exception("a raw stream broke off")
        return 101 if is_upgrade else 200

    async def skip_body(self) -> None:
        async for _ in self.body_pieces():
            pass

    async def body_pieces(self) -> AsyncIterator[bytes]:
        """The body of the request, as far as it was not read."""
        if self._h11.they_are_waiting_for_100_continue:
            interim = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
            await self._stream.send_all(self._h11.send(interim) or b"")
        while self._h11.their_state is h11.SEND_BODY:
            event = self._h11.next_event()
            if event is h11.NEED_DATA:
                await self._fill()
            elif isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.ConnectionClosed):
                raise _Disconnected

    async def _finish(self) -> bool:
        """Leave the connection ready for another request; False when that cannot be."""
        skipped = 0
        if self._h11.their_state is h11.SEND_BODY:
            if self._h11.they_are_waiting_for_100_continue:
                return False
            with trio.move_on_after(1):
                async for piece in self.body_pieces():
                    skipped += len(piece)
                    if skipped > DRAIN_LIMIT:
                        return False
        return self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE


class _Body:
    """The body of the connection's present request."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._connection.body_pieces()

    async def read(self, limit: int) -> bytes:
        pieces, size = [], 0
        async for piece in self._connection.body_pieces():
            size += len(piece)
            if size > limit:
                raise ComposerError(f"the request body is larger than {limit} bytes", status=413)
            pieces.append(piece)
        return b"".join(pieces)


class _Sink:
    def __init__(self, connection: Connection, answer: Streaming) -> None:
        self._connection = connection
        self._answer = answer

    async def send(self, data: bytes) -> None:
        await self._connection.send_piece(self._answer, data)


class _Duplex:
    def __init__(
        self,
        stream: trio.SocketStream,
        leftover: bytes,
        is_closed: bool,
        content_type: str,
        *,
        is_upgrade: bool,
    ) -> None:
        self._stream = stream
        self._leftover = leftover
        self._is_closed = is_closed
        self._content_type = content_type
        self._is_upgrade = is_upgrade
        self.is_accepted = False
        self._is_head_read = False

    async def accept(self) -> None:
        if self._is_upgrade:
            start = "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
        else:
            start = "HTTP/1.1 200 OK\r\n"
        self.is_accepted = True
        version = version_text(API_VERSION)
        await self._stream.send_all(
            f"{start}Content-Type: {self._content_type}\r\nApi-Version: {version}\r\n\r\n".encode()
        )

    async def receive(self) -> bytes:
        if self._leftover:
            data, self._leftover = self._leftover, b""
            return data
        return b"" if self._is_closed else await self._stream.receive_some(READ_SIZE)

    async def send(self, data: bytes) -> None:
        if not self._is_head_read:
            await self._wait_until_head_is_read()
        await self._stream.send_all(data)

    async def _wait_until_head_is_read(self) -> None:
        """Clients (docker-py among them) read the head with a buffer and go on at the socket: what came with the head
        would be lost. The kernel knows what the other end has not read yet, but has no event for it."""
        self._is_head_read = True
        pause = HEAD_POLL
        with trio.move_on_after(HEAD_BOUND):
            while unread_by_peer(self._stream.socket.fileno()):
                await trio.sleep(pause)
                pause = min(2 * pause, HEAD_POLL_MAX)

    async def wait_gone(self) -> None:
        poll = select.poll()
        poll.register(self._stream.socket.fileno(), 0)  # POLLHUP and POLLERR are always reported
        while not poll.poll(0):
            await trio.sleep(GONE_POLL)


_EXHAUSTED = {
    errno.EMFILE: "The engine has as many files open as it may: raise the hard limit (ulimit -Hn), then "
    "`composer engine stop`; containers go on, and the next command starts it again.",
    errno.ENFILE: "The machine has as many files open as it may: see /proc/sys/fs/file-max.",
    errno.ENOMEM: "The machine has no memory left.",
    errno.ENOSPC: "`composer system df` shows what is used, `composer system prune` frees it.",
    errno.EDQUOT: "`composer system df` shows what is used, `composer system prune` frees it.",
    errno.EROFS: "The file system is mounted read-only.",
}
"""What a machine can run out of, which is no error of the engine's, with what a person can do."""


def find_composer_error(error: BaseException) -> ComposerError | None:
    """The error for people in ``error``, which may be a group that nurseries have made around it."""
    if isinstance(error, ComposerError):
        return error
    if isinstance(error, LimitReached):
        return ComposerError(str(error.strerror), hint=error.hint)
    if isinstance(error, MemoryError):
        return ComposerError(os.strerror(errno.ENOMEM), hint=hint_for(errno.ENOMEM))
    if isinstance(error, OSError) and (hint := _EXHAUSTED.get(error.errno or 0)) is not None:
        place = f"{error.filename}: " if error.filename else ""
        return ComposerError(f"{place}{error.strerror}", hint=hint)
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            if (found := find_composer_error(part)) is not None:
                return found
    return None


def internal_error(error: BaseException, request_id: str) -> ComposerError:
    """What a client is told about an error that nobody foresaw."""
    return ComposerError(
        f"internal error: {type(error).__name__} (request {request_id})",
        hint="This is a bug. `composer engine logs` has the details under the request's id.",
    )
