"""Networks of containers that run: they come and go, and names, routes, files and published ports follow."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import shutil
import socket
import struct
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from composer.engine.engine import tag_of
from runtime.kernel import sockets
from runtime.kernel.netlink import nftables, rtnetlink
from runtime.kernel.netlink.transport import NETLINK_NETFILTER, NETLINK_ROUTE, NetlinkSocket
from runtime.network.connect import in_network_namespace
from runtime.network.ruleset import table_name
from runtime.network.sandbox import host_interface
from tests.e2e.conftest import Project
from tests.e2e.engine import PATIENCE, Composer, free_port, running, wait_for, write_project

SERVER = "python3 -m http.server -b 0.0.0.0 80"


def fetch(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/etc/hostname", timeout=PATIENCE) as answer:
        return int(answer.status)


def test_a_running_container_changes_its_networks(composer: Composer, project: Project) -> None:
    port = free_port()
    # Of its own for each run: no two engines on a machine can have one subnet.
    own = 2 * (os.getpid() % 120)
    directory = project.write(f"""
services:
  web:
    image: composer.local/host
    command: {SERVER}
    working_dir: /
    init: true
    ports: ["{port}:80"]
    healthcheck:
      test: ["CMD", "python3", "-c", "import socket; socket.create_connection(('127.0.0.1', 80))"]
      interval: 0.2s
    networks: [first]
networks: {{first: {{}}, second: {{enable_ipv6: true, ipam: {{config: [{{subnet: 10.83.{own + 1}.0/24}}]}}}}}}
""")
    network, container = f"{project.name}_first", f"{project.name}-web-1"
    composer.run("up", "-d", "--wait", cwd=directory)
    assert fetch(port) == 200
    other = f"{project.name}_other"
    composer.run("network", "create", "--subnet", f"10.83.{own}.0/24", other)
    composer.run(
        *("network", "connect", "--ip", f"10.83.{own}.9", "--gw-priority", "5", "--alias", "w"),
        *("--link", f"{container}:me", other, container),
    )
    place = composer.inspect(container)["NetworkSettings"]["Networks"][other]
    assert (place["Aliases"], place["Links"]) == (["w"], [f"{container}:me"])
    assert place["IPAMConfig"] == {"IPv4Address": f"10.83.{own}.9"}

    def inside(*words: str, directory: Path = directory) -> str:
        return composer.run("exec", "-T", "web", *words, cwd=directory).stdout

    assert fetch(port) == 200
    assert f"10.83.{own}.9\t" in inside("cat", "/etc/hosts")
    assert "eth1" in inside("cat", "/proc/net/dev")
    assert f"10.83.{own}.9" in inside("getent", "ahostsv4", "w")
    assert inside("getent", "hosts", "me")
    # The default route goes to the network with the higher gw_priority, in the kernel's byte order.
    assert f"eth1\t00000000\t01{own:02X}530A" in inside("cat", "/proc/net/route")
    composer.run("network", "disconnect", network, container)
    hosts = inside("cat", "/etc/hosts")
    assert sum(line.startswith(("172.", "10.", "192.168.")) for line in hosts.splitlines()) == 1
    assert "eth0" not in inside("cat", "/proc/net/dev")
    # Published ports lead to the network that is left.
    assert fetch(port) == 200
    composer.run("network", "connect", network, container)
    assert fetch(port) == 200
    composer.run("network", "disconnect", other, container)
    assert fetch(port) == 200
    composer.run("network", "connect", "--ip", "10.84.9.9", other, container, status=1)
    (shown,) = json.loads(composer.run("container", "inspect", container).stdout)
    assert list(shown["NetworkSettings"]["Networks"]) == [network]
    composer.run("network", "rm", other)
    composer.run("down", cwd=directory)


def test_what_the_kernel_does_not_carry_the_engine_does(composer: Composer, project: Project) -> None:
    """``::1`` has no way through the kernel, nor has IPv6 to a container without: the port's own socket answers,
    before and after the core is killed."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip("needs a kernel with IPv6")
    directory = project.write("""
services:
  web:
    image: composer.local/host
    working_dir: /
    init: true
    ports: ["18777", "18778/udp"]
    command:
      - python3
      - -c
      - |
        import socket, threading
        tcp = socket.create_server(("0.0.0.0", 18777))
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("0.0.0.0", 18778))
        def echo():
            while True:
                data, address = udp.recvfrom(64)
                udp.sendto(data, address)
        threading.Thread(target=echo).start()
        while True:
            client, _ = tcp.accept()
            client.sendall(client.recv(64))
            client.close()
    healthcheck:
      test: ["CMD", "python3", "-c", "import socket; socket.create_connection(('127.0.0.1', 18777))"]
      interval: 0.2s
""")
    composer.run("up", "-d", "--wait", cwd=directory)
    tcp, udp = (
        int(composer.run("port", "web", port, cwd=directory).stdout.split()[0].rpartition(":")[2])
        for port in ("18777", "18778/udp")
    )

    def is_answered(kind: int, address: str, port: int) -> bool:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, kind) as client, contextlib.suppress(OSError):
            client.settimeout(2)
            client.connect((address, port))
            client.send(b"ping")
            return client.recv(16) == b"ping"
        return False

    for _ in range(2):
        for address in ("127.0.0.1", "::1"):
            for kind, port in ((socket.SOCK_STREAM, tcp), (socket.SOCK_DGRAM, udp)):
                wait_for(
                    partial(is_answered, kind, address, port), f"{address} port {port} to answer", timeout=60
                )
        composer.kill("composer-core")
    composer.run("down", "-t", "0", cwd=directory)


