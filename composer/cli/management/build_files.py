"""What a build reads from the command's standard input, and what it writes to its standard output."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from composer.cli.arguments import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MAGIC = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")
"""Of gzip, bzip2, xz and zstd (their file formats' specifications)."""
_TEXT_LIMIT = 16 << 20


@contextmanager
def spooled_input(body: dict[str, Any], context: str, dockerfile: str) -> Iterator[None]:
    """Put what comes in into the request: ``-`` as context is a tar or a Dockerfile, as ``--file`` a Dockerfile."""
    if context != "-" and dockerfile != "-":
        yield
        return
    if context == "-" and dockerfile == "-":
        raise UsageError("invalid argument: can't use stdin for both build context and dockerfile")
    with tempfile.TemporaryDirectory(prefix="composer-build-") as directory:
        file = Path(directory) / "input"
        with file.open("wb") as target:
            shutil.copyfileobj(sys.stdin.buffer, target)
        if context == "-" and is_archive(file):
            body["archive"] = str(file)
        else:
            if file.stat().st_size > _TEXT_LIMIT:
                raise UsageError("what comes on the standard input is neither a tar nor a Dockerfile")
            body["dockerfile_text"] = file.read_bytes().decode("utf-8", "replace")
        yield


def is_archive(path: Path) -> bool:
    """Whether a file is a tar, or compressed."""
    with path.open("rb") as file:
        head = file.read(512)
    return head.startswith(_MAGIC) or head[257:262] == b"ustar"


@contextmanager
def stream_of_output(body: dict[str, Any]) -> Iterator[str]:
    """Let an output to ``-`` go to the standard output, through a file: its path, "" when there is none."""
    outputs = body["outputs"]
    wanted = [n for n, text in enumerate(outputs) if text == "-" or "dest=-" in text.split(",")]
    if not wanted:
        yield ""
        return
    if sys.stdout.isatty():
        raise UsageError("refusing to write a tar to the terminal", hint="name a file: dest=FILE")
    with tempfile.TemporaryDirectory(prefix="composer-build-") as directory:
        path = os.path.join(directory, "output")
        text = "type=tar,dest=-" if outputs[wanted[0]] == "-" else outputs[wanted[0]]
        outputs[wanted[0]] = text.replace("dest=-", f"dest={path}")
        yield path
        with open(path, "rb") as source:
            shutil.copyfileobj(source, sys.stdout.buffer)
        sys.stdout.buffer.flush()
