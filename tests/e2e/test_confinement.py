"""Whatever runs in a container is confined as its program is: health checks, hooks, execs and steps of a build."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.conftest import Project
from tests.e2e.engine import Composer

TELL = "grep -E '^(Cap...|NoNewPrivs|Seccomp|Seccomp_filters):' /proc/self/status"
CAPABILITIES = "00000000a80425fb"
"""Docker's fourteen."""


def told(text: str) -> dict[str, str]:
    return dict(line.replace("\t", "").split(":") for line in text.split("\n") if ":" in line)


def expected(*, no_new_privileges: bool) -> dict[str, str]:
    granted = dict.fromkeys(("CapPrm", "CapEff", "CapBnd"), CAPABILITIES)
    nothing = dict.fromkeys(("CapInh", "CapAmb"), "0" * 16)
    return {
        **granted, **nothing, "NoNewPrivs": str(int(no_new_privileges)), "Seccomp": "2", "Seccomp_filters": "1",
    }  # fmt: skip


def test_probes_hooks_and_execs(composer: Composer, project: Project) -> None:
    directory = project.write(f"""
services:
  one:
    image: composer.local/host
    command: sleep infinity
    init: true
    security_opt: ["no-new-privileges:true"]
    healthcheck:
      test: "{TELL} > /tmp/probe"
      interval: 1s
    post_start:
      - command: ["sh", "-c", "{TELL} > /tmp/hook"]
    pre_stop:
      - command: ["sh", "-c", "{TELL} > /kept/stop"]
    volumes: ["./kept:/kept"]
""")
    composer.run("up", "-d", "--wait", cwd=directory)
    for script in ("cat /tmp/probe", "cat /tmp/hook", TELL):
        found = composer.run("exec", "-T", "one", "sh", "-c", script, cwd=directory).stdout
        assert told(found) == expected(no_new_privileges=True), script
    composer.run("down", "-t", "0", cwd=directory)
    assert told((directory / "kept" / "stop").read_text()) == expected(no_new_privileges=True)


def test_steps_of_a_build(composer: Composer, base: str, tmp_path: Path) -> None:
    """Without ``--allow security.insecure`` they are as containers are."""
    script = "while read -r line; do case $line in Cap*|NoNewPrivs*|Seccomp*) echo $line;; esac; done"
    text = f"FROM {base}\nRUN {script} < /proc/self/status > /told; cat /proc/keys > /keys\n"
    (tmp_path / "Dockerfile").write_text(text)
    composer.run("image", "build", "-q", "-t", "told:1", str(tmp_path))
    found = composer.run("container", "run", "--rm", "told:1", "cat", "/told", "/keys").stdout
    lines = {key: value.strip() for key, value in told(found).items()}
    assert lines == expected(no_new_privileges=False)