def test_two_checkouts_publish_the_same_port(composer: Composer, tmp_path: Path) -> None:
    port = free_port()
    compose = f"""
x-composer: {{address: auto}}
services:
  web:
    image: composer.local/host
    command: {SERVER}
    working_dir: /
    init: true
    ports: ["{port}:80"]
    healthcheck:
      test: ["CMD", "python3", "-c", "import socket; socket.create_connection(('127.0.0.1', 80))"]
      interval: 0.2s
"""
    addresses = []
    one, two = (write_project(tmp_path / name / "shop", compose) for name in ("one", "two"))
    for directory in (one, two):
        composer.run("up", "-d", "--wait", cwd=directory)
        listed = composer.run("ps", "--format", "json", cwd=directory).stdout
        (shown,) = json.loads(listed)["Publishers"]
        assert shown["PublishedPort"] == port
        addresses.append(shown["URL"])
    assert len(set(addresses)) == 2
    for address in addresses:
        assert address.startswith("127.")
        with socket.create_connection((address, port), timeout=PATIENCE):
            pass
    (own,) = [c["Names"][0] for c in composer.containers() if c["Names"] != ["/shop-web-1"]]
    composer.run("down", cwd=one)
    assert [c["Names"][0] for c in composer.containers()] == [own]
    assert composer.run("ps", "-q", cwd=two).stdout and not composer.run("ps", "-q", cwd=one).stdout
    composer.run("down", cwd=two)
    assert not composer.containers()
    done = composer.run("up", "-d", "--address", "192.0.2.1", cwd=one, status=None)
    assert done.returncode != 0
    assert "neither auto nor an address of 127.0.0.0/8" in done.stderr


def test_another_directorys_containers_are_not_taken_over_in_silence(
    composer: Composer, tmp_path: Path
) -> None:
    one, two, moved = (
        write_project(
            tmp_path / name / "shop",
            f"services: {{web: {{image: composer.local/host, command: sleep infinity, init: true, hostname: {name}}}}}",
        )
        for name in ("one", "two", "moved")
    )
    assert "takes over" not in composer.run("up", "-d", cwd=one).stderr
    done = composer.run("up", "-d", cwd=two)
    assert f"project shop is also that of {one}" in done.stderr
    assert "takes over" not in composer.run("up", "-d", cwd=two).stderr
    shutil.rmtree(two)
    assert "takes over" not in composer.run("up", "-d", cwd=moved).stderr
    composer.run("down", cwd=moved)


