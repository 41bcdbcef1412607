"""The watchdog on a loop whose time is moved by hand."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtime.container import watchdog
from runtime.container.watchdog import Sign, Watchdog, is_hung, look_at


class FakeLoop:
    """Holds the one alarm, and what to call when somebody connects."""

    def __init__(self) -> None:
        self.alarm: Callable[[], None] | None = None
        self.connected: Callable[[int], None] = lambda _: None

    def watch(self, fd: int, callback: Callable[[int], None], events: int) -> None:
        self.connected = callback

    def after(self, seconds: float, callback: Callable[[], None] | None) -> None:
        self.alarm = callback

    def pass_time(self) -> None:
        assert self.alarm is not None
        callback, self.alarm = self.alarm, None
        callback()


class World:
    """A core whose sign of life is set by hand, and the socket it should accept from."""

    def __init__(self, address: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loop = FakeLoop()
        self.sign: Sign | None = Sign(10, "S")
        self.hung: list[float] = []
        self.address = str(address)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.address)
        self.listener.listen(8)
        self.listener.setblocking(False)
        monkeypatch.setattr(watchdog, "look_at", lambda _: self.sign)
        self.dog = Watchdog(self.loop, self.listener.fileno(), self.address, self.hung.append)  # type: ignore[arg-type]
        self.dog.watch(1)

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.connect(self.address)
        self.loop.connected(1)
        return client

    def accept(self) -> None:
        """What a living core does."""
        assert self.sign is not None
        self.sign = self.sign._replace(switches=self.sign.switches + 1)
        try:
            while True:
                self.listener.accept()[0].close()
        except BlockingIOError:
            pass

    def settle(self) -> None:
        """Until there is no reason left to look."""
        for _ in range(10):
            if self.loop.alarm is None:
                return
            self.accept()
            self.loop.pass_time()
        raise AssertionError("it ticks for ever")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World(tmp_path / "s", monkeypatch)
    yield made
    made.listener.close()


def test_nothing_ticks_at_rest(world: World) -> None:
    world.settle()
    with world.connect():
        world.settle()
    world.dog.expect()
    world.settle()
    assert world.hung == []


def test_a_stopped_core_that_somebody_waits_for(world: World) -> None:
    world.settle()
    world.sign = Sign(20, "T")
    with world.connect():
        world.loop.pass_time()
        assert world.hung == []
        world.loop.pass_time()
    assert world.hung == [4.0]
    assert world.loop.alarm is None


def test_the_end_of_a_shim_that_nobody_takes_notice_of(world: World) -> None:
    world.settle()
    world.dog.expect()
    world.sign = Sign(99, "T")  # stopped after a sign of life, and just before another shim ended
    world.dog.expect()
    for _ in range(3):
        world.loop.pass_time()
    assert world.hung


def test_a_core_that_cannot_accept_but_lives(world: World) -> None:
    """Out of descriptors, for instance."""
    world.settle()
    with world.connect():
        for switches in range(100, 140):
            world.sign = Sign(switches, "S")
            world.loop.pass_time()
        assert world.hung == []


def test_a_core_that_ends_is_nothing_to_look_at(world: World) -> None:
    world.settle()
    world.dog.expect()
    world.sign = None
    world.loop.pass_time()
    assert world.loop.alarm is None
    world.dog.watch(-1)
    world.dog.expect()
    assert world.loop.alarm is None


@pytest.mark.parametrize(
    ("state", "seconds", "verdict"),
    [("T", 2, False), ("T", 4, True), ("t", 999, False), ("R", 30, False), ("R", 60, True), ("D", 10, False)],
)
def test_patience(state: str, seconds: float, verdict: bool) -> None:
    assert is_hung(state, seconds) is verdict


def test_looking_at_a_process() -> None:
    sign = look_at(1)
    assert sign is not None and sign.switches > 0 and sign.state in "RSD"
    assert look_at(4194305) is None
