"""Keys in files: an agent has them for the length of a build, and no longer."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from runtime.build.worker.ssh_agents import agent_with
from runtime.errors import ComposerError

pytestmark = pytest.mark.skipif(shutil.which("ssh-agent") is None, reason="needs OpenSSH's client")


def _key(path: Path, phrase: str = "") -> str:
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", phrase, "-C", path.name, "-f", str(path)]
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
    path.chmod(0o644)
    return str(path)


async def test_an_agent_has_the_keys_until_the_end(tmp_path: Path) -> None:
    # Longer than the address of a socket has room for.
    place = tmp_path / ("long" * 30)
    place.mkdir(parents=True)
    keys = [_key(tmp_path / name) for name in ("one", "two")]
    async with agent_with(keys, place, os.environ) as socket:
        listed = subprocess.run(
            ["ssh-add", "-l"], cwd=place, env={**os.environ, "SSH_AUTH_SOCK": "agent"}, capture_output=True
        )
        assert socket == f"{place}/agent"
        assert [line.split()[2] for line in listed.stdout.decode().splitlines()] == ["one", "two"]
    refused = subprocess.run(
        ["ssh-add", "-l"], cwd=place, env={**os.environ, "SSH_AUTH_SOCK": "agent"}, capture_output=True
    )
    assert refused.returncode  # nobody answers


@pytest.mark.parametrize("kind", ["phrase", "none", "text"])
async def test_what_is_no_key_is_told(kind: str, tmp_path: Path) -> None:
    key = tmp_path / "key"
    if kind == "phrase":
        _key(key, "secret")
    elif kind == "text":
        key.write_text("no key")
    (tmp_path / "agent").mkdir()
    with pytest.raises(ComposerError, match=f"ssh key {key}: "):
        async with agent_with([str(key)], tmp_path / "agent", os.environ):
            pass