def test_a_shell_among_the_services(composer: Composer, project: Project) -> None:
    directory = project.write("""
services:
  web: {image: composer.local/host, command: sleep infinity, init: true, networks: [front]}
  db: {image: composer.local/host, command: sleep infinity, init: true, networks: [back]}
networks: {front: {}, back: {internal: true}}
""")
    composer.run("up", "-d", cwd=directory)
    composer.run("shell", "getent", "hosts", "web", "db", cwd=directory)
    composer.run("shell", "--network", "back", "getent", "hosts", "db", cwd=directory)
    composer.run("shell", "--network", "back", "getent", "hosts", "web", cwd=directory, status=2)
    done = composer.run("shell", "sh", "-c", "exit 7", cwd=directory, status=7)
    assert not done.stdout
    done = composer.run("shell", "--network", "other", "true", cwd=directory, status=1)
    assert f"project {project.name} has no network other" in done.stderr
    composer.run("down", cwd=directory)
    done = composer.run("shell", "true", cwd=directory, status=1)
    assert "composer up -d makes its networks" in done.stderr


def test_rules_that_somebody_takes_away_come_back(composer: Composer, project: Project) -> None:
    directory = project.write("""
services:
  web: {image: composer.local/host, command: sleep infinity, init: true}
""")
    composer.run("up", "-d", cwd=directory)
    table = table_name(tag_of(composer.paths.lib))
    with NetlinkSocket(NETLINK_NETFILTER) as netfilter:
        netfilter.transact(
            [nftables.begin(), nftables.delete_table(nftables.NFPROTO_INET, table), nftables.end()]
        )
        deadline = time.monotonic() + PATIENCE
        while table not in {
            nftables.decode_chain(reply).table for reply in netfilter.query(nftables.dump_chains())
        }:
            assert time.monotonic() < deadline, "the table has not come back"
            time.sleep(0.002)
    composer.run("down", cwd=directory)


def test_a_port_that_is_taken_when_it_would_be_published(composer: Composer, project: Project) -> None:
    port = free_port()
    directory = project.write(f"""
services:
  web:
    image: composer.local/host
    command: sleep infinity
    init: true
    ports: ["127.0.0.1:{port}:80"]
    networks: [inner]
networks: {{inner: {{internal: true}}}}
""")
    container = f"{project.name}-web-1"
    composer.run("up", "-d", cwd=directory)
    composer.run("network", "create", f"{project.name}_outer")
    with socket.create_server(("127.0.0.1", port)):
        done = composer.run("network", "connect", f"{project.name}_outer", container, status=1)
        name = Path("/proc/self/comm").read_text().strip()
        assert f"port is already allocated: {port} is held by {name}, pid {os.getpid()}" in done.stderr
    assert "eth1" not in composer.run("exec", "-T", "web", "cat", "/proc/net/dev", cwd=directory).stdout
    composer.run("network", "connect", f"{project.name}_outer", container)
    listed = composer.run("port", "web", "80", cwd=directory).stdout
    assert listed == f"127.0.0.1:{port}\n"
    composer.run("network", "disconnect", f"{project.name}_outer", container)
    composer.run("network", "rm", f"{project.name}_outer")
    composer.run("down", cwd=directory)


def socket_inside(composer: Composer, container: str, kind: int) -> socket.socket:
    """Of ours, in a container's network namespace."""
    pid = composer.inspect(container)["State"]["Pid"]
    netns = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return in_network_namespace(netns, lambda: socket.socket(socket.AF_INET, kind))
    finally:
        os.close(netns)


