"""What the build cache spares, what it keeps, and what it must not know."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

from tests.e2e.conftest import Project
from tests.e2e.engine import Composer

_SECRET = "only-the-step-may-know-this-5d2f"


def _cached(output: str) -> list[str]:
    return sorted(re.findall(r"\] (\S+ \S+).*  Cached", output))


def test_a_change_costs_the_steps_that_read_it(composer: Composer, project: Project, base: str) -> None:
    dockerfile = """
FROM base AS one
COPY a.txt /
RUN cat /a.txt > /one
FROM base AS two
COPY b.txt /
RUN cat /b.txt > /two
FROM base
COPY --from=one /one /
COPY --link --from=two /two /
RUN ls /one /two
"""
    files = {"Dockerfile": dockerfile, "a.txt": "a", "b.txt": "b"}
    directory = project.write("services: {web: {build: .}}", **files)
    composer.run("build", cwd=directory)
    first = composer.run("image", "inspect", "-f", "{{.Id}}", f"{directory.name}-web").stdout
    for name in ("a.txt", "b.txt"):
        os.utime(directory / name, (1, 1))
    again = composer.run("build", cwd=directory).stderr
    assert len(_cached(again)) == 7
    assert composer.run("image", "inspect", "-f", "{{.Id}}", f"{directory.name}-web").stdout == first
    (directory / "a.txt").write_text("A")
    changed = composer.run("build", cwd=directory).stderr
    assert _cached(changed) == ["COPY --link", "COPY b.txt", "RUN cat"]
    (directory / "Dockerfile").write_text(dockerfile.replace("RUN cat /a.txt > /one", "RUN cat a.txt > one"))
    same = composer.run("build", cwd=directory).stderr
    assert "COPY --link" in _cached(same)  # its own layer, whatever is below
    everything = composer.run("build", "--no-cache", cwd=directory).stderr
    assert _cached(everything) == []


def test_equal_steps_of_builds_at_the_same_time_run_once(
    composer: Composer, project: Project, base: str
) -> None:
    uuid = "/proc/sys/kernel/random/uuid"
    step = f"RUN --mount=type=cache,target=/runs,sharing=locked sleep 1; cat {uuid} >> /runs/all"
    services = (
        "{a: {build: {context: ., target: a}}, b: {build: {context: ., target: b}}, look: {build: look}}"
    )
    dockerfile = f"FROM base AS a\n{step}\nFROM base AS b\n{step}\nENV B=1\n"
    directory = project.write(f"services: {services}", Dockerfile=dockerfile)
    (directory / "look").mkdir()
    look = "RUN --mount=type=cache,target=/runs cat /runs/all > /all"
    (directory / "look/Dockerfile").write_text(f"FROM base\n{look}\n")
    builds = [composer.start("build", name, cwd=directory) for name in ("a", "b")]
    for build in builds:
        told = build.communicate(timeout=120)[1]
        assert build.returncode == 0, told
    composer.run("build", "look", cwd=directory)
    told = composer.run("run", "--rm", "-T", "look", "cat", "/all", cwd=directory).stdout
    assert len(told.split()) == 1
    kinds = composer.run("builder", "ls", "--format", "{{.Type}}").stdout.split()
    assert kinds.count("exec.cachemount") == 1 and kinds.count("regular") >= 2


def test_a_cache_goes_from_one_machine_to_another(
    composer: Composer, project: Project, base: str, tmp_path: Path
) -> None:
    compose = (
        "services: {web: {build: {context: ., cache_to: ['type=local,dest=out,mode=max'],"
        " cache_from: ['type=local,src=out']}}}"
    )
    dockerfile = "FROM base AS made\nRUN echo x > /x\nFROM base\nCOPY --from=made /x /x\nRUN cat /x > /y\n"
    directory = project.write(compose, Dockerfile=dockerfile)
    composer.run("build", cwd=directory)
    composer.run("image", "rm", "-f", f"{directory.name}-web")
    composer.run("builder", "prune", "-a", "-f")
    assert composer.run("builder", "ls", "-q").stdout == ""
    assert len(_cached(composer.run("build", cwd=directory).stderr)) == 3
    document = json.loads((directory / "out/index.json").read_text())
    assert len(document["manifests"]) == 1
    for blob in (directory / "out/blobs/sha256").iterdir():
        blob.write_bytes(b"spoilt")
    composer.run("image", "rm", "-f", f"{directory.name}-web")
    composer.run("builder", "prune", "-a", "-f")
    told = composer.run("build", cwd=directory).stderr
    assert "Warning" in told and _cached(told) == []
    refused = composer.run("image", "build", "--cache-to", "type=gha", str(directory), status=1).stderr
    assert "type=gha is not supported" in refused
    shutil.rmtree(directory / "out")


def test_secrets_are_nowhere(composer: Composer, project: Project, base: str) -> None:
    compose = """
