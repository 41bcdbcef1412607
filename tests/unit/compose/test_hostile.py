"""Files made to hurt: a plain answer within a second or so and 200 MB, each asked of a process of its own."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = 2.5
"""Of a processor that one may take where the machine is busy with other tests; on an idle one it is below one."""
MEGABYTES = 240
"""Of address space, of which the interpreter takes 40 before it begins."""

BOMB = 'a: &a ["lol","lol"]\n' + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(12)
)
FILES: dict[str, tuple[bytes, int]] = {
    "a bomb of aliases": (f"{BOMB}services: {{x: {{image: a}}}}\n".encode(), 1),
    "an alias of what contains it": (b"services: &s\n  a: {image: x, labels: *s}\n", 1),
    "a merge of what contains it": (b"x-a: &a {<<: *a}\nservices: {a: {image: x}}\n", 1),
    "nested mappings": (b"services: " + b"{a: " * 20_000 + b"x" + b"}" * 20_000, 1),
    "nested sequences": (b"services: " + b"[" * 50_000, 1),
    "nested blocks": (b"".join(b" " * i + b"a:\n" for i in range(2000)), 1),
    "nested variables": (b'services: {a: {image: "' + b"${A:-" * 5000 + b"}" * 5000 + b'"}}', 1),
    "bytes that are no text": (b'services: {a: {image: "\xff\xfe\x80"}}', 1),
    "UTF-16": ("services: {a: {image: b}}".encode("utf-16"), 0),
    "half of UTF-16": ("services: {a: {image: b}}".encode("utf-16")[:-1], 1),
    "a NUL": (b'services:\n  a:\n    image: "x\x00y"\n', 1),
    "a value of 10 MB": (b"services: {a: {image: x, labels: {big: '" + b"x" * 10_000_000 + b"'}}}\n", 0),
    "a key of 10 MB": (b"services: {" + b"k" * 10_000_000 + b": {image: x}}\n", 1),
    "a number of 100,000 digits": (b"services: {a: {image: x, mem_limit: " + b"9" * 100_000 + b"}}", 1),
    "a type of another language": (b'services: !!python/object/apply:os.system ["id"]', 1),
    "extends without end": (
        b"services:\n"
        + b"".join(b"  s%d: {extends: {service: s%d}}\n" % (i, i + 1) for i in range(2000))
        + b"  s2000: {image: x}\n",
        1,
    ),
    "nothing": (b"", 1),
}


@pytest.mark.parametrize("name", FILES)
def test_a_plain_answer(name: str, tmp_path: Path) -> None:
    text, status = FILES[name]
    (tmp_path / "compose.yaml").write_bytes(text)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with (tmp_path / "errors").open("wb") as errors:
        process = subprocess.Popen(
            [
                "/bin/sh",
                "-c",
                f'ulimit -v {MEGABYTES * 1024}; exec "$0" -m composer config -q',
                sys.executable,
            ],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": "/"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
    process.wait(timeout=60)
    said = (tmp_path / "errors").read_bytes()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < SECONDS
    assert process.returncode == status, said[-500:]
    assert b"Traceback" not in said
    assert len(said) < 10_000
    assert bool(said) == bool(status)
