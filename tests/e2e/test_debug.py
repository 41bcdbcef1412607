"""``debug``: this machine's programs in containers whose image has none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.container.init import elf_image
from tests.e2e.conftest import Project
from tests.e2e.engine import Composer

NOBODY = 0x7FFFFFFF
"""A process id that is nobody's: an init that waits for it waits for ever."""

FILE = """
services:
  bare:
    build: image
    image: bare
    read_only: true
    cap_drop: [ALL]
    volumes: [data:/data]
  stopped:
    image: bare
    command: [/usr/nothing]
    volumes: [data:/data]
    scale: 0
volumes: {data: {}}
"""
DOCKERFILE = """
FROM scratch
COPY --chown=1000 wait /usr/own/wait
COPY note /etc/note
WORKDIR /usr/own
USER 1000
ENV COLOUR=red LD_LIBRARY_PATH=/usr/own
CMD ["/usr/own/wait"]
"""


@pytest.fixture
def bare(composer: Composer, project: Project) -> Path:
    """A project whose image is one program and one file."""
    project.write(FILE)
    image = project.directory / "image"
    image.mkdir()
    (image / "Dockerfile").write_text(DOCKERFILE)
    (image / "note").write_text("found\n")
    (image / "wait").write_bytes(elf_image(os.uname().machine, NOBODY))
    (image / "wait").chmod(0o755)
    composer.run("up", "-d", "--build", cwd=project.directory)
    return project.directory


def test_a_running_container(composer: Composer, bare: Path) -> None:
    """Its processes, its files where they were, and its root as a whole; the exit status is the command's."""

    def debug(*words: str, status: int = 0, stdin: str | None = None) -> str:
        return composer.run("debug", *words, cwd=bare, status=status, stdin=stdin).stdout

    script = """
        id -u; pwd; cat /etc/note; echo $COLOUR $LD_LIBRARY_PATH
        tr '\\0' ' ' < /proc/1/cmdline; echo; readlink /proc/1/exe
        awk 'BEGIN { print "tools" }'
        stat -c %u /container/usr/own/wait
        grep -c Seccomp:.2 /proc/self/status
        echo kept > /data/file && cat /container/data/file
        for path in /usr/new /etc/new /new /container/new; do touch $path 2>&1 | grep -c Read-only; done
        exit 7
    """
    lines = debug("bare", "-c", script, status=7).splitlines()
    assert lines == [
        *("0", "/container/usr/own", "found", "red"),
        *("/usr/own/wait ", "/usr/own/wait"),
        *("tools", "1000", "1", "kept", "1", "1", "1", "1"),
    ]
    name = f"{bare.name}-bare-1"
    assert debug(name, "cat", "/data/file") == "kept\n"
    options = ("-u", "1000:5", "-w", "/etc", "-e", "A=b")
    shown = debug(*options, "bare", "-c", "id -u; id -g; pwd; echo $A $1", "x", "y")
    assert shown == "1000\n5\n/etc\nb y\n"
    assert debug("bare", "cat", stdin="given") == "given"
    assert debug("bare", stdin="echo $0; exit 3", status=3) in ("bash\n", "sh\n")
    composer.run("debug", "bare", "no-such-program", cwd=bare, status=127)
    pid = composer.inspect(name)["State"]["Pid"]
    mounted = Path(f"/proc/{pid}/mountinfo").read_text()
    assert "tools" not in mounted, "the container sees nothing of it"


def test_confinement(composer: Composer, bare: Path) -> None:
    """As the container's, with the capabilities to read, to trace and to listen; --privileged has all."""

    def mask(*flags: str) -> int:
        done = composer.run("debug", *flags, "bare", "grep", "CapEff", "/proc/self/status", cwd=bare)
        return int(done.stdout.split()[1], 16)

    assert mask() == 1 << 1 | 1 << 13 | 1 << 19
    assert mask("--privileged").bit_count() > 20
    done = composer.run("debug", "bare", "unshare", "-m", "true", cwd=bare, status=1)
    assert "not permitted" in done.stderr


def test_a_container_that_does_not_run(composer: Composer, bare: Path) -> None:
    """Its files as it has left them; what is changed there is not kept, but in volumes."""
    composer.run("up", "-d", "--scale", "stopped=1", "stopped", cwd=bare, status=None)
    stopped = f"{bare.name}-stopped-1"
    (bare / "left").write_text("by it\n")
    composer.run("cp", "left", "stopped:/etc/left", cwd=bare)
    script = "pwd; cat /etc/left; echo > /etc/gone && echo from-debug > /data/file; exit 5"
    done = composer.run("debug", "stopped", "-c", script, cwd=bare, status=5)
    assert done.stdout == "/container/usr/own\nby it\n"
    done = composer.run("debug", stopped, "ls", "/etc", cwd=bare.parent)
    assert "left" in done.stdout.split()
    assert "gone" not in done.stdout.split()
    assert composer.run("debug", "bare", "cat", "/data/file", cwd=bare).stdout == "from-debug\n"
    composer.run("debug", "stopped", "no-such-program", cwd=bare, status=127)
    assert {c["Names"][0] for c in composer.containers()} == {f"/{stopped}", f"/{bare.name}-bare-1"}


def test_what_there_is_not(composer: Composer, project: Project) -> None:
    project.write("services: {one: {image: composer.local/host}}")
    done = composer.run("debug", "one", cwd=project.directory, status=1)
    assert done.stderr.startswith('service "one" has no container')
    done = composer.run("debug", "no-such", cwd=project.directory, status=1)
    assert done.stderr.startswith("No such container: no-such")
