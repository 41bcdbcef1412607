"""Twenty commands at once, from twenty terminals, on one project: every one ends, nothing is there twice, and the next
command finds the project whole."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from tests.e2e.conftest import Project
from tests.e2e.engine import Composer, wait_for

CROWD = 20
SHOP = """
services:
  web:
    image: composer.local/host
    init: true
    command: sleep infinity
    ports: ["127.0.0.1::80"]
    depends_on: [store]
  store:
    image: composer.local/host
    init: true
    command: sleep infinity
    volumes: ["data:/data"]
  worker:
    image: composer.local/host
    init: true
    command: sleep infinity
    scale: 3
networks: {default: {}}
volumes: {data: {}}
"""
SERVICES = {"web": 1, "store": 1, "worker": 3}


class Terminal:
    """A command on a terminal of its own, and what it shows there."""

    def __init__(self, composer: Composer, directory: Path, words: list[str]) -> None:
        self.words = words
        self._master, slave = pty.openpty()
        self.process = composer.start(*words, cwd=directory, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        self.shown = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        try:
            while data := os.read(self._master, 65536):
                self.shown += data
        except OSError:
            pass  # nobody has it open any more
        os.close(self._master)

    def end(self) -> int:
        status = self.process.wait(180)  # twenty of them, on whatever else the machine does
        self._reader.join(60)
        assert b"Traceback" not in self.shown, self.shown.decode()
        return status


def crowd(composer: Composer, directory: Path, commands: list[list[str]]) -> list[Terminal]:
    """All at once, to their ends."""
    terminals = [Terminal(composer, directory, words) for words in commands]
    for terminal in terminals:
        terminal.end()
    return terminals


def check_whole(composer: Composer, project: Project, wanted: Mapping[str, int] = SERVICES) -> None:
    """Exactly the containers that the file asks for, none with another one's name, address or port."""
    found = [composer.inspect(one["Id"]) for one in composer.containers()]
    services = Counter(one["Config"]["Labels"]["com.docker.compose.service"] for one in found)
    assert services == Counter(wanted)
    assert all(one["State"]["Running"] for one in found)
    names = [one["Name"] for one in found]
    network = f"{project.name}_default"
    addresses = [one["NetworkSettings"]["Networks"][network]["IPAddress"] for one in found]
    ports = [
        binding["HostPort"]
        for one in found
        for binding in one["NetworkSettings"]["Ports"].get("80/tcp") or ()
    ]
    for kind in (names, addresses, ports):
        assert len(set(kind)) == len(kind), kind
        assert all(kind), kind
    networks = [one["Name"] for one in composer.api("GET", "/networks")]
    assert networks.count(network) == 1


def test_twenty_times_up(composer: Composer, project: Project) -> None:
    """The engine does not run yet, either."""
    directory = project.write(SHOP)
    for terminal in crowd(composer, directory, [["up", "-d"]] * CROWD):
        assert terminal.process.returncode == 0, terminal.shown.decode()
    check_whole(composer, project)
    for terminal in crowd(composer, directory, [["down", "-v", "-t", "0"]] * CROWD):
        assert terminal.process.returncode == 0, terminal.shown.decode()
    assert composer.containers() == []
    assert composer.api("GET", "/volumes")["Volumes"] == []


def test_everything_at_once(composer: Composer, project: Project) -> None:
    """Who loses may fail, with a sentence; nobody hangs."""
    directory = project.write(SHOP)
    composer.run("up", "-d", cwd=directory)
    commands = [
        *(["up", "-d"], ["down", "-t", "0"], ["up", "-d", "--force-recreate"], ["restart", "-t", "0"]),
        *(["stop", "-t", "0"], ["start"], ["up", "-d", "--scale", "worker=6"], ["kill"]),
        *(["rm", "-f", "-s", "worker"], ["pause"], ["unpause"], ["ps", "-a"]),
        *(["logs"], ["exec", "-T", "web", "true"], ["run", "--rm", "worker", "true"], ["config", "-q"]),
        *(["up", "-d", "--scale", "worker=1"], ["top"], ["down", "-v", "-t", "0"], ["up", "-d"]),
    ]
    assert len(commands) == CROWD
    crowd(composer, directory, commands)
    composer.run("unpause", cwd=directory, status=None)
    composer.run("up", "-d", cwd=directory)
    check_whole(composer, project)
    composer.run("down", "-v", "-t", "0", cwd=directory)
    assert composer.containers() == []
    assert composer.api("GET", "/volumes")["Volumes"] == []


ROUNDS = {
    "up": (["up", "-d", "--scale", "worker=2"], {**SERVICES, "worker": 2}),
    "down": (["down", "-t", "0"], {}),
    "rm": (["rm", "-f", "-s", "worker"], {"worker": 0}),
}
"""The last command of each round, and how many containers of which service there are when it has had its will."""


def test_the_last_one_decides(composer: Composer, project: Project) -> None:
    """In each round some of the commands are killed as soon as they have said something (or before they could);
    what the last one wanted is there, and stays. What a ``run --rm`` made that was killed goes by itself."""
    directory = project.write(SHOP)
    for number, (last, wanted) in enumerate(ROUNDS.values()):
        composer.run("up", "-d", cwd=directory)
        commands = [
            *(["up", "-d"], ["down", "-t", "0"], ["up", "-d", "--force-recreate"], ["restart", "-t", "0"]),
            *(["scale", "worker=4"], ["start"], ["up", "-d", "--scale", "worker=6"], ["kill"]),
            *(["rm", "-f", "-s", "worker"], ["logs", "-f"], ["stop", "-t", "0"], ["ps", "-a"]),
            *(["logs", "-f", "worker"], ["exec", "-T", "web", "sleep", "1"], ["up"], ["down", "-t", "0"]),
            *(["run", "--rm", "worker", "true"], ["up", "-d", "--no-deps", "web"], ["events"], ["up", "-d"]),
        ]
        assert len(commands) == CROWD
        commands = commands[number:] + commands[:number]
        terminals = [Terminal(composer, directory, words) for words in commands]
        for terminal in terminals[::3]:  # others are killed in the next round
            _until_it_speaks(terminal)
            terminal.process.kill()
        lasting = [one for one in terminals if one.words[0] in ("logs", "events") or one.words == ["up"]]
        for terminal in terminals:
            if terminal not in lasting:
                terminal.end()
        for terminal in lasting:  # an "up" that shows logs stops what it has started
            terminal.process.send_signal(signal.SIGINT)
            terminal.end()
        composer.run(*last, cwd=directory)
        wait_for(lambda: "True" not in _labels(composer, "oneoff"), "the end of what nobody starts", 60)
        for _ in range(2):
            services = _labels(composer, "service")
            if last[0] == "rm":  # nobody knows whether an "up" or a "down" came before it
                services = Counter(worker=services["worker"])
            assert services == Counter(wanted), last
            composer.run("ps", "-a", cwd=directory)
        if last[0] == "up":
            check_whole(composer, project, wanted)
    composer.run("down", "-v", "-t", "0", cwd=directory)
    assert composer.containers() == []


def _labels(composer: Composer, name: str) -> Counter[str]:
    """How many containers there are with which value of a label."""
    return Counter(one["Labels"][f"com.docker.compose.{name}"] for one in composer.containers())


def _until_it_speaks(terminal: Terminal) -> None:
    with contextlib.suppress(AssertionError):  # some say nothing before they have done it all
        wait_for(lambda: terminal.shown or terminal.process.poll() is not None, "a word", 2)
