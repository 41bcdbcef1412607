"""Questions for other name servers: over UDP and TCP, once while the answer lasts, the next server after a silence."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio
import trio.testing

from runtime.network.cache import AnswerCache, lifetime_of
from runtime.network.dns import CLASS_IN, SERVFAIL, TYPE_A, encode_name, parse_query
from runtime.network.names import ContainerNames, EndpointNames, NameTable
from runtime.network.pending import PendingQuestions
from runtime.network.resolver import Resolver
from runtime.network.upstreams import ATTEMPT, Forwarder

ASKER = "a" * 64


def message(name: str, number: int = 7, *, size: int = 0) -> bytes:
    tail = b"\0" + struct.pack("!HHIH", 41, size, 0, 0) if size else b""
    head = struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 1 if tail else 0)
    return head + encode_name(name) + struct.pack("!HH", TYPE_A, CLASS_IN) + tail


def response(question: bytes, ttl: int = 60, addresses: int = 1, *, flags: int = 0x8180) -> bytes:
    parsed = parse_query(question)
    head = struct.pack("!HHHHHH", parsed.id, flags, 1, addresses, 0, 0)
    record = b"\xc0\x0c" + struct.pack("!HHIH", TYPE_A, CLASS_IN, ttl, 4) + bytes([192, 0, 2, 1])
    return head + parsed.question + record * addresses


def refusal(question: bytes, ttl: int, minimum: int) -> bytes:
    """ "No such name", with the zone's word for how long."""
    parsed = parse_query(question)
    soa = b"\0\0" + struct.pack("!IIIII", 1, 2, 3, 4, minimum)
    record = b"\0" + struct.pack("!HHIH", 6, CLASS_IN, ttl, len(soa)) + soa
    return struct.pack("!HHHHHH", parsed.id, 0x8183, 1, 0, 1, 0) + parsed.question + record


@dataclass
class Upstream:
    """A name server on loopback that counts what it is asked."""

    asked: list[str] = field(default_factory=list)
    addresses: int = 1

    def answer(self, question: bytes) -> bytes:
        self.asked.append(parse_query(question).name)
        return response(question, addresses=self.addresses)

    async def serve(self, udp: trio.socket.SocketType, tcp: trio.SocketListener) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, self._serve_tcp, [tcp])
            while True:
                question, client = await udp.recvfrom(4096)
                await udp.sendto(self.answer(question), client)

    async def _serve_tcp(self, stream: trio.SocketStream) -> None:
        question = (await stream.receive_some(4096))[2:]
        answer = self.answer(question)
        await stream.send_all(struct.pack("!H", len(answer)) + answer)


@asynccontextmanager
async def resolving(upstream: Upstream, *, is_internal: bool = False) -> AsyncIterator[tuple[str, int]]:
    """A resolver before ``upstream``; where the asker's questions go."""
    tcp = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = tcp[0].socket.getsockname()[1]
    table = NameTable()
    table.set(
        ASKER,
        ContainerNames(
            name="one",
            endpoints=(EndpointNames(network_id="n", network="n", ipv4="10.0.0.2/24", names=("web",)),),
            is_internal=is_internal,
        ),
    )
    resolver = Resolver(table, lambda: ("127.0.0.1",), port=port)
    own_udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    own_udp.bind(("127.0.0.1", 0))
    own_tcp = socket.create_server(("127.0.0.1", own_udp.getsockname()[1]))
    place: tuple[str, int] = own_udp.getsockname()
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        await udp.bind(("127.0.0.1", port))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(upstream.serve, udp, tcp[0])
            nursery.start_soon(resolver.serve, ASKER, own_udp.detach(), own_tcp.detach())
            yield place
            nursery.cancel_scope.cancel()


async def ask(place: tuple[str, int], question: bytes) -> bytes:
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client, trio.fail_after(5):
        await client.sendto(question, place)
        return await client.recv(65535)


async def ask_tcp(place: tuple[str, int], *questions: bytes) -> bytes:
    with trio.fail_after(5):
        async with await trio.open_tcp_stream(*place) as stream:
            for question in questions:
                await stream.send_all(struct.pack("!H", len(question)) + question)
            received = b""
            while len(received) < 2 or len(received) < 2 + int.from_bytes(received[:2], "big"):
                received += await stream.receive_some(65536)
            return received[2:]


async def test_an_answer_is_asked_for_once() -> None:
    upstream = Upstream()
    async with resolving(upstream) as place:
        first = await ask(place, message("example.org", 1))
        second = await ask(place, message("example.org", 2))
        assert first[:2] == b"\0\1" and second[:2] == b"\0\2"
        assert first[2:12] == second[2:12]
        await ask(place, message("example.net"))
    assert upstream.asked == ["example.org", "example.net"]


async def test_over_tcp_what_is_too_long_for_udp() -> None:
    upstream = Upstream(addresses=60)
    async with resolving(upstream) as place:
        short = await ask(place, message("example.org"))
        assert short[2] & 2 and len(short) <= 512
        assert len(await ask(place, message("example.org", size=1400))) > 900
        whole = await ask_tcp(place, message("example.org"))
        assert int.from_bytes(whole[6:8], "big") == 60


