"""``--dry-run`` says what would be done, with reasons, and does nothing."""

from __future__ import annotations

from tests.e2e.conftest import Project
from tests.e2e.engine import Composer

STACK = """
services:
  db:
    image: composer.local/host
    command: sleep infinity
    volumes: [data:/data]
  web:
    image: composer.local/host
    command: sleep infinity
    depends_on: [db]
    environment: {VALUE: "${VALUE:-first}"}
  tool:
    image: registry.invalid/tool:1
    profiles: [tools]
volumes: {data: }
"""


def test_a_project_before_during_and_after(composer: Composer, project: Project) -> None:
    directory, name = project.write(STACK), project.name
    planned = composer.run("--profile", "tools", "up", "--dry-run", cwd=directory).stdout.splitlines()
    assert planned[0] == "pull image registry.invalid/tool:1 of tool"
    assert planned[-1] == (
        f"create container {name}-web-1 (does not exist), after container:{name}-db-1, network:{name}_default"
    )
    assert composer.containers() == []
    assert composer.api("GET", "/volumes")["Volumes"] in (None, [])

    composer.run("up", "-d", cwd=directory)
    before = sorted(found["Id"] for found in composer.containers())
    assert composer.run("--dry-run", "up", "-d", cwd=directory).stdout == "nothing to do\n"
    (directory / ".env").write_text("VALUE=second\n")
    assert (
        f"recreate container {name}-web-1 (configuration changed)"
        in composer.run("up", "--dry-run", cwd=directory).stdout
    )
    scaled = composer.run("scale", "web=2", "--dry-run", cwd=directory).stdout
    assert f"create container {name}-web-2" in scaled
    assert composer.run("down", "--dry-run", "-v", cwd=directory).stdout.splitlines() == [
        f"remove container {name}-web-1",
        f"remove container {name}-db-1",
        f"remove network {name}_default",
        f"remove volume {name}_data",
    ]
    assert sorted(found["Id"] for found in composer.containers()) == before

    refused = composer.run("stop", "--dry-run", cwd=directory, status=1)
    assert refused.stderr.startswith("--dry-run is not available in composer for `stop`")
    composer.run("down", "-v", cwd=directory)