services:
  web:
    build:
      context: .
      secrets: [token]
      args: {HTTP_PROXY: "http://user:%s@nowhere.invalid"}
      cache_to: ['type=local,dest=out,mode=max']
secrets: {token: {file: token}}
""" % (_SECRET + "-proxy")
    run = (
        "RUN --mount=type=secret,id=token --mount=type=secret,id=token,env=TOKEN"
        ' read -r value < /run/secrets/token; [ "$value" = "$TOKEN" ] && [ -n "$HTTP_PROXY" ] && echo done > /done'
    )
    directory = project.write(compose, Dockerfile=f"FROM base\n{run}\nRUN ls / > /left\n", token=_SECRET)
    (directory / ".dockerignore").write_text("token\n")
    told = composer.run("--debug", "--progress", "plain", "build", cwd=directory)
    assert _SECRET not in told.stdout + told.stderr
    again = composer.run("build", cwd=directory)
    assert len(_cached(again.stderr)) == 2
    composer.run("engine", "stop")  # what is in the database's log is in its file then
    for place in (composer.root, directory / "out"):
        for path in place.rglob("*"):
            if path.is_file() and not path.is_symlink():
                assert _SECRET.encode() not in path.read_bytes(), path
    document = composer.run("image", "inspect", f"{directory.name}-web").stdout
    assert _SECRET not in document + composer.run("image", "history", f"{directory.name}-web").stdout


def test_pruning(composer: Composer, project: Project, base: str) -> None:
    directory = project.write(
        "services: {web: {build: .}}",
        Dockerfile="FROM base AS x\nRUN echo 1 > /1\nFROM base\nRUN echo 2 > /2\n",
    )
    composer.run("build", cwd=directory)
    composer.run("image", "build", "-q", "--target", "x", str(directory))
    shown = composer.run("builder", "du").stdout
    assert "regular" in shown and "Total:" in shown
    composer.run("image", "prune", "-f")
    composer.run("builder", "prune", "-f")
    kept = composer.run("builder", "ls", "--format", "{{.Description}}").stdout
    assert kept == "RUN echo 2 > /2\n"  # an image has it
    composer.run("builder", "prune", "-f", "-a", "--filter", "until=24h")
    assert composer.run("builder", "ls", "-q").stdout != ""
    composer.run("builder", "prune", "-f", "-a")
    assert composer.run("builder", "ls", "-q").stdout == ""
    assert composer.run("system", "fsck").stdout == "No problems found.\n"
    assert _cached(composer.run("build", cwd=directory).stderr) == []


def test_images_follow_their_inputs_where_asked_to(composer: Composer, project: Project, base: str) -> None:
    compose = (
        "x-composer: {build: auto}\n"
        "services: {web: {build: ., command: sleep infinity, init: true}, db: {image: base, command: sleep infinity}}\n"
    )
    directory = project.write(compose, Dockerfile="FROM base\nCOPY a.txt /\n", **{"a.txt": "1"})
    composer.run("up", "-d", "-t", "0", cwd=directory)
    before = composer.run("ps", "-q", cwd=directory).stdout
    os.utime(directory / "a.txt", (1, 1))
    quiet = composer.run("up", "-d", "-t", "0", cwd=directory).stderr
    assert composer.run("ps", "-q", cwd=directory).stdout == before and "COPY" not in quiet
    (directory / "a.txt").write_text("2")
    told = composer.run("up", "-d", "-t", "0", cwd=directory).stderr
    assert "COPY a.txt" in told and "Recreated" in told
    after = composer.run("ps", "-q", cwd=directory).stdout
    assert len(set(after.split()) & set(before.split())) == 1  # db
    why = composer.run("build", "--explain", "--no-cache", cwd=directory).stderr
    assert "why [2/2] COPY a.txt /  Built  it was asked for" in why
    why = composer.run("build", "--explain", "--build-arg", "SOURCE_DATE_EPOCH=1", cwd=directory).stderr
    assert "why [2/2] COPY a.txt /  Built  SOURCE_DATE_EPOCH is new" in why
    composer.run("down", "-t", "0", cwd=directory)


def test_insecure_steps_need_a_word(composer: Composer, project: Project, base: str) -> None:
    directory = project.write("{}", Dockerfile="FROM base\nRUN --security=insecure echo x > /x\n")
    refused = composer.run("image", "build", str(directory), status=1).stderr
    assert "security.insecure" in refused and "Dockerfile:2" in refused
    composer.run("image", "build", "--allow", "security.insecure", str(directory))
    (directory / "Dockerfile").write_text("FROM base\nRUN --network=host echo y > /y\n")
    refused = composer.run("image", "build", str(directory), status=1).stderr
    assert "network.host" in refused
    composer.run("image", "build", "--allow", "network.host", str(directory))
