"""The README's first command, and the stack that it starts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.e2e.engine import Composer, free_port, wait_for

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = ROOT / "examples/quickstart"


def get(address: str) -> dict[str, int]:
    with urllib.request.urlopen(address, timeout=30) as answer:
        value: dict[str, int] = json.load(answer)
        return value


@pytest.mark.smoke
def test_quickstart(composer: Composer, tmp_path: Path) -> None:
    directory = tmp_path / "quickstart"
    shutil.copytree(QUICKSTART, directory)
    port = free_port()
    composer.environment["QUICKSTART_PORT"] = str(port)

    composer.run("up", "-d", "--wait", cwd=directory)

    rows = [
        json.loads(line) for line in composer.run("ps", "--format", "json", cwd=directory).stdout.splitlines()
    ]
    assert {row["Name"]: row["State"] for row in rows} == {
        "quickstart-store-1": "running",
        "quickstart-worker-1": "running",
        "quickstart-worker-2": "running",
        "quickstart-web-1": "running",
    }
    assert {row["Service"]: row["Health"] for row in rows} == {
        "store": "healthy",
        "worker": "",
        "web": "healthy",
    }
    assert composer.run("port", "web", "8000", cwd=directory).stdout.strip() == f"127.0.0.1:{port}"

    # Each visit becomes a job, which one of the two workers does.
    address = f"http://127.0.0.1:{port}/"
    for visit in range(1, 9):
        assert get(address)["visits"] == visit

    def done() -> int:
        return sum(number for name, number in counters().items() if name.startswith("jobs done by "))

    def counters() -> dict[str, int]:
        found: dict[str, int] = json.loads(
            composer.run("exec", "-T", "store", "python3", "store.py", "read", cwd=directory).stdout
        )
        return found

    wait_for(lambda: done() == 8, "the workers to do eight jobs")
    logs = composer.run("logs", "--no-color", cwd=directory).stdout
    assert "web-1" in logs and "store: 0 counters, listening on port 6400" in logs

    again = composer.run("up", "-d", cwd=directory)
    assert "Recreate" not in again.stdout + again.stderr

    # The data outlive the containers.
    composer.run("down", cwd=directory)
    assert composer.containers() == []
    composer.run("up", "-d", "--wait", cwd=directory)
    assert get(address)["visits"] == 9
    composer.run("down", "-v", cwd=directory)
    assert composer.api("GET", "/volumes")["Volumes"] == []


def test_the_readmes_first_command(composer: Composer, tmp_path: Path) -> None:
    """In another locale, and with a umask that lets nobody else read."""
    text = (ROOT / "README.md").read_text()
    assert "```sh\nsh examples/quickstart/run.sh\n```" in text
    environment = {
        **composer.env,
        "QUICKSTART_PORT": str(free_port()),
        "LC_ALL": "POSIX",
    }
    done = subprocess.run(
        ["sh", "-c", "umask 077; exec sh examples/quickstart/run.sh"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"visits": 1' in done.stdout
    assert "quickstart-web-1" in done.stdout
    composer.run("down", "-v", cwd=QUICKSTART)


def test_it_says_what_is_missing() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "examples/quickstart/run.sh"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("composer needs root")