def test_no_question_for_a_name_is_lost_while_the_core_restarts(composer: Composer, project: Project) -> None:
    """Each question is asked once and answered, by whichever core; once, but for the one that a killed core had just
    answered when it was killed, which the next finds unanswered."""
    directory = project.write("""
services:
  web: {image: composer.local/host, command: sleep infinity, init: true}
""")
    composer.run("up", "-d", cwd=directory)
    asking = socket_inside(composer, f"{project.name}-web-1", socket.SOCK_DGRAM)
    answers: Counter[int] = Counter()
    with asking:
        asking.settimeout(30)  # a slow machine's engine is longer away than a resolver would wait
        asking.connect(("127.0.0.11", 53))

        def hear() -> int:
            answer = asking.recv(512)
            (number,) = struct.unpack_from("!H", answer)
            assert answer[3] & 15 == 0
            assert struct.unpack_from("!H", answer, 6) == (1,)
            answers[number] += 1
            return int(number)

        def ask(number: int, *, at_once: int = 1) -> None:
            for one in range(number, number + at_once):
                question = struct.pack("!6H", one, 0x100, 1, 0, 0, 0) + b"\3web\0" + struct.pack("!2H", 1, 1)
                asking.send(question)
            while len([1 for one in range(number, number + at_once) if answers[one]]) < at_once:
                hear()

        ask(0)
        number = 1
        old = composer.processes("composer-core")
        with ThreadPoolExecutor(1) as pool:
            killed = pool.submit(composer.kill, "composer-core")
            deadline = time.monotonic() + 2 * PATIENCE
            while not killed.done() or composer.processes("composer-core") in ([], old):
                assert time.monotonic() < deadline, "the core has not come back"
                ask(number, at_once=20)
                number += 20
            ask(number, at_once=20)
            number += 20
            killed.result()
        asking.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            while True:
                hear()
    assert sorted(answers) == list(range(number))
    doubled = [one for one, count in answers.items() if count > 1]
    assert len(doubled) <= 1, f"of {number} questions these were answered more than once: {doubled}"
    composer.run("down", cwd=directory)


def test_a_question_over_tcp_outlives_the_core(composer: Composer, project: Project) -> None:
    """A connection stays, and what has come of a question when the core is killed is answered by the next one."""
    directory = project.write("""
services:
  web: {image: composer.local/host, command: sleep infinity, init: true}
""")
    composer.run("up", "-d", cwd=directory)
    asking = socket_inside(composer, f"{project.name}-web-1", socket.SOCK_STREAM)
    question = struct.pack("!6H", 7, 0x100, 1, 0, 0, 0) + b"\3web\0" + struct.pack("!2H", 1, 1)
    framed = struct.pack("!H", len(question)) + question
    with asking, asking.makefile("rb") as answers:
        asking.settimeout(30)
        asking.connect(("127.0.0.11", 53))

        def hear() -> bytes:
            (length,) = struct.unpack("!H", answers.read(2))
            return answers.read(length)

        asking.sendall(framed)
        assert struct.unpack_from("!H", hear(), 6) == (1,)
        asking.sendall(framed[:9])
        old = composer.processes("composer-core")
        composer.kill("composer-core")
        asking.sendall(framed[9:] + framed)
        for _ in range(2):
            assert struct.unpack_from("!H", hear(), 6) == (1,)
        assert composer.processes("composer-core") != old
    composer.run("down", cwd=directory)


def test_two_engines_at_the_same_moment(composer: Composer, tmp_path: Path) -> None:
    """Neither knows of the other, and both choose: networks that do not overlap, names and addresses in order."""
    with running(tmp_path / "second", {}, lambda: False) as second:
        engines = (composer, second)
        directories = []
        for number, one in enumerate(engines):
            one.run("network", "ls")
            names = [f"n{count}" for count in range(3)]
            services = "".join(
                f"  {name}: {{image: composer.local/host, command: sleep infinity, init: true, networks: [{name}]}}\n"
                for name in names
            )
            networks = "".join(f"  {name}: {{}}\n" for name in names)
            text = f"services:\n{services}networks:\n{networks}"
            directories.append(write_project(tmp_path / f"engine{number}", text))
        with ThreadPoolExecutor(2) as pool:
            pairs = zip(engines, directories, strict=True)
            for done in [pool.submit(one.run, "up", "-d", cwd=where) for one, where in pairs]:
                done.result()
        subnets = []
        for one, where in zip(engines, directories, strict=True):
            for name in ("n0", "n1", "n2"):
                (shown,) = json.loads(one.run("network", "inspect", f"{where.name}_{name}").stdout)
                subnet = ipaddress.ip_network(shown["IPAM"]["Config"][0]["Subnet"])
                subnets.append(subnet)
                (endpoint,) = shown["Containers"].values()
                assert ipaddress.ip_interface(endpoint["IPv4Address"]).network == subnet
                found = one.run("exec", "-T", name, "getent", "ahostsv4", name, cwd=where).stdout
                assert ipaddress.ip_address(found.split()[0]) in subnet
        assert not any(a.overlaps(b) for n, a in enumerate(subnets) for b in subnets[:n])
        for one, where in zip(engines, directories, strict=True):
            one.run("down", "-t", "0", cwd=where)


