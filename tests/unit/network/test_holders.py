"""Who holds a port that cannot be published."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import pytest

from runtime.container.config import PortBinding
from runtime.errors import Conflict
from runtime.network.ports import foreign_container, release, reserve_ports

ID = "0123456789ab" + "c" * 52


def process(proc: Path, *words: str, cgroup: str = "0::/") -> int:
    directory = proc / "812"
    directory.mkdir()
    (directory / "cmdline").write_bytes("\0".join((*words, "")).encode())
    (directory / "cgroup").write_text(cgroup + "\n")
    return 812


@pytest.mark.parametrize(
    ("cgroup", "said"),
    [
        (f"12:cpu:/docker/{ID}", "container 0123456789ab of Docker"),
        (f"0::/system.slice/docker-{ID}.scope", "container 0123456789ab of Docker"),
        (f"0::/machine.slice/libpod-{ID}.scope", "container 0123456789ab of Libpod"),
        ("0::/system.slice/nginx.service", ""),
    ],
)
def test_the_container_of_another_engine(tmp_path: Path, cgroup: str, said: str) -> None:
    assert foreign_container(process(tmp_path, "nginx", cgroup=cgroup), tmp_path) == said


def test_docker_s_proxy_is_known(tmp_path: Path) -> None:
    words = ("/usr/bin/docker-proxy", "-proto", "tcp", "-container-ip", "172.17.0.2", "-container-port", "80")
    assert foreign_container(process(tmp_path, *words), tmp_path) == "for Docker's container at 172.17.0.2"


def test_a_process_that_is_gone(tmp_path: Path) -> None:
    assert foreign_container(812, tmp_path) == ""


def test_the_message_names_port_process_and_container() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]

        def owner(protocol: str, host_ip: str, number: int, pid: int) -> str:
            return "container x of project y" if pid == os.getpid() else ""

        asked = [PortBinding(container_port=80, host_ip="127.0.0.1", host_port=port)]
        with pytest.raises(Conflict) as caught:
            reserve_ports(asked, owner=owner)
    name = Path("/proc/self/comm").read_text().strip()
    expected = f"{port} is held by {name}, pid {os.getpid()}, container x of project y"
    assert caught.value.message.endswith(expected)


def test_what_is_said_is_about_the_port_that_is_held() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        taken = held.getsockname()[1]
        asked = [
            PortBinding(container_port=80, host_ip="127.0.0.1"),
            PortBinding(container_port=81, host_ip="127.0.0.1", host_port=taken),
        ]
        with pytest.raises(Conflict) as caught:
            reserve_ports(asked)
    assert caught.value.about == "ports[1]"


def test_of_a_range_only_the_last_one_is_asked_about() -> None:
    asked: list[int] = []

    def owner(protocol: str, host_ip: str, number: int, pid: int) -> str:
        asked.append(number)
        return "container x"

    with contextlib.ExitStack() as stack:
        first = _held_row(stack, 3)
        ports = PortBinding(container_port=80, host_ip="127.0.0.1", host_port=first, host_port_end=first + 3)
        (made,) = reserve_ports([ports], owner=owner)
        stack.callback(release, [made])
        assert made.port.host_port == first + 3
        assert not asked
        with pytest.raises(
            Conflict, match=rf"no port of the range is free .*{first + 3} is held by container x"
        ):
            reserve_ports([ports], owner=owner)
        assert asked == [first + 3]


def _held_row(stack: contextlib.ExitStack, count: int) -> int:
    """The first of ``count`` ports in a row that are held; the one after them is free."""
    for first in range(21000, 31000, 10):
        with contextlib.ExitStack() as some:
            try:
                for port in range(first, first + count):
                    some.enter_context(socket.create_server(("127.0.0.1", port)))
                socket.create_server(("127.0.0.1", first + count)).close()
            except OSError:
                continue
            stack.enter_context(some.pop_all())
            return first
    raise AssertionError("no free ports")
