"""Files in and out of containers, running or not."""

from __future__ import annotations

import socket
import tarfile

import pytest

from tests.e2e.conftest import Project
from tests.e2e.engine import PATIENCE, Composer, wait_for

FILE = """
services:
  web:
    image: composer.local/host
    command: [sleep, infinity]
    volumes: ["data:/data"]
volumes: {data: {}}
"""


def test_files_go_in_and_out(composer: Composer, project: Project) -> None:
    project.write(FILE, local="from here")
    here = {"cwd": project.directory}
    composer.run("up", "-d", **here)
    name = f"{project.name}-web-1"
    for state in ("running", "stopped"):
        if state == "stopped":
            composer.run("stop", "-t", "0", **here)
        composer.run("cp", "local", f"web:/data/{state}", **here)
        composer.run("cp", "local", f"web:/{state}", **here)
        composer.run("cp", f"web:/data/{state}", f"out-{state}", **here)
        assert (project.directory / f"out-{state}").read_text() == "from here"
        changes = composer.run("container", "diff", name).stdout.splitlines()
        assert f"A /{state}" in changes
        assert not any("/data/" in line for line in changes)
        done = composer.run("cp", "web:/missing", ".", status=1, **here)
        assert "Could not find the file /missing in container" in done.stderr
    composer.run("start", **here)
    assert (
        composer.run("exec", "-T", "web", "cat", "/data/stopped", "/stopped", **here).stdout
        == "from here" * 2
    )
    composer.run("export", "-o", "all.tar", "web", **here)
    with tarfile.open(project.directory / "all.tar") as tar:
        names = tar.getnames()
    assert "running" in names
    assert "stopped" in names
    assert "data/running" not in names


@pytest.mark.parametrize("what", ["export", "archive?path=/big"])
def test_who_reads_and_goes_away_takes_nobody_along(composer: Composer, what: str) -> None:
    """A client that leaves in the middle of a tar ends its own request, not the engine."""
    script = "head -c 64M /dev/zero > /big; sleep infinity"
    words = ("container", "run", "-d", "--rm", "--network", "none", "composer.local/host", "sh", "-c", script)
    container = composer.run(*words).stdout.strip()
    look = ("container", "exec", container, "stat", "-c", "%s", "/big")
    wait_for(lambda: composer.run(*look, status=None).stdout == f"{64 << 20}\n", "a big file")
    core = composer.processes("composer-core")
    for _ in range(3):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(str(composer.paths.socket))
            client.sendall(f"GET /containers/{container}/{what} HTTP/1.1\r\nHost: engine\r\n\r\n".encode())
            assert client.recv(1 << 16).startswith(b"HTTP/1.1 200")
    assert composer.inspect(container)["State"]["Running"]
    assert composer.processes("composer-core") == core
    composer.run("container", "rm", "-f", container)
