"""Services that are built: what comes of a Dockerfile, what the cache knows, how a failed step is told."""

from __future__ import annotations

from tests.e2e.conftest import Project
from tests.e2e.engine import Composer

_COMPOSE = """
services:
  web:
    build:
      context: .
      args: {GREETING: hi}
      secrets: [token]
    command: sleep infinity
    init: true
secrets:
  token: {file: token.txt}
"""
_DOCKERFILE = """
FROM base AS made
ARG GREETING=hello
WORKDIR /app
COPY . .
RUN --mount=type=secret,id=token echo "$GREETING $(cat app.txt) $(cat /run/secrets/token)" > out && rm -r /gone

FROM base AS unused
RUN exit 9

FROM base
COPY --from=made /app/out /out/
RUN ls /gone
ENV A=1 B="$A two"
"""


def test_up_builds_and_uses_its_cache(composer: Composer, project: Project, base: str) -> None:
    directory = project.write(
        _COMPOSE,
        **{"Dockerfile": _DOCKERFILE, "app.txt": "one", "token.txt": "secret", ".dockerignore": "token*"},
    )
    composer.run("up", "-d", cwd=directory)
    assert composer.run("exec", "-T", "web", "cat", "/out/out", cwd=directory).stdout == "hi one secret\n"
    again = composer.run("build", cwd=directory).stderr
    assert again.count("Cached") == 5 and "| " not in again
    identity = composer.run(
        "image", "inspect", "-f", "{{.Id}} {{.Config.Env}}", f"{directory.name}-web"
    ).stdout
    assert "A=1" in identity
    (directory / "app.txt").write_text("two")
    composer.run("up", "-d", "--build", cwd=directory)
    assert composer.run("exec", "-T", "web", "cat", "/out/out", cwd=directory).stdout == "hi two secret\n"
    names = composer.run("image", "ls", "-q").stdout.split()
    assert len(names) <= 4  # steps of the cache are not listed
    composer.run("down", cwd=directory)
    assert composer.run("system", "fsck").stdout == "No problems found.\n"


def test_a_failed_step_is_shown_with_its_place_and_output(
    composer: Composer, project: Project, base: str
) -> None:
    directory = project.write("services: {web: {build: .}}", Dockerfile="FROM base\nRUN echo told; exit 3\n")
    done = composer.run("build", cwd=directory, status=1)
    assert "Dockerfile:2" in done.stderr and "exit code: 3" in done.stderr and "| told" in done.stderr
    assert "2 | RUN echo told; exit 3\n    ^" in done.stderr
    assert composer.containers() == []
    (directory / "Dockerfile").write_text('FROM base\nRUN printf "%09000d" 1; exit 3\n')
    done = composer.run("build", cwd=directory, status=1)
    assert f"\n  | {'0' * 1000} … and 8000 more characters\n" in done.stderr
    (directory / "Dockerfile").write_text("FROM base\nRUNN x\n")
    assert "did you mean RUN?" in composer.run("build", cwd=directory, status=1).stderr