def test_of_no_network_and_then_of_one(composer: Composer, project: Project) -> None:
    network, container = f"{project.name}-late", f"{project.name}-none"
    composer.run("network", "create", network)
    composer.run(
        "container",
        "run",
        "-d",
        "--name",
        container,
        "--network",
        "none",
        "composer.local/host",
        "sleep",
        "infinity",
    )
    composer.run("network", "connect", network, container, status=1)
    composer.run("network", "disconnect", "none", container)
    assert composer.run(
        "network", "ls", "--filter", f"name=^{network}$", "--format", "{{.Name}}"
    ).stdout.split() == [network]
    composer.run("network", "connect", network, container)
    joined = composer.run("container", "exec", container, "cat", "/proc/net/route", "/etc/resolv.conf").stdout
    assert "eth0" in joined
    assert "nameserver 127.0.0.11" in joined
    assert composer.run("container", "exec", container, "getent", "hosts", container).stdout.strip()
    # The sockets outlive the core, as those of the start would.
    composer.kill("composer-core")
    assert composer.run("container", "exec", container, "getent", "hosts", container).stdout.strip()
    # And another network is joined without others being made.
    composer.run("network", "connect", "bridge", container)
    assert composer.run("container", "exec", container, "getent", "hosts", container).stdout.strip()
    composer.run("container", "restart", "-t", "0", container)
    assert composer.run("container", "exec", container, "getent", "hosts", container).stdout.strip()
    composer.run("container", "rm", "-f", container)
    refused = composer.run(
        "container",
        "run",
        "--rm",
        "--network",
        network,
        "--ip",
        "172.30.1.2",
        "composer.local/host",
        "true",
        status=125,
    )
    assert "a subnet of the user's own" in refused.stderr
    composer.run("network", "rm", network)


def test_what_the_engine_refuses_has_its_place(composer: Composer, project: Project) -> None:
    directory = project.write(
        "services:\n  web:\n    image: composer.local/host\n    dns: [192.0.2.1, nobody]\n    networks: [front]\n"
        "networks:\n  front:\n    driver_opts: {com.docker.network.foo: x}\n"
    )
    assert "8:5: networks.front.driver_opts: " in composer.run("up", "-d", cwd=directory, status=1).stderr
    directory = project.write(
        "services:\n  web:\n    image: composer.local/host\n    networks:\n      front: {ipv4_address: 10.86.0.1}\n"
        "networks:\n  front:\n    ipam: {config: [{subnet: 10.87.0.0/24}]}\n"
    )
    assert (
        "5:29: services.web.networks.front.ipv4_address: "
        in composer.run("up", "-d", cwd=directory, status=1).stderr
    )
    directory = project.write(
        "services:\n  web:\n    image: composer.local/host\n    dns: [192.0.2.1, nobody]\n"
    )
    assert "4:22: services.web.dns[1]: " in composer.run("up", "-d", cwd=directory, status=1).stderr
    composer.run("down", cwd=directory)


OWN_ADDRESS = """
services:
  web:
    image: composer.local/host
    command: sleep infinity
    stop_grace_period: 0s
    environment: {GENERATION: "%s"}
    networks: {front: {ipv4_address: 10.86.7.10}}
networks:
  front: {ipam: {config: [{subnet: 10.86.7.0/24}]}}
"""


def test_a_service_with_an_address_of_its_own_is_made_again(composer: Composer, project: Project) -> None:
    composer.run("up", "-d", cwd=project.write(OWN_ADDRESS % "1"))
    directory = project.write(OWN_ADDRESS % "2")
    composer.run("up", "-d", cwd=directory)
    said = composer.run(
        "exec", "-T", "web", "sh", "-c", "echo $GENERATION; hostname -I", cwd=directory
    ).stdout
    assert said.split() == ["2", "10.86.7.10"]
    project.write(
        (OWN_ADDRESS % "3").replace("command:", "secrets: [gone]\n    command:") + SECRET_OF_NO_FILE
    )
    composer.run("up", "-d", cwd=directory, status=1)
    project.write(OWN_ADDRESS % "2")
    composer.run("up", "-d", cwd=directory)  # the one that was there, as it was
    said = composer.run(
        "exec", "-T", "web", "sh", "-c", "echo $GENERATION; hostname -I", cwd=directory
    ).stdout
    assert said.split() == ["2", "10.86.7.10"]
    composer.run("down", cwd=directory)


