"""A context that changes while a step reads it: the step is done again, and nothing of the mixture is kept."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.e2e.conftest import Project
from tests.e2e.engine import Composer

_COUNT = "echo x >> /cache/runs; n=; while read -r _; do n=x$n; done < /cache/runs"
_WAIT = "cat /c/a > /got; echo waiting; while ! [ -e /cache/go$n ]; do sleep 0.02; done"
_DOCKERFILE = f"""
FROM base
RUN --mount=type=cache,target=/cache --mount=type=bind,target=/c {_COUNT}; {_WAIT}
"""


def _build(composer: Composer, directory: Path, goes: list[tuple[str, str]]) -> tuple[int, str]:
    """Whenever the step waits, write the next of ``goes`` (content of the file, or "" to leave it) and let it go on."""
    process = composer.start("--progress", "plain", "build", cwd=directory, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    told = []
    for line in process.stdout:
        told.append(line)
        if line.endswith("| waiting\n"):
            content, go = goes.pop(0)
            if content:
                (directory / "a").write_text(content)
            (mounts,) = (composer.paths.lib / "build/mounts").glob("[!.]*")
            (mounts / go).touch()
    process.stdout.close()
    return process.wait(120), "".join(told)


def test_a_step_is_done_again(composer: Composer, project: Project, base: str) -> None:
    directory = project.write("services: {web: {build: .}}", Dockerfile=_DOCKERFILE, a="1\n")
    (directory / ".dockerignore").write_text("compose.yaml\n")
    status, told = _build(composer, directory, [("22\n", "gox"), ("", "goxx")])
    assert status == 0, told
    shown = composer.run("run", "--rm", "-T", "--no-deps", "web", "cat", "/got", cwd=directory).stdout
    assert shown == "22\n"
    assert "Cached" in composer.run("build", cwd=directory).stderr
    composer.run("builder", "prune", "-a", "-f", "--filter", "type=exec.cachemount")
    (directory / "a").write_text("0\n")
    goes = [(f"{'3' * number}\n", f"go{'x' * number}") for number in (1, 2, 3)]
    status, told = _build(composer, directory, goes)
    assert status == 1 and not goes, told
    assert "Dockerfile:3:1: files of the context change while they are read" in told
    assert composer.run("engine", "dump").stdout.count('"record"') == 0
    assert composer.run("system", "fsck").stdout == "No problems found.\n"
