"""A real registry (Debian's ``docker-registry``) on loopback, for tests that pull."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.engine import free_port

ROOT = Path(__file__).resolve().parent.parent
SHOP = ROOT / "examples/shop"
IMAGES = ROOT / ".cache/shop/images"
"""The shop's images, where ``examples/shop/run.sh`` has them too: made once, some minutes."""
START = 30.0


@contextlib.contextmanager
def registry(directory: Path) -> Iterator[str]:
    """Serve an empty registry below ``directory``; yields its host:port."""
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    configuration = directory / "registry.yml"
    configuration.write_text(
        "version: 0.1\n"
        "log: { level: warn }\n"
        f"storage: {{ filesystem: {{ rootdirectory: {directory}/data }} }}\n"
        f'http: {{ addr: "127.0.0.1:{port}" }}\n'
    )
    with open(directory / "log", "wb") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(configuration)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + START
        while not _answers(port):
            assert process.poll() is None, (directory / "log").read_text()
            assert time.monotonic() < deadline, "the registry does not answer"
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def fill(address: str) -> None:
    """Push the shop's images, which are made first if need be."""
    program = SHOP / "images.py"
    subprocess.run([sys.executable, str(program), str(IMAGES), address], check=True, stdin=subprocess.DEVNULL)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
