"""``container``: answers and exit statuses where something is not as it should be, Docker's word for word."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import Project
from tests.e2e.engine import Composer

FILE = "services: {one: {image: composer.local/host, command: [sleep, infinity], container_name: hold}}"


@pytest.fixture
def held(composer: Composer, project: Project) -> str:
    name = f"{project.name}-one"
    project.write(FILE.replace("hold", name))
    composer.run("up", "-d", cwd=project.directory)
    return name


def test_what_cannot_be_done_is_told_as_docker_tells_it(composer: Composer, held: str) -> None:
    def refused(*words: str, status: int = 1) -> str:
        return composer.run("container", *words, status=status).stderr.strip()

    assert refused("rename", held, held) == "Renaming a container with the same name as its current name"
    assert refused("port", held, "80") == f"No public port '80' published for {held}"
    assert refused("rm", "no-such") == "No such container: no-such"
    assert refused("rm", "-f", "no-such", status=0) == "No such container: no-such"
    assert refused("top", held, "-o", "comm") == "Couldn't find PID field in ps output"
    assert composer.run("container", "top", held, "-o", "pid,args").stdout.splitlines()[0].split() == [
        "PID",
        "COMMAND",
    ]
    assert refused("exec", "-it", held, "true") == "the input device is not a TTY"
    refused("exec", held, "no-such", status=127)
    refused("exec", held, "/etc", status=126)
    refused("exec", "-u", "no-such", held, "true", status=126)
    refused("exec", "-d", held, "no-such")
    refused("logs", "--since", "nonsense", held)
    refused("inspect", "--format", "{{", held, status=64)
    sizes = composer.run("container", "inspect", "--size", "--format", "{{.SizeRootFs}}", held)
    assert int(sizes.stdout) >= 0
    composer.run("container", "pause", held)
    assert refused("attach", held) == "You cannot attach to a paused container, unpause it first"
    composer.run("container", "kill", held)
    assert refused("attach", held) == "You cannot attach to a stopped container, start it first"


def test_options_that_cannot_be_read_are_the_engines_kind_of_failure(composer: Composer) -> None:
    """125, so that it is not taken for the command's own status."""
    for option, says in (
        ("--publish=a:80", 'invalid value for --publish: "a:80": invalid hostPort: a'),
        ("--env-file=/no/such", "open /no/such: No such file or directory"),
    ):
        for verb in ("run", "create"):
            done = composer.run("container", verb, option, "composer.local/host", "true", status=125)
            assert done.stderr.splitlines()[0] == says
