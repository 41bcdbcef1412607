"""What people mount: single files, directories, sockets, what is not there yet, parts of images and of stages."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.e2e.conftest import Project
from tests.e2e.engine import Composer


def test_files_directories_and_sockets_of_the_host(composer: Composer, project: Project) -> None:
    directory = project.write("""
services:
  web:
    image: composer.local/host
    command: sleep infinity
    volumes:
      - ./nginx.conf:/etc/nginx.conf:ro
      - ./writable.txt:/srv/writable.txt
      - ./site:/srv/site
      - ./made/later:/srv/made
      - ./s.sock:/run/s.sock
      - {type: bind, source: ./nginx.conf, target: /srv/long.conf}
""")
    (directory / "nginx.conf").write_text("worker_processes 1;\n")
    (directory / "writable.txt").write_text("before\n")
    (directory / "site").mkdir()
    (directory / "site" / "index.html").write_text("hello\n")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / "s.sock"))
        composer.run("up", "-d", cwd=directory)

    def shell(line: str, status: int | None = 0) -> str:
        return composer.run("exec", "-T", "web", "sh", "-c", line, cwd=directory, status=status).stdout

    assert shell("cat /etc/nginx.conf /srv/long.conf") == "worker_processes 1;\n" * 2
    assert shell("cat /srv/site/index.html; test -S /run/s.sock && echo socket") == "hello\nsocket\n"
    shell("echo after > /srv/writable.txt; echo x > /srv/made/x")
    assert (directory / "writable.txt").read_text() == "after\n"
    assert (directory / "made" / "later" / "x").read_text() == "x\n"
    assert shell("echo x > /etc/nginx.conf && echo written", status=None) == ""
    composer.run("down", "-t", "0", cwd=directory)


def test_a_file_with_container_run(composer: Composer, tmp_path: Path) -> None:
    (tmp_path / "f.txt").write_text("hi\n")
    volume = f"{tmp_path}/f.txt:/srv/f.txt"
    done = composer.run("container", "run", "--rm", "-v", volume, "composer.local/host", "cat", "/srv/f.txt")
    assert done.stdout == "hi\n"


def test_parts_of_images_and_stages(composer: Composer, base: str, project: Project) -> None:
    directory = project.write(f"""
services:
  one:
    image: several-layers
    build:
      dockerfile_inline: |
        FROM {base} AS stage
        RUN mkdir /z && echo inner > /z/z
        RUN echo more > /z/more
        FROM {base}
        RUN --mount=type=bind,from=stage,source=/z,target=/m cat /m/z /m/more > /found
        RUN --mount=type=bind,from=stage,source=/z/z,target=/m cat /m >> /found
        RUN --mount=type=bind,from={base},source=/usr/bin,target=/m ls /m >> /found
        RUN --mount=type=bind,source=src,target=/m cat /m/a >> /found
  two:
    image: {base}
    command: cat /whole/found /part
    volumes:
      - {{type: image, source: several-layers, target: /whole}}
      - {{type: image, source: several-layers, target: /part, image: {{subpath: found}}}}
    depends_on: [one]
""")
    (directory / "src").mkdir()
    (directory / "src" / "a").write_text("context\n")
    (directory / ".dockerignore").write_text("src/b\n")
    composer.run("build", "one", cwd=directory)
    found = composer.run("run", "--rm", "--no-deps", "two", cwd=directory).stdout
    lines = found.splitlines()
    half = lines[: len(lines) // 2]
    assert half + half == lines, "the image whole and the file alone show the same"
    assert half[:3] == ["inner", "more", "inner"] and half[-1] == "context" and "cat" in half
    composer.run("down", cwd=directory)
