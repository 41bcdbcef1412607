"""PostgreSQL, Redis, a migration and a web application, pulled from a real registry."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.engine import Composer, free_port
from tests.registry import fill, registry

SHOP = Path(__file__).resolve().parents[2] / "examples/shop"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """host:port of a registry that has the shop's images."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with registry(tmp_path_factory.mktemp("registry")) as address:
        fill(address)
        yield address


@pytest.fixture
def shop(composer: Composer, images: str, tmp_path: Path) -> Path:
    """The shop's directory, its images at the registry."""
    directory = tmp_path / "shop"
    shutil.copytree(SHOP, directory, ignore=shutil.ignore_patterns(".env"))
    (directory / ".env").write_text(
        f"DB_PASSWORD='it is a $ecret'\nSHOP_PORT={free_port()}\nREGISTRY={images}\n"
    )
    return directory


def ask(composer: Composer, directory: Path, path: str, method: str = "GET") -> dict[str, Any]:
    address = composer.run("port", "web", "8000", cwd=directory).stdout.strip()
    request = urllib.request.Request(f"http://{address}{path}", method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def test_shop(composer: Composer, shop: Path) -> None:
    composer.run("up", "-d", "--wait", cwd=shop, timeout=300)
    rows = [
        json.loads(line)
        for line in composer.run("ps", "-a", "--format", "json", cwd=shop).stdout.splitlines()
    ]
    assert {row["Service"]: (row["State"], row["ExitCode"]) for row in rows} == {
        "db": ("running", 0),
        "cache": ("running", 0),
        "web": ("running", 0),
        "migrate": ("exited", 0),
    }
    assert ask(composer, shop, "/") == {"visits": 1, "stock": {"cake": 12, "coffee": 80, "tea": 100}}
    assert ask(composer, shop, "/buy/tea", "POST") == {"bought": "tea", "left": 99}

    count = ["exec", "-T", "db", "psql", "-U", "shop", "-Atc", "SELECT sum(stock) FROM product", "shop"]
    assert composer.run(*count, cwd=shop).stdout == "191\n"
    assert composer.run("exec", "-T", "cache", "redis-cli", "get", "visits", cwd=shop).stdout.strip() == "1"
    # The back network is internal, and the cache is confined as the file says.
    status = composer.run("exec", "-T", "cache", "cat", "/proc/1/status", cwd=shop).stdout
    assert "CapEff:\t0000000000000000" in status
    done = composer.run("exec", "-T", "cache", "sh", "-c", "echo x > /etc/x", cwd=shop, status=None)
    assert "Read-only file system" in done.stderr

    # Data survive down and up; they do not survive down -v.
    composer.run("down", cwd=shop)
    assert composer.containers() == []
    composer.run("up", "-d", "--wait", cwd=shop)
    assert ask(composer, shop, "/")["stock"]["tea"] == 99
    logs = composer.run("logs", "--no-log-prefix", "migrate", cwd=shop).stdout
    assert logs == "migrate: the schema is at step 3\n"
    composer.run("down", "-v", cwd=shop)
    composer.run("up", "-d", "--wait", cwd=shop)
    assert ask(composer, shop, "/")["stock"]["tea"] == 100
    composer.run("down", "-v", "--rmi", "all", cwd=shop)
    assert [name for image in composer.api("GET", "/images/json") for name in image["RepoTags"] or ()] == [
        "composer.local/host:latest"
    ]


def test_short_names_come_from_a_mirror(composer: Composer, images: str, tmp_path: Path) -> None:
    """``redis:7`` is Docker Hub's; the configuration says where to look first."""
    configuration = tmp_path / "engine.json"
    configuration.write_text(json.dumps({"registry-mirrors": {"docker.io": [f"http://{images}"]}}))
    composer.environment["COMPOSER_CONFIG"] = str(configuration)
    push_as(images, "redis:7", "library/redis:7")
    directory = tmp_path / "mirrored"
    directory.mkdir()
    (directory / "compose.yaml").write_text("""
services:
  cache:
    image: redis:7
    healthcheck: {test: redis-cli ping, interval: 5s}
""")
    composer.run("up", "-d", "--wait", cwd=directory)
    assert composer.inspect("mirrored-cache-1")["Config"]["Image"] == "redis:7"
    composer.run("down", "-v", cwd=directory)


def push_as(address: str, source: str, target: str) -> None:
    copy = ["skopeo", "copy", "-q", "--insecure-policy", "--src-tls-verify=false", "--dest-tls-verify=false"]
    subprocess.run([*copy, f"docker://{address}/{source}", f"docker://{address}/{target}"], check=True)
