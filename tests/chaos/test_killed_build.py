"""The core killed at each thing that a build tells: what it remembers is true, the next build finishes it, and nothing
is left."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import Project
from tests.e2e.engine import Composer, wait_for

_DOCKERFILE = """
FROM base AS made
COPY a.txt /
RUN --mount=type=cache,target=/cache,sharing=locked cat /a.txt > /made && cat /a.txt > /cache/a
FROM base
COPY --link --from=made /made /
RUN cat /made > /copy
"""
_TOLD = ("COPY a.txt /  Building", "COPY a.txt /  Built", "/cache/a  Building", "/cache/a  Built")
_TOLD += ("COPY --link --from=made /made /  Building", "/copy  Building")


def test_a_build_is_finished_by_the_next(composer: Composer, project: Project, base: str) -> None:
    directory = project.write("services: {web: {build: .}}", Dockerfile=_DOCKERFILE)
    for number, told in enumerate(_TOLD):
        (directory / "a.txt").write_text(f"{number}\n")
        _killed_when(composer, told, directory)
        composer.run("build", cwd=directory)
        shown = composer.run("run", "--rm", "-T", "--no-deps", "web", "cat", "/copy", cwd=directory).stdout
        assert shown == f"{number}\n", told
        assert _containers(composer) == [], told
    composer.run("down", cwd=directory)
    _nothing_is_left(composer)


_ONCE = """
FROM base AS made
COPY a.txt /
RUN --mount=type=cache,target=/c set -- /c/a; {once}; cat /a.txt > /made
FROM base
COPY --link --from=made /made /
RUN --mount=type=cache,target=/c set -- /c/b; {once}; cat /made > /copy
"""
_ONCE = _ONCE.format(once='[ -e $1 ] || { touch $1; echo "waiting $1"; sleep 600; }')


@pytest.mark.parametrize("victim", ["core", "keeper", "shim", "step", "command", "all"])
def test_who_is_killed_does_not_matter_to_the_result(
    victim: str, composer: Composer, base: str, tmp_path: Path
) -> None:
    """While a stage's step runs, while the last one does, and before anything does: the build that follows has the
    digest that one without a cache has."""
    (tmp_path / "Dockerfile").write_text(_ONCE)
    (tmp_path / "a.txt").write_text("a\n")
    words = (
        "image",
        "build",
        "--progress",
        "plain",
        "--build-arg",
        "SOURCE_DATE_EPOCH=1",
        "--iidfile",
        "id",
        ".",
    )
    for told in ("| waiting /c/a\n", "| waiting /c/b\n", "COPY a.txt /  Cached", "FROM base  Building"):
        process = composer.start(*words, cwd=tmp_path, stderr=subprocess.STDOUT)
        assert process.stdout is not None
        shown = []
        for line in process.stdout:
            shown.append(line)
            if told in line:
                _kill(composer, victim, process.pid)
                break
        process.communicate(timeout=120)
        assert told in shown[-1], shown
    found = []
    for fresh in ((), ("--no-cache",)):
        composer.run(*words, *fresh, cwd=tmp_path)
        found.append((tmp_path / "id").read_text())
        wait_for(lambda: not _containers(composer), "the removal of what the build left")
    assert found[0] == found[1]
    _nothing_is_left(composer)


def _kill(composer: Composer, victim: str, command: int) -> None:
    if victim == "step":
        dumped = json.loads(composer.run("engine", "dump").stdout)
        victims = [pid for container in dumped["containers"] if (pid := container["state"].get("pid"))]
    elif victim == "command":
        victims = [command]
    else:
        names = ("keeper", "core", "shim") if victim == "all" else (victim,)
        victims = [pid for name in names for pid in composer.processes(f"composer-{name}")]
    for pid in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if victim == "keeper":  # there is another one at once, and the build goes on
        wait_for(lambda: set(composer.processes("composer-keeper")) - set(victims), "the next keeper")
        os.kill(command, signal.SIGKILL)


def _nothing_is_left(composer: Composer) -> None:
    composer.run("image", "prune", "-a", "-f")
    composer.run("builder", "prune", "-a", "-f")
    assert composer.run("builder", "ls", "-q").stdout == ""
    assert composer.run("system", "fsck").stdout == "No problems found.\n"
    layers = {path.name for path in (composer.paths.images / "layers").iterdir()}
    assert not [name for name in layers if name.startswith(".") and name != ".trash"], layers
    mounts = composer.paths.lib / "build/mounts"
    assert {path.name for path in mounts.glob(".*")} <= {".trash"}
    wait_for(lambda: not [*mounts.glob(".trash/*")], "what was put aside to be gone")


def _containers(composer: Composer) -> list[str]:
    """All of them: those of steps, too, which lists do not tell of."""
    dumped = json.loads(composer.run("engine", "dump").stdout)
    return [container["record"]["name"] for container in dumped["containers"]]


def _killed_when(composer: Composer, told: str, directory: Path) -> None:
    """Begin a build, and kill the core as soon as a line of its progress says so."""
    process = composer.start("--progress", "plain", "build", cwd=directory, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    for line in process.stdout:
        if told in line:
            composer.kill("composer-core")
            break
    process.stdout.close()
    process.wait(60)


_SECRET = "only-the-step-may-know-this-7c1e"
_WAITING = (
    "RUN --mount=type=secret,id=token --mount=type=secret,id=token,env=TOKEN read -r value < /run/secrets/token; "
    '[ "$value" = "$TOKEN" ] && echo waiting && sleep 600'
)


def test_a_secret_is_nowhere_when_its_build_is_killed(
    composer: Composer, project: Project, base: str
) -> None:
    directory = project.write("{}", Dockerfile=f"FROM base\n{_WAITING}\n", token=_SECRET)
    words = ("image", "build", "--progress", "plain", "--secret", "id=token,src=token", ".")
    process = composer.start(*words, cwd=directory, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    assert any(line.endswith("| waiting\n") for line in process.stdout)
    assert _who_knows(composer) == []
    composer.kill("composer-core")
    process.stdout.close()
    process.wait(60)
    wait_for(lambda: not _containers(composer), "the removal of what the build left")
    composer.run("engine", "stop")  # what is in the database's log is in its file then
    assert _who_knows(composer) == []


def _who_knows(composer: Composer) -> list[str]:
    found = []
    for path in composer.root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            with contextlib.suppress(FileNotFoundError):
                if _SECRET.encode() in path.read_bytes():
                    found.append(str(path))
    return found
