"""``pip install .`` into a fresh environment: everything that is needed goes along, and the command works."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.engine import Composer, wait_for

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(sys.prefix == sys.base_prefix, reason="needs a virtual environment")
def test_install(composer: Composer, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    run(sys.executable, "-m", "venv", str(environment))
    pip = (
        str(environment / "bin/python"),
        "-m",
        "pip",
        "install",
        "-qq",
        "--disable-pip-version-check",
        "--no-input",
    )
    # From a copy: building must not write into the checkout.
    source = tmp_path / "source"
    needed = ("composer", "runtime", "schemas", "README.md", "pyproject.toml")
    run("cp", "-a", "--reflink=auto", *(str(ROOT / name) for name in needed), "-t", str(mkdir(source)))
    run(*pip, str(source))
    run("rm", "-rf", str(source))

    program = str(environment / "bin/composer")
    assert "composer version v" in run(program, "version")
    project = mkdir(tmp_path / "installed")
    (project / "compose.yaml").write_text(
        "services: {web: {image: composer.local/host, command: sleep infinity}}"
    )
    run(program, "up", "-d", cwd=project, env=composer.env)
    listed = run(program, "ps", "--format", "json", cwd=project, env=composer.env)
    assert '"State":"running"' in listed.replace(": ", ":")
    run(program, "down", "-t", "0", cwd=project, env=composer.env)
    wait_for(lambda: not composer.containers(), "the container to be removed")


def mkdir(path: Path) -> Path:
    path.mkdir()
    return path


def run(*command: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command,
        cwd=cwd or "/",
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout
