"""What Docker's clients and libraries count on at the engine's socket, beyond the JSON."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from tests.e2e.engine import PATIENCE, Composer, wait_for

IMAGE = "composer.local/host"


@pytest.fixture
def sleeper(composer: Composer) -> str:
    composer.run("container", "run", "-d", "--name", "one", "--network", "none", IMAGE, "sleep", "infinity")
    return "one"


def begin_exec(composer: Composer, container: str, *words: str, **more: Any) -> tuple[str, socket.socket]:
    """Start a command as docker-py does; its id, and the connection, on which nothing has been read."""
    body = {"Cmd": words, "AttachStdout": True, "AttachStderr": True, **more}
    made: str = composer.api("POST", f"/containers/{container}/exec", body)["Id"]
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(PATIENCE)
    connection.connect(str(composer.paths.socket))
    start = json.dumps({"Detach": False, "Tty": bool(more.get("Tty"))}).encode()
    connection.sendall(
        f"POST /v1.41/exec/{made}/start HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(start)}\r\n\r\n".encode()
        + start
    )
    return made, connection


def read_as_docker_py(connection: socket.socket) -> tuple[bytes, bytes]:
    """The status line, read with a buffer as http.client does, and then everything from the socket itself."""
    with connection, connection.makefile("rb") as head:
        status = head.readline()
        while head.readline().strip():
            pass
        said = b""
        while data := connection.recv(65536):
            said += data
    return status, said


def test_output_does_not_come_with_the_head(composer: Composer, sleeper: str) -> None:
    """docker-py loses what its buffer holds beyond the head."""
    for tty, said in ((False, b"\x01\0\0\0\0\0\0\x02hi"), (True, b"hi")):
        made, connection = begin_exec(composer, sleeper, "printf", "hi", Tty=tty)
        wait_for(lambda made=made: not composer.api("GET", f"/exec/{made}/json")["Running"], "its end")  # type: ignore[misc]
        assert read_as_docker_py(connection) == (b"HTTP/1.1 101 UPGRADED\r\n", said)


def test_an_exec_in_one_request(composer: Composer, sleeper: str) -> None:
    """What our own command does, and Docker's API has not: the last frame is the exit status."""
    made = "0123456789abcdef" * 4
    body = json.dumps({"Cmd": ["sh", "-c", "echo out; exit 41"], "AttachStdout": True, "AttachStderr": True})
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(PATIENCE)
    connection.connect(str(composer.paths.socket))
    connection.sendall(
        f"POST /composer/v1/containers/{sleeper}/exec?id={made} HTTP/1.1\r\nHost: x\r\n"
        "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    connection.shutdown(socket.SHUT_WR)
    assert read_as_docker_py(connection) == (
        b"HTTP/1.1 101 UPGRADED\r\n",
        b"\x01\0\0\0\0\0\0\x04out\n\x04\0\0\0\0\0\0\x0241",
    )
    assert composer.api("GET", f"/exec/{made}/json")["ExitCode"] == 41
    for refused in (made, "../etc"):
        with pytest.raises(AssertionError, match=r"400.*invalid exec id"):
            composer.api("POST", f"/composer/v1/containers/{sleeper}/exec?id={refused}", json.loads(body))


def test_what_cannot_be_started_is_told_in_the_stream(composer: Composer, sleeper: str) -> None:
    """Docker's command shows nothing of an error of the request but its number."""
    made, connection = begin_exec(composer, sleeper, "nosuch")
    status, said = read_as_docker_py(connection)
    assert status == b"HTTP/1.1 101 UPGRADED\r\n"
    assert said[:1] == b"\x01" and b'"nosuch": executable file not found in $PATH' in said
    assert composer.api("GET", f"/exec/{made}/json")["ExitCode"] == 127
    failed = composer.run("container", "exec", sleeper, "/etc", status=126)
    assert 'exec: "/etc": is a directory: permission denied' in failed.stderr


def test_limits_that_no_machine_could_set_are_refused_when_a_container_is_made(composer: Composer) -> None:
    composer.run("container", "ls")
    for limits, said in (
        ({"CpuPeriod": 10}, "CPU cfs period can not be less than 1ms"),
        ({"CpusetCpus": "a"}, "invalid cpuset_cpus: 'a'"),
        ({"BlkioWeight": 5}, "Range of blkio weight is from 10 to 1000"),
        (
            {"Memory": 20 << 20, "MemoryReservation": 30 << 20},
            "can not be less than memory reservation limit",
        ),
    ):
        with pytest.raises(AssertionError, match=f"400.*{said}"):
            composer.api("POST", "/containers/create", {"Image": IMAGE, "HostConfig": limits})
    assert not composer.containers()


def test_the_swap_of_a_container_with_a_limit_is_changed_alone(composer: Composer) -> None:
    words = ("-d", "--name", "one", "--network", "none", "--memory", "50m", IMAGE, "sleep", "infinity")
    composer.run("container", "run", *words)
    composer.api("POST", "/containers/one/update", {"MemorySwap": 200 << 20})
    assert composer.inspect("one")["HostConfig"]["MemorySwap"] == 200 << 20
    with pytest.raises(AssertionError, match="should be larger than memory limit"):
        composer.api("POST", "/containers/one/update", {"MemorySwap": 20 << 20})
