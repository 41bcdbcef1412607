"""SCTP: published and between services where the kernel speaks it, one clear sentence where it does not."""

from __future__ import annotations

import errno
import socket
import threading
from pathlib import Path

import pytest

from runtime.kernel import namespaces, syscalls
from runtime.kernel.netlink import rtnetlink
from runtime.kernel.netlink.transport import NETLINK_ROUTE, NetlinkSocket
from runtime.network.connect import in_network_namespace
from runtime.network.ports import IPPROTO_SCTP
from tests.e2e.conftest import Project
from tests.e2e.engine import PATIENCE, Composer, wait_for

HOST, MACHINE = "198.51.100.141", "198.51.100.142"
LINK = "sctpuplink"
SERVER = """
import socket
listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("0.0.0.0", 80))
listener.listen()
print("listening", flush=True)
while True:
    client, address = listener.accept()
    with client:
        client.sendall(b"from " + address[0].encode())
"""
CLIENT = """
import socket, sys
client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132)
client.settimeout(60)
client.connect((sys.argv[1], int(sys.argv[2])))
print(client.recv(64).decode())
"""
QUESTION = """
import socket, struct
labels = b"".join(bytes([len(label)]) + label for label in b"_80._sctp.web".split(b"."))
asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asker.settimeout(60)
asker.sendto(struct.pack("!6H", 7, 256, 1, 0, 0, 0) + labels + bytes([0, 0, 33, 0, 1]), ("127.0.0.11", 53))
answer = asker.recv(512)
record = answer[12 + len(labels) + 5:]
print(*struct.unpack_from("!HHH", answer, 2)[::2], struct.unpack_from("!HHHIHHHH", record)[-1])
"""


def has_sctp() -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_SCTP).close()
    except OSError as error:
        if error.errno in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT):
            return False
        raise
    return True


def write(project: Project) -> Path:
    return project.write(
        """
services:
  web:
    image: composer.local/host
    command: [python3, /program]
    init: true
    ports: ["80/sctp"]
    configs: [{source: server, target: /program}, {source: client, target: /client}]
    healthcheck:
      test: [CMD, python3, /client, 127.0.0.1, "80"]
      interval: 0.5s
      timeout: 30s
      retries: 100
    networks: [front]
  other:
    image: composer.local/host
    command: [sleep, infinity]
    init: true
    configs: [{source: client, target: /client}, {source: question, target: /question}]
    networks: [front]
networks: {front: {}}
configs: {server: {file: server.py}, client: {file: client.py}, question: {file: question.py}}
""",
        server_py=SERVER,
        client_py=CLIENT,
        question_py=QUESTION,
    )


def ask(address: str, port: int) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_SCTP) as client:
        client.settimeout(PATIENCE)
        client.connect((address, port))
        return client.recv(64).decode()


def another_machine() -> int:
    """Descriptor of a network namespace behind a cable to this machine; the cable goes with it."""
    made: list[int] = []

    def make() -> None:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        made.append(namespaces.open_namespace("thread-self", "net"))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    (machine,) = made
    with NetlinkSocket(NETLINK_ROUTE) as rtnl:
        rtnl.execute([rtnetlink.create_veth(LINK, peer="wire", peer_netns=machine)])
        rtnl.execute([rtnetlink.add_address(socket.if_nametoindex(LINK), f"{HOST}/30")])

    def other_end() -> None:
        with NetlinkSocket(NETLINK_ROUTE) as rtnl:
            index = socket.if_nametoindex("wire")
            rtnl.execute([rtnetlink.add_address(index, f"{MACHINE}/30"), rtnetlink.set_link_up(index)])

    in_network_namespace(machine, other_end)
    return machine


@pytest.mark.skipif(not has_sctp(), reason="needs a kernel with SCTP")
def test_published_sctp(composer: Composer, project: Project) -> None:
    directory = write(project)
    # An emulated machine that shares its processors may take longer than a command waits.
    wait_for(lambda: composer.run("engine", "start", status=None).returncode == 0, "the engine to start")
    composer.run("up", "-d", "--wait", cwd=directory)
    shown = composer.run("port", "--protocol", "sctp", "web", "80", cwd=directory).stdout
    port = int(shown.strip().rpartition(":")[2])
    assert f":{port}->80/sctp" in composer.run("ps", cwd=directory).stdout
    assert ask("127.0.0.1", port).startswith("from ")

    def inside(*words: str) -> str:
        return composer.run("exec", "-T", "other", "python3", *words, cwd=directory).stdout.strip()

    networks = composer.inspect(f"{project.name}-other-1")["NetworkSettings"]["Networks"]
    place = networks[f"{project.name}_front"]
    assert inside("/client", "web", "80") == f"from {place['IPAddress']}"
    assert inside("/client", place["Gateway"], str(port)).startswith("from ")
    # The answer's status (no error), how many records it has, and the port.
    assert inside("/question").split()[1:] == ["1", "80"]
    machine = another_machine()
    try:
        assert in_network_namespace(machine, lambda: ask(HOST, port)) == f"from {MACHINE}"
    finally:
        with NetlinkSocket(NETLINK_ROUTE) as rtnl:
            rtnl.execute([rtnetlink.delete_link(name=LINK)])


@pytest.mark.skipif(has_sctp(), reason="needs a kernel without SCTP")
def test_a_kernel_without_sctp(composer: Composer, project: Project) -> None:
    directory = write(project)
    refused = composer.run("up", "-d", cwd=directory, status=None)
    assert refused.returncode == 1
    assert "services.web.ports[0]" in refused.stderr
    assert "this kernel has no SCTP" in refused.stderr
    assert "CONFIG_IP_SCTP" in refused.stderr
    assert "Traceback" not in refused.stderr
