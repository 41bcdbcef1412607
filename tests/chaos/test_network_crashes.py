"""``kill -9`` of the core while addresses are leased and while a running container joins and leaves a network: the next
core finishes what was begun, leases survive, and nobody has an address that somebody else has, too."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import socket
import struct
import threading
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from runtime.crash_points import ENVIRONMENT, POINTS, Switchboard
from runtime.kernel.netlink import rtnetlink
from runtime.kernel.netlink.transport import NETLINK_ROUTE, NetlinkSocket
from runtime.network.connect import in_network_namespace
from tests.e2e import engine
from tests.e2e.engine import Composer, is_gone, wait_for

IMAGE = "composer.local/host"
BOUND = 60.0
SERVER = ("python3", "-m", "http.server", "-b", "0.0.0.0", "80")


@pytest.fixture
def composer(tmp_path: Path) -> Iterator[Composer]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with engine.running(tmp_path / "root", {}, lambda: False) as made:
        yield made


@pytest.fixture
def switchboard(composer: Composer) -> Switchboard:
    page = composer.root / "crash-points"
    made = Switchboard(str(page))
    composer.environment[ENVIRONMENT] = str(page)
    return made


def suffer(composer: Composer, switchboard: Switchboard, point: str, operation: Callable[[], object]) -> None:
    """Kill the core while ``operation`` has it at ``point``."""

    def begin() -> None:
        with contextlib.suppress(AssertionError, OSError, ValueError):
            operation()

    switchboard.arm(point)
    asked = threading.Thread(target=begin, daemon=True)
    asked.start()
    try:
        wait_for(lambda: switchboard.reached, f"{point} to be reached", BOUND)
        (victim,) = composer.processes("composer-core")
        composer.kill("composer-core")
        wait_for(partial(is_gone, victim), f"the core ({victim}) to end", BOUND)
    finally:
        switchboard.release()
    asked.join(BOUND)
    assert not asked.is_alive(), f"who asked is not answered: {point}"


def addresses_of(pid: int) -> set[str]:
    """The IPv4 addresses that a process's network namespace really has."""

    def look() -> set[str]:
        with NetlinkSocket(NETLINK_ROUTE) as rtnl:
            found = map(rtnetlink.decode_address, rtnl.query(rtnetlink.dump_addresses()))
            return {one.prefix.partition("/")[0] for one in found if one and "." in one.prefix}

    netns = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return {address for address in in_network_namespace(netns, look) if not address.startswith("127.")}
    finally:
        os.close(netns)


def leases(composer: Composer) -> dict[tuple[str, str], str]:
    """(container, network) -> address, of all that run; each has what its record says, and nobody has another's."""
    found = {}
    for container in composer.containers():
        shown = composer.inspect(container["Id"])
        if not shown["State"]["Running"]:
            continue
        own = {
            (shown["Name"], network): place["IPAddress"]
            for network, place in shown["NetworkSettings"]["Networks"].items()
        }
        assert addresses_of(shown["State"]["Pid"]) == set(own.values()), shown["Name"]
        found |= own
    assert len(set(found.values())) == len(found), f"an address is there twice: {found}"
    return found


def run_several(composer: Composer, names: list[str]) -> None:
    def run(name: str) -> None:
        body = {
            "Image": IMAGE,
            "Cmd": ["sleep", "infinity"],
            "HostConfig": {"NetworkMode": "leased", "Init": True},
        }
        composer.api("POST", f"/containers/create?name={name}", body)
        composer.api("POST", f"/containers/{name}/start")

    with ThreadPoolExecutor(len(names)) as pool:
        for done in [pool.submit(run, name) for name in names]:
            done.result()


def test_leases(composer: Composer, switchboard: Switchboard) -> None:
    composer.run("network", "create", "leased")
    run_several(composer, ["witness"])
    create = {"Image": IMAGE, "Cmd": ["sleep", "infinity"], "HostConfig": {"NetworkMode": "leased"}}
    known = leases(composer)
    for number, point in enumerate(("core.create.leased", "core.create.recorded")):
        name = f"subject{number}"
        suffer(
            composer,
            switchboard,
            point,
            lambda name=name: composer.api("POST", f"/containers/create?name={name}", create),
        )
        run_several(composer, [f"a{number}", f"b{number}"])
        is_there = any(f"/{name}" in one["Names"] for one in composer.containers())
        assert is_there == (point == "core.create.recorded")
        if is_there:
            composer.api("POST", f"/containers/{name}/start")
        now = leases(composer)
        assert known.items() <= now.items(), "somebody has lost a lease"
        known = now
    networks = [f"net{number}" for number in range(3)]
    suffer(
        composer,
        switchboard,
        "core.network.recorded",
        lambda: composer.api("POST", "/networks/create", {"Name": "net0"}),
    )
    for name in networks[1:]:
        composer.api("POST", "/networks/create", {"Name": name})
    subnets = [
        ipaddress.ip_network(composer.api("GET", f"/networks/{name}")["IPAM"]["Config"][0]["Subnet"])
        for name in ("leased", *networks)
    ]
    assert not any(one.overlaps(other) for n, one in enumerate(subnets) for other in subnets[:n])
    assert leases(composer) == known
    composer.run("container", "rm", "-f", *sorted(name.removeprefix("/") for name, _ in known))
    composer.run("network", "rm", "leased", *networks)


