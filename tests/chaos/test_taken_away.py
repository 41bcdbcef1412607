"""What the engine has made is taken away by others: a bridge under a running project, the layers of an image. The next
command mends what it can, and says what it cannot."""

from __future__ import annotations

import shutil

import pytest

from runtime.kernel.netlink import rtnetlink
from runtime.kernel.netlink.transport import NETLINK_ROUTE, NetlinkSocket
from tests.e2e.conftest import Project
from tests.e2e.engine import Composer, wait_for

PAIR = """
services:
  web:
    image: composer.local/host
    command: python3 -m http.server 8000
    healthcheck:
      test: ["CMD", "python3", "-c", "import socket; socket.create_connection(('127.0.0.1', 8000)).close()"]
      interval: 1s
  client:
    image: composer.local/host
    init: true
    command: sleep infinity
"""
FETCH = "import urllib.request as r; print(r.urlopen('http://web:8000/', timeout=5).status)"


def test_a_bridge_under_a_running_project(composer: Composer, project: Project) -> None:
    directory = project.write(PAIR)
    composer.run("up", "-d", "--wait", cwd=directory)
    fetch = ["exec", "-T", "client", "python3", "-c", FETCH]
    assert composer.run(*fetch, cwd=directory).stdout == "200\n"
    pids = {name: composer.inspect(f"{project.name}-{name}-1")["State"]["Pid"] for name in ("web", "client")}
    bridge = f"cmp-{composer.api('GET', f'/networks/{project.name}_default')['Id'][:10]}"
    with NetlinkSocket(NETLINK_ROUTE) as socket:
        socket.execute([rtnetlink.delete_link(name=bridge)])
    # What runs runs on, and the next `up` brings the network back.
    composer.run("ps", cwd=directory)
    composer.run("up", "-d", "--wait", cwd=directory)
    wait_for(
        lambda: composer.run(*fetch, cwd=directory, status=None).stdout == "200\n",
        "the way to be there again",
    )
    for name, pid in pids.items():
        assert composer.inspect(f"{project.name}-{name}-1")["State"]["Pid"] == pid, "it was restarted"
    composer.run("down", "-t", "0", cwd=directory)
    assert composer.containers() == []


@pytest.mark.parametrize("is_known", [True, False], ids=["while it runs", "between two engines"])
def test_layers_of_an_image(composer: Composer, project: Project, base: str, is_known: bool) -> None:
    directory = project.write(f"services: {{web: {{image: {base}, command: sleep infinity}}}}")
    composer.run("image", "save", "-o", str(directory / "base.tar"), base)
    if not is_known:
        composer.run("engine", "stop")
    for layer in (composer.paths.images / "layers").iterdir():
        if not layer.name.startswith("."):
            shutil.rmtree(layer)
    failed = composer.run("up", "-d", cwd=directory, status=None)
    assert failed.returncode != 0
    assert base in failed.stderr, failed.stderr
    assert "Traceback" not in failed.stderr
    composer.run("down", "-t", "0", cwd=directory)
    # Loading it again mends it, and so does removing it.
    composer.run("image", "load", "-i", str(directory / "base.tar"))
    composer.run("up", "-d", cwd=directory)
    composer.run("down", "-t", "0", cwd=directory)
    composer.run("image", "rm", base)
    assert "No problems found" in composer.run("system", "fsck").stdout
