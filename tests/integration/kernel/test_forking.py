"""Children that are born in a cgroup of v2 (also the empty hierarchy beside v1 on a hybrid machine)."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.kernel.forking import fork_into

MOUNTS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))


@pytest.fixture
def cgroup() -> Iterator[Path]:
    root = next(
        (
            path
            for path in MOUNTS
            if (path / "cgroup.procs").exists() and (path / "cgroup.subtree_control").exists()
        ),
        None,
    )
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if root is None:
        pytest.skip("needs cgroup v2")
    made = root / f"composer-test-{secrets.token_hex(4)}"
    made.mkdir()
    yield made
    made.rmdir()


def test_child_is_born_there(cgroup: Path) -> None:
    """It is a whole interpreter: imports, forks again, ends with what it says."""
    fd = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY)
    reader, writer = os.pipe()
    for _ in range(20):
        pid = fork_into(fd)
        if pid == 0:
            try:
                import decimal

                inner = os.fork()
                if inner == 0:
                    os._exit(int(decimal.Decimal(3)))
                code = os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1])
                text = Path("/proc/self/cgroup").read_text().split("0::")[1].split()[0]
                os.write(writer, f"{os.getpid()} {code} {text}\n".encode())
                os._exit(7)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        told = os.read(reader, 1000).decode().split()
        assert told == [str(pid), "3", f"/{cgroup.name}"]
    for descriptor in (fd, reader, writer):
        os.close(descriptor)


def test_no_cgroup() -> None:
    reader, writer = os.pipe()
    with pytest.raises(OSError, match="clone3"):
        fork_into(reader)
    os.close(reader)
    os.close(writer)