def fetch(composer: Composer) -> bool:
    """Whether the subject's published port leads to it."""
    ports = composer.inspect("subject")["NetworkSettings"]["Ports"]["80/tcp"] or []
    if not ports:
        return False
    with (
        contextlib.suppress(OSError),
        urllib.request.urlopen(f"http://127.0.0.1:{ports[0]['HostPort']}/etc/hostname", timeout=30) as answer,
    ):
        return bool(answer.status == 200)
    return False


def is_found(composer: Composer, address: str) -> bool:
    """Whether a neighbour on the network gets ``address`` (or, "", none) for the subject's name."""
    done = composer.run("container", "exec", "neighbour", "getent", "ahostsv4", "subject", status=None)
    return address == (done.stdout.split() or [""])[0]


def addresses_in(hosts: Path) -> set[str]:
    """Of networks, not the loopback's."""
    found = {line.split()[0] for line in hosts.read_text().splitlines() if line.strip()}
    return {address for address in found if ":" not in address and not address.startswith("127.")}


def test_joining_and_leaving(composer: Composer, switchboard: Switchboard) -> None:
    composer.run("network", "create", "--internal", "first")
    composer.run("network", "create", "second")
    start = ("container", "run", "-d", "--init", "--name")
    composer.run(*start, "neighbour", "--network", "second", IMAGE, "sleep", "infinity")
    composer.run(*start, "subject", "--network", "first", "-p", "127.0.0.1::80", "-w", "/", IMAGE, *SERVER)
    joins = {"Container": "subject", "EndpointConfig": {}}
    leaves = {"Container": "subject"}
    ways = {
        "connect": lambda: composer.api("POST", "/networks/second/connect", joins),
        "disconnect": lambda: composer.api("POST", "/networks/second/disconnect", leaves),
    }
    points = [point for point in POINTS if point.split(".")[1] in ways]
    assert len(points) >= 5
    for point in points:
        operation = point.split(".")[1]
        is_joining = operation == "connect"
        if not is_joining:
            ways["connect"]()
        suffer(composer, switchboard, point, ways[operation])
        found = leases(composer)
        assert (("/subject", "second") in found) == is_joining, point
        address = found.get(("/subject", "second"), "")
        wait_for(lambda address=address: is_found(composer, address), f"the name, after {point}", BOUND)
        if is_joining:
            wait_for(partial(fetch, composer), f"the port, after {point}", BOUND)
        (hosts,) = (composer.root / "run/containers").glob(f"{composer.inspect('subject')['Id']}/hosts")
        own = {address for (owner, _), address in found.items() if owner == "/subject"}
        wait_for(lambda hosts=hosts, own=own: addresses_in(hosts) == own, f"the hosts, after {point}", BOUND)
        with pytest.raises(AssertionError, match="already exists" if is_joining else "is not connected"):
            ways[operation]()
        if is_joining:
            ways["disconnect"]()
    shown = json.loads(composer.run("network", "inspect", "second").stdout)[0]
    assert [one["Name"] for one in shown["Containers"].values()] == ["neighbour"]
    composer.run("container", "rm", "-f", "subject", "neighbour")
    composer.run("network", "rm", "first", "second")


def begin(composer: Composer, network: str) -> None:
    words = ("container", "run", "-d", "--init", "--name", "subject", "--network", network, IMAGE)
    composer.run(*words, "sleep", "infinity")


def test_joining_the_first(composer: Composer, switchboard: Switchboard) -> None:
    """Of a container that was begun without a network: names are there with the first one, whoever finishes it."""
    composer.run("network", "create", "first")
    points = [
        "core.connect.attached",
        *(point for point in POINTS if point.startswith("core.connect-first.")),
    ]
    assert len(points) >= 3
    for point in points:
        begin(composer, "none")
        composer.run("network", "disconnect", "none", "subject")
        body = {"Container": "subject", "EndpointConfig": {"Aliases": ["me"]}}
        suffer(
            composer,
            switchboard,
            point,
            lambda body=body: composer.api("POST", "/networks/first/connect", body),
        )
        ((_, address),) = leases(composer).items()
        asked = composer.run("container", "exec", "subject", "getent", "ahostsv4", "me").stdout
        assert asked.split()[0] == address, point
        composer.run("container", "rm", "-f", "subject")
    composer.run("network", "rm", "first")


def test_asking_over_tcp(composer: Composer, switchboard: Switchboard) -> None:
    """Whoever has got as far as a connection is answered on it, also when the core is killed before it knows of it."""
    composer.run("network", "create", "first")
    begin(composer, "first")
    question = struct.pack("!6H", 7, 0x100, 1, 0, 0, 0) + b"\7subject\0" + struct.pack("!2H", 1, 1)
    for point in [point for point in POINTS if point.split(".")[1] == "names"]:
        netns = os.open(
            f"/proc/{composer.inspect('subject')['State']['Pid']}/ns/net", os.O_RDONLY | os.O_CLOEXEC
        )
        asking = in_network_namespace(netns, partial(socket.socket, socket.AF_INET, socket.SOCK_STREAM))
        os.close(netns)
        asking.settimeout(BOUND)

        def ask(asking: socket.socket = asking) -> None:
            asking.connect(("127.0.0.11", 53))
            asking.sendall(struct.pack("!H", len(question)) + question)

        with asking, asking.makefile("rb") as answers:
            suffer(composer, switchboard, point, ask)
            (length,) = struct.unpack("!H", answers.read(2) or b"\0\0")
            answer = answers.read(length)
            assert answer[:2] == question[:2], point
            assert struct.unpack_from("!H", answer, 6) == (1,), point
    composer.run("container", "rm", "-f", "subject")
    composer.run("network", "rm", "first")