SECRET_OF_NO_FILE = """
secrets:
  gone: {file: ./gone}
"""

TALKING = """
services:
  server:
    image: composer.local/host
    command: ["python3", "-c", "import socket; a = socket.create_server(('', 80)); b = a.accept(), a.accept(); input()"]
    stdin_open: true
  client:
    image: composer.local/host
    command: ["python3", "-c", "import socket as s; c = s.create_connection(('server', 80)); print('open'); input()"]
    environment: {PYTHONUNBUFFERED: "1"}
    stdin_open: true
    restart: on-failure
    depends_on: [server]
    deploy: {replicas: 2}
"""


def test_connections_that_are_open_when_all_are_killed_leave_nothing(
    composer: Composer, project: Project
) -> None:
    """A connection whose other side is out of reach keeps its network namespace, and that its interface."""
    directory = project.write(TALKING)
    before = {path.name for path in Path("/sys/class/net").glob("cmv*")}
    composer.run("up", "-d", cwd=directory)
    wait_for(lambda: composer.run("logs", "client", cwd=directory).stdout.count("open") == 2, "connections")
    own = {path.name for path in Path("/sys/class/net").glob("cmv*")} - before
    assert len(own) >= 3
    composer.run("down", "-t", "0", cwd=directory)
    wait_for(lambda: not any(Path("/sys/class/net", name).exists() for name in own), "their end", timeout=20)


def test_an_interface_goes_though_a_connection_keeps_its_namespace(
    composer: Composer, project: Project
) -> None:
    """The clients are gone, namespaces and all, when the server ends: it says goodbye to nobody, for 100 s."""
    directory = project.write(TALKING)
    composer.run("up", "-d", cwd=directory)
    wait_for(lambda: composer.run("logs", "client", cwd=directory).stdout.count("open") == 2, "connections")
    network = composer.api("GET", f"/networks/{project.name}_default")["Id"]
    links = {
        name: Path(
            "/sys/class/net", host_interface(composer.inspect(f"{project.name}-{name}")["Id"], network)
        )
        for name in ("client-1", "client-2", "server-1")
    }
    assert all(link.exists() for link in links.values())

    def remove(*names: str) -> None:
        composer.run("container", "rm", "-f", *(f"{project.name}-{name}" for name in names))
        wait_for(lambda: not any(links[name].exists() for name in names), f"the end of {names}", timeout=20)

    remove("client-1", "client-2")
    remove("server-1")
    composer.run("down", cwd=directory)


def test_an_interface_of_the_last_start_is_in_nobodys_way(composer: Composer, project: Project) -> None:
    """The kernel takes a namespace apart some time after its end: until then the container's next pair has its name."""
    composer.run("network", "create", project.name)
    composer.run(
        "container",
        "create",
        "--name",
        "again",
        "--network",
        project.name,
        "composer.local/host",
        "sleep",
        "inf",
    )
    for is_left in (False, True):
        own = composer.inspect("again")
        network = composer.api("GET", f"/networks/{project.name}")["Id"]
        if is_left:
            with NetlinkSocket(NETLINK_ROUTE) as rtnl:
                rtnl.execute([rtnetlink.create_bridge(host_interface(own["Id"], network))])
        composer.run("container", "start", "again")
        assert "eth0" in composer.run("container", "exec", "again", "ls", "/sys/class/net").stdout
        with sockets.connect(
            composer.paths.container_run(own["Id"]) / "shim.sock", socket.SOCK_SEQPACKET
        ) as shim:
            sockets.send_packet(shim, {"op": "state"})
            answer = sockets.receive_packet(shim)
        assert answer is not None and answer[0]["is_direct"]
        composer.run("container", "kill", "again")
        composer.run("container", "wait", "again")
