"""What people wait for most often begins at once: the commands that are given a hundred times a day import little."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.e2e.engine import Composer, write_project

SLOW = frozenset(
    {
        *(
            "argparse",
            "asyncio",
            "base64",
            "calendar",
            "collections",
            "contextlib",
            "dataclasses",
            "datetime",
            "email",
        ),
        *(
            "enum",
            "functools",
            "hashlib",
            "http",
            "importlib.metadata",
            "inspect",
            "json",
            "logging",
            "pathlib",
            "re",
        ),
        *(
            "selectors",
            "shutil",
            "socket",
            "subprocess",
            "tempfile",
            "threading",
            "trio",
            "types",
            "typing",
            "urllib",
        ),
    }
)
"""Modules that take a millisecond or more, each with what it imports itself: together more than the command."""

QUICK = (
    "up -d",
    "up -d",
    "ps",
    "logs",
    "exec -T it env",
    "stop -t 0",
    "start",
    "run --rm it env",
    "container ls",
    "container inspect {name}",
    "container top {name}",
    "container port {name}",
    "container stats --no-stream {name}",
    "container stop -t 0 {name}",
    "container start {name}",
    "container kill {name}",
    "container wait {name}",
    "container rm {name}",
    "up -d",
    "image inspect {image}",
    "network inspect quick_default",
    "volume inspect quick_data",
    "container exec {name} env",
    "container run --rm --network none {image} env",
    "container run -d --rm --network none {image} env",
    "image ls",
    "network ls",
    "volume ls",
    "down -t 0",
)


def test_imports(composer: Composer, base: str, tmp_path: Path) -> None:
    service = f"{{image: {base}, command: [sleep, infinity], init: true, volumes: ['data:/data']}}"
    compose = f"services: {{it: {service}}}\nvolumes: {{data: }}\n"
    directory = write_project(tmp_path / "quick", compose)
    composer.run("up", "-d", cwd=directory)
    for words in QUICK:
        given = words.format(name="quick-it-1", image=base).split()
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-c", "from composer.cli.main import main; main()", *given],
            cwd=directory,
            env=composer.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert not done.returncode, (words, done.stderr[-2000:])
        lines = [
            line.rpartition("|")[2] for line in done.stderr.splitlines() if line.startswith("import time:")
        ]
        begun = next(number for number, name in enumerate(lines) if name.strip() == "site")
        slow = SLOW & {name.strip() for name in lines[begun:]}
        assert not slow, f"{words} imports {sorted(slow)}"
