"""Another version of composer under running containers: the engine gives way, and nothing else changes."""

from __future__ import annotations

import re
import shutil
import urllib.request
from pathlib import Path

import pytest

from composer import __version__
from tests.e2e.conftest import Project
from tests.e2e.engine import Composer, is_gone, wait_for

ROOT = Path(__file__).resolve().parents[2]
NEWER = "999.0.0"
OLDER = "0.0.1"
STACK = """
services:
  web:
    image: composer.local/host
    command: python3 -m http.server 8000
    ports: ["127.0.0.1::8000"]
    healthcheck: {test: "true", interval: 1s}
  count:
    image: composer.local/host
    init: true
    command: sh -c 'i=0; while :; do echo line $$i; i=$$((i+1)); sleep 0.02; done'
"""


@pytest.fixture
def newer(tmp_path: Path) -> dict[str, str]:
    """The environment of a command whose package is a newer one."""
    place = tmp_path / "newer"
    _install(place, NEWER)
    return {"PYTHONPATH": str(place)}


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A package of an older version, for PYTHONPATH, whose engine writes an older schema."""
    place = tmp_path / "package"
    _install(place, OLDER)
    state = place / "runtime/storage/state.py"
    text = state.read_text()
    (place / "runtime/storage/state.py").write_text(
        text.replace("SCHEMA_VERSION = len(_MIGRATIONS)", "SCHEMA_VERSION = len(_MIGRATIONS) - 1")
    )
    assert "len(_MIGRATIONS) - 1" in state.read_text()
    return place


def _install(place: Path, version: str) -> None:
    """As pip does over what is there: those files go, and others come."""
    shutil.rmtree(place, ignore_errors=True)
    for name in ("composer", "runtime", "schemas"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    init = place / "composer/__init__.py"
    init.write_text(init.read_text().replace(f'"{__version__}"', f'"{version}"'))


def version(composer: Composer) -> str:
    found: str = composer.api("GET", "/composer/v1/engine")["Version"]
    return found


def lines(composer: Composer, directory: Path) -> list[int]:
    out = composer.run("logs", "--no-log-prefix", "count", cwd=directory).stdout
    return [int(line.split()[1]) for line in out.splitlines()]


def test_a_newer_command_brings_its_engine(
    composer: Composer, project: Project, newer: dict[str, str]
) -> None:
    directory = project.write(STACK)
    composer.run("up", "-d", "--wait", cwd=directory)
    names = [f"{project.name}-{service}-1" for service in ("web", "count")]
    before = {name: composer.inspect(name)["State"] for name in names}
    (core,), (keeper,) = composer.processes("composer-core"), composer.processes("composer-keeper")
    shims = composer.processes("composer-shim")
    follower = composer.start("logs", "-f", "--no-log-prefix", "count", cwd=directory)

    # A look at the engine is no reason to replace it.
    assert f"Version:     {__version__}" in composer.run("engine", "status", env=newer).stdout
    assert version(composer) == __version__

    shown = composer.run("ps", "-q", cwd=directory, env=newer)
    assert f"The engine is replaced: composer {__version__} by {NEWER}" in shown.stderr
    assert len(shown.stdout.split()) == 2
    assert version(composer) == NEWER
    assert composer.processes("composer-core") == [core]
    wait_for(lambda: is_gone(keeper), "the keeper of the older version to end")
    assert composer.processes("composer-shim") == shims
    for name in names:
        now = composer.inspect(name)["State"]
        assert (now["Pid"], now["StartedAt"]) == (before[name]["Pid"], before[name]["StartedAt"])
    assert composer.inspect(names[0])["State"]["Health"]["Status"] == "healthy"

    # What shims of the older version do for the newer engine: exec, logs, exit statuses; ports are open as before.
    assert composer.run("exec", "-T", "count", "echo", "in", cwd=directory, env=newer).stdout == "in\n"
    address = composer.run("port", "web", "8000", cwd=directory, env=newer).stdout.strip()
    with urllib.request.urlopen(f"http://{address}/", timeout=30) as answer:
        assert answer.status == 200
    seen = lines(composer, directory)
    assert seen == list(range(len(seen)))
    composer.run("stop", "-t", "0", "web", cwd=directory, env=newer)
    assert composer.inspect(names[0])["State"]["ExitCode"] == 137
    composer.run("up", "-d", cwd=directory, env=newer)

    # A core that dies comes back as what it was.
    composer.kill("composer-core")
    assert composer.run("ps", "-q", cwd=directory, env=newer).stderr == ""
    assert version(composer) == NEWER

    # An older command is told, once, and does its work.
    shown = composer.run("ps", "-q", cwd=directory)
    assert len(shown.stdout.split()) == 2
    assert len(re.findall("newer than this command", shown.stderr)) == 1
    assert shown.stderr.count("\n") == 1

    # Who followed a log did not notice.
    assert follower.poll() is None, follower.communicate()[1]
    composer.run("down", "-t", "0", cwd=directory, env=newer)
    out, err = follower.communicate(timeout=60)
    followed = [int(line.split()[1]) for line in out.splitlines() if line.startswith("line ")]
    assert followed == list(range(len(followed))), err
    assert len(followed) > len(seen)
    assert "Traceback" not in composer.paths.engine_log.read_text()


def test_an_engine_at_work_is_left_alone(composer: Composer, project: Project, newer: dict[str, str]) -> None:
    directory = project.write(STACK)
    attached = composer.start(
        "run", "--rm", "-T", "count", "sh", "-c", "echo begun; sleep 600", cwd=directory
    )
    assert attached.stdout is not None
    assert attached.stdout.readline() == "begun\n"
    shown = composer.run("ps", "-a", "-q", cwd=directory, env=newer)
    assert "at work for others" in shown.stderr
    assert version(composer) == __version__
    assert attached.poll() is None
    attached.terminate()
    attached.communicate(timeout=60)
    shown = composer.run("ps", "-a", "-q", cwd=directory, env=newer)
    assert "The engine is replaced" in shown.stderr
    assert version(composer) == NEWER
    composer.run("down", "-t", "0", "--remove-orphans", cwd=directory, env=newer)


def test_exec_in_an_older_engine_at_work(composer: Composer, project: Project, older: Path) -> None:
    """It does not know how to make and start an exec in one request."""
    routes = older / "composer/api/routes_exec.py"
    known = routes.read_text().splitlines(keepends=True)
    old = [line for line in known if '"/composer/v1/containers/{id}/exec"' not in line]
    assert len(old) == len(known) - 1
    routes.write_text("".join(old))
    env = {"PYTHONPATH": str(older)}
    directory = project.write(STACK)
    composer.run("up", "-d", "--wait", "count", cwd=directory, env=env)
    attached = composer.start(
        "exec", "-T", "count", "sh", "-c", "echo begun; sleep 600", cwd=directory, env={**composer.env, **env}
    )
    assert attached.stdout is not None
    assert attached.stdout.readline() == "begun\n"
    done = composer.run("exec", "-T", "count", "sh", "-c", "echo in; exit 5", cwd=directory, status=5)
    assert done.stdout == "in\n"
    assert "at work for others" in done.stderr
    assert version(composer) == OLDER
    attached.kill()
    attached.communicate(timeout=60)
    composer.run("down", "-t", "0", cwd=directory)


def test_an_engine_that_cannot_run(composer: Composer, project: Project, newer: dict[str, str]) -> None:
    """The older one goes on."""
    directory = project.write(STACK)
    composer.run("up", "-d", "--wait", "count", cwd=directory)
    pid = composer.inspect(f"{project.name}-count-1")["State"]["Pid"]
    core = Path(newer["PYTHONPATH"]) / "composer/core.py"
    core.write_text("raise SystemExit('no engine')\n")
    shown = composer.run("ps", "-q", cwd=directory, env=newer)
    assert len(shown.stdout.split()) == 1
    assert f"the engine is composer {__version__}" in shown.stderr
    assert composer.inspect(f"{project.name}-count-1")["State"]["Pid"] == pid
    composer.run("down", "-t", "0", cwd=directory)


def test_back_to_an_older_version(composer: Composer, project: Project, older: Path) -> None:
    """It does not touch what it may not write; the newer one goes on where it was."""
    directory = project.write(STACK)
    env = {"PYTHONPATH": str(older)}
    composer.run("up", "-d", "--wait", cwd=directory, env=env)
    assert version(composer) == OLDER
    names = [f"{project.name}-{service}-1" for service in ("web", "count")]
    pids = [composer.inspect(name)["State"]["Pid"] for name in names]
    composer.run("ps", cwd=directory)
    assert version(composer) == __version__
    composer.run("engine", "stop", env=env)
    refused = composer.run("ps", cwd=directory, env=env, status=1)
    assert "was written by a newer composer" in refused.stderr
    assert "Install the newer version again" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert composer.run("ps", "-q", cwd=directory).stderr == ""
    assert [composer.inspect(name)["State"]["Pid"] for name in names] == pids
    seen = lines(composer, directory)
    assert seen == list(range(len(seen)))
    composer.run("down", "-t", "0", cwd=directory)


@pytest.mark.parametrize("how", ["replaced", "removed"])
def test_a_package_that_changes_under_the_engine(
    composer: Composer, project: Project, older: Path, how: str
) -> None:
    """What the engine has not imported yet it does not take from another version; the next core is whole."""
    directory = project.write(STACK, Dockerfile="FROM scratch\nCOPY compose.yaml /\n")
    env = {"PYTHONPATH": str(older)}
    composer.run("up", "-d", "--wait", cwd=directory, env=env)
    names = [f"{project.name}-{service}-1" for service in ("web", "count")]
    pids = [composer.inspect(name)["State"]["Pid"] for name in names]
    (keeper,) = composer.processes("composer-keeper")
    (core,) = composer.processes("composer-core")
    elsewhere = shutil.copytree(older, older.with_name("elsewhere"))
    if how == "removed":
        shutil.rmtree(older)
    else:
        _install(older, NEWER)
    # Everyday's work goes on; what needs more of the program is refused in a sentence.
    composer.api("GET", "/containers/json")
    composer.api("POST", f"/containers/{names[0]}/restart?t=0")
    same = {"PYTHONPATH": str(elsewhere)}
    assert composer.run("exec", "-T", "count", "echo", "in", cwd=directory, env=same).stdout == "in\n"
    refused = composer.run("image", "build", str(directory), env=same, status=1).stderr
    assert f"composer was {how} on the disk while this engine ({OLDER}) runs" in refused
    assert "composer engine stop" in refused
    assert composer.processes("composer-core") == [core]
    if how == "removed":  # and a command of another installation takes over
        shown = composer.run("ps", "-q", cwd=directory)
    else:
        composer.kill("composer-core")
        shown = composer.run("ps", "-q", cwd=directory, env=env)
        assert version(composer) == NEWER
    assert len(shown.stdout.split()) == 2
    wait_for(lambda: is_gone(keeper), "the keeper of the older version to end")
    assert composer.inspect(names[1])["State"]["Pid"] == pids[1]
    env = env if how == "replaced" else {}
    assert composer.run("exec", "-T", "count", "echo", "in", cwd=directory, env=env).stdout == "in\n"
    composer.run("down", "-t", "0", cwd=directory, env=env)
    assert "Traceback" not in composer.paths.engine_log.read_text()
