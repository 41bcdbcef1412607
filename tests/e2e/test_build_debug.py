"""``build --debug`` at a terminal: a shell in the step that has failed, as it was for its program."""

from __future__ import annotations

import base64
import os
import shutil
import signal
from pathlib import Path

import pytest

from runtime.container.init import elf_image
from tests.e2e.conftest import Project
from tests.e2e.engine import Composer, wait_for
from tests.e2e.terminal import Terminal

SECRET = "swordfish-7421"
BUILD = ("image", "build", "--debug", "--secret", "id=token,src=token", ".")
DOCKERFILE = """FROM base
ENV COLOUR=red
RUN mkdir /own && chown 1000 /own
USER 1000
WORKDIR /own
RUN --network=none --mount=type=secret,id=token,uid=1000 --mount=type=secret,id=token,env=TOKEN \\
    --mount=type=cache,target=/cache,uid=1000 \\
    --mount=type=tmpfs,target=/quick --mount=type=bind,source=notes,target=/notes,rw \\
    echo left > left; echo cached > /cache/it; nosuchprogram
"""
FOUND = (
    b"echo $COLOUR:${#TOKEN}:$(id -u):$(cat left):$(cat /run/secrets/token):$(cat /cache/it):$(cat /notes/note):"
    b"$(ls /sys/class/net):$(ls -d /usr/bin/mkfifo)\r"
)


@pytest.fixture
def context(composer: Composer, base: str, tmp_path: Path) -> Path:
    directory = tmp_path / "context"
    directory.mkdir()
    (directory / "Dockerfile").write_text(DOCKERFILE)
    (directory / "notes").mkdir()
    (directory / "notes/note").write_text("noted\n")
    (directory / "token").write_text(SECRET)
    return directory


def _all_files(composer: Composer) -> list[Path]:
    places = (composer.root / "lib", composer.root / "run")
    return [path for place in places for path in place.rglob("*") if path.is_file() and not path.is_symlink()]


def _scratch(composer: Composer) -> list[str]:
    """Directories that steps are given for as long as they last."""
    return [name for name in os.listdir(composer.paths.images) if name.startswith("tmp")]


def test_the_shell_is_in_the_step(composer: Composer, context: Path) -> None:
    """Its programs, user, directory, variables, mounts, secrets and network, and what it has made; it can be written
    to and the command typed again; the build ends as it would have, and nothing is left, nor was the secret ever on a
    disk."""
    terminal = Terminal(composer, *BUILD, cwd=context)
    terminal.until(b"exit code: 127")
    terminal.until(
        rb"failed step: \S*Dockerfile:6: RUN echo left > left; echo cached > /cache/it; nosuchprogram "
        rb"\xe2\x80\x94 its shell; exit leaves it; nothing of it is kept\r\n"
    )
    terminal.type(FOUND)
    terminal.until(b"red:14:1000:left:" + SECRET.encode() + b":cached:noted:lo:/usr/bin/mkfifo\r\n")
    terminal.type(b"nosuchprogram || touch fixed && echo made-$(ls)\r")
    terminal.until(b"made-fixed left\r\n")
    terminal.type(b"echo > /quick/x; stat -f -c %T /quick; touch /x 2>&1 | cat; stty size\r")
    terminal.until(b"tmpfs\r\n")
    terminal.until(b"Permission denied")
    assert len(composer.containers()) == 1 and _scratch(composer)
    for path in _all_files(composer):
        content = path.read_bytes()
        assert SECRET.encode() not in content and base64.b64encode(SECRET.encode())[:-2] not in content, path
    terminal.type(b"exit 9\r")
    terminal.until(b"the build failed")
    assert terminal.end() == 1
    assert composer.containers() == [] and _scratch(composer) == []
    assert os.listdir(composer.paths.lib / "containers") == []


def test_a_command_that_is_killed_leaves_nothing(composer: Composer, context: Path) -> None:
    terminal = Terminal(composer, *BUILD, cwd=context)
    terminal.until(b"nothing of it is kept")
    terminal.type(b"echo ready-$(id -u)\r")
    terminal.until(b"ready-1000")
    terminal.process.kill()
    assert terminal.process.wait() == -signal.SIGKILL
    wait_for(lambda: not (composer.containers() or _scratch(composer)), "all of the step to go")
    os.close(terminal.slave)
    os.close(terminal.master)


def test_the_shell_that_was_said(composer: Composer, project: Project, base: str) -> None:
    """SHELL, of a service's image; a script is shown whole."""
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    dockerfile = (
        'FROM base\nRUN ln -s sh /usr/bin/bash\nSHELL ["bash", "-eo", "nounset", "-c"]\n'
        "RUN <<end\necho begun\nexit 5\nend\n"
    )
    directory = project.write("services: {one: {build: one}, two: {build: two}}")
    for name, text in {"one": dockerfile, "two": "FROM base\nRUN exit 6\n"}.items():
        (directory / name).mkdir()
        (directory / name / "Dockerfile").write_text(text)
    terminal = Terminal(composer, "build", "--debug", "one", cwd=directory)
    terminal.until(rb"failed step: \S*Dockerfile:4: RUN <<end \xe2\x80\x94 its shell")
    terminal.until(rb"  \| echo begun\r\n  \| exit 5\r\n")
    terminal.type(b"echo $0-is-it\r")
    terminal.until(b"bash-is-it\r\n")
    terminal.type(b"exit\r")
    assert terminal.end() == 1
    # Of several that fail one is shown.
    terminal = Terminal(composer, "build", "--debug", cwd=directory)
    terminal.until(b"failed step: ")
    terminal.type(b"echo $((40 + 2))\r")
    terminal.until(b"\n42\r\n")
    terminal.type(b"exit\r")
    assert terminal.end() == 1
    assert terminal.shown.count(b"failed step: ") == 1
    assert composer.containers() == []


def test_images_without_a_shell(composer: Composer, tmp_path: Path) -> None:
    """This machine's programs are on the files that the step has left, and it is said why."""
    program = elf_image(os.uname().machine, 0x7FFFFFFF)
    (tmp_path / "wait").write_bytes(program)
    (tmp_path / "wait").chmod(0o755)
    file = tmp_path / "Dockerfile"
    file.write_text("FROM scratch\nCOPY wait /usr/own/wait\nRUN make\n")
    terminal = Terminal(composer, "image", "build", "--debug", ".", cwd=tmp_path)
    terminal.until(
        rb"failed step: \S*Dockerfile:3: RUN make \xe2\x80\x94 there is no shell in the image: [^\r]* /container;"
    )
    terminal.type(b"echo it-is-$(ls /container/usr/own)\r")
    terminal.until(b"it-is-wait\r\n")
    terminal.type(b"exit\r")
    terminal.until(b"the build failed")
    assert terminal.end() == 1 and composer.containers() == []

    broken = bytearray(program)
    broken[0:4] = b"none"
    (tmp_path / "sh").write_bytes(broken)
    (tmp_path / "sh").chmod(0o755)
    file.write_text('FROM scratch\nCOPY sh /bin/sh\nRUN ["/nothing"]\n')
    terminal = Terminal(composer, "image", "build", "--debug", ".", cwd=tmp_path)
    terminal.until(b"the image's shell does not start")
    terminal.type(b"echo it-is-$(ls /container/bin)\r")
    terminal.until(b"it-is-sh\r\n")
    terminal.type(b"exit\r")
    assert terminal.end() == 1 and composer.containers() == []
