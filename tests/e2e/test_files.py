"""Files in and out of containers, running or not."""

from __future__ import annotations

import tarfile

from tests.e2e.conftest import Project
from tests.e2e.engine import Composer

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