async def test_an_internal_container_asks_nobody() -> None:
    upstream = Upstream()
    async with resolving(upstream, is_internal=True) as place:
        assert (await ask(place, message("example.org")))[3] & 15 == 2
        assert (await ask(place, message("web")))[3] & 15 == 0
    assert not upstream.asked


def test_times_to_live_run_down() -> None:
    cache, question = AnswerCache(), message("example.org")
    cache.put(("s",), question, response(question, 60), 100.0)
    aged = cache.get(("s",), message("example.org", 9), 142.5)
    assert aged == response(message("example.org", 9), 18)
    assert cache.get(("other",), question, 142.0) is None
    assert cache.get(("s",), question, 160.0) is None


def test_what_may_be_kept() -> None:
    question = message("example.org")
    assert lifetime_of(response(question, 60))[0] == 60
    assert lifetime_of(response(question, 99999))[0] == 3600
    assert lifetime_of(response(question, 60, flags=0x8380))[0] == 0  # truncated
    assert lifetime_of(response(question, 60, flags=0x8182))[0] == 0  # server failure
    assert lifetime_of(response(question, 0, addresses=0))[0] == 0  # nothing, and no word for how long
    assert lifetime_of(refusal(question, 900, 30))[0] == 30


def test_the_oldest_goes_first() -> None:
    cache = AnswerCache(entries=2)
    for name in ("a.org", "b.org", "c.org"):
        cache.put((), message(name), response(message(name)), 0.0)
    assert len(cache) == 2
    assert cache.get((), message("a.org"), 1.0) is None


def test_broken_answers_are_not_kept() -> None:
    question = message("example.org")
    whole = response(question)
    cache = AnswerCache()
    for end in range(12, len(whole)):
        cache.put((), question, whole[:end], 0.0)
    assert not len(cache)


@asynccontextmanager
async def forwarding(*servers: str) -> AsyncIterator[tuple[Forwarder, trio.socket.SocketType, list[str]]]:
    """A forwarder, and the one of its ``servers`` that answers, 127.0.0.1; the names that this one was asked for."""
    asked: list[str] = []
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        await udp.bind(("127.0.0.1", 0))
        port = udp.getsockname()[1]
        silent = []
        for server in servers:
            if server != "127.0.0.1":
                held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                held.bind((server, port))
                silent.append(held)

        async def serve() -> None:
            while True:
                question, client = await udp.recvfrom(4096)
                asked.append(parse_query(question).name)
                await udp.sendto(response(question), client)

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve)
                yield Forwarder(port), udp, asked
                nursery.cancel_scope.cancel()
        finally:
            for held in silent:
                held.close()


async def test_a_silent_server_is_asked_last_from_then_on() -> None:
    servers = ("127.0.0.2", "127.0.0.1")
    async with forwarding(*servers) as (forwarder, _, _):
        begun = trio.current_time()
        for number in range(3):
            question = message(f"n{number}.example")
            answer = await forwarder.ask(servers, question, parse_query(question), tcp=False)
            assert answer[3] & 15 == 0
        # Waited for once, not three times.
        assert ATTEMPT * 0.9 < trio.current_time() - begun < ATTEMPT * 3


async def test_a_client_hears_of_silence_before_it_gives_up(autojump_clock: trio.testing.MockClock) -> None:
    async with forwarding("127.0.0.2") as (forwarder, _, _):
        question = message("example.org")
        begun = trio.current_time()
        answer = await forwarder.ask(("127.0.0.2",), question, parse_query(question), tcp=False)
        assert answer[3] & 15 == SERVFAIL
        assert trio.current_time() - begun < 5


async def test_what_a_killed_core_was_asking_the_next_one_answers(tmp_path: Path) -> None:
    table = NameTable()
    table.set(ASKER, ContainerNames(name="one"))
    path = tmp_path / "questions"
    client, own = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    client.bind(("127.0.0.1", 0))
    client.setblocking(False)
    own.bind(("127.0.0.1", 0))
    killed = PendingQuestions(path)
    answered = killed.put(ASKER, client.getsockname(), message("done.example", 1))
    killed.put(ASKER, client.getsockname(), message("example.org", 2))
    killed.put("b" * 64, client.getsockname(), message("other.example", 3))
    killed.forget(answered)
    # The next core is killed as well, before it has asked anybody.
    assert len(PendingQuestions(path).take_left(ASKER)) == 1
    async with forwarding("127.0.0.1") as (_, udp, asked):
        resolver = Resolver(
            table, lambda: ("127.0.0.1",), port=udp.getsockname()[1], pending=PendingQuestions(path)
        )
        tcp = socket.create_server(("127.0.0.1", 0))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(resolver.serve, ASKER, own.detach(), tcp.detach())
            with trio.fail_after(10), trio.socket.from_stdlib_socket(client) as waiting:
                assert (await waiting.recv(512))[:2] == b"\0\2"
            nursery.cancel_scope.cancel()
        assert asked == ["example.org"]
    left = PendingQuestions(path)
    assert left.take_left(ASKER) == []
    left.forget_left({ASKER})
    assert PendingQuestions(path).take_left("b" * 64) == []
