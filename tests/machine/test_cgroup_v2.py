"""On a machine with a kernel of its own and cgroup v2, where this machine has v1: the smoke tests, limits, also where
no controller is handed on, and AppArmor, SCTP and ipvlan, which few machines of the other tests have; and an image,
which is to be the same as here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e import engine
from tests.machine import boot

ROOT = Path(__file__).resolve().parents[2]
CONTAINERS = "tests/integration/container"
LIMITS = (
    "values processors_of_a_container_that_runs out_of_memory pids_limit update counters freeze throttled_device "
    "a_throttle_holds weights"
).split()
TESTS = "COMPOSER_TEST_PATIENCE=10 python3 -m pytest -q -p no:cacheprovider"
BARE = "/sys/fs/cgroup/bare/inner"
"""A cgroup that no controller is handed on to, for a namespace in which that is all there is."""
DIRECT = " ".join(
    f"'{CONTAINERS}/test_direct.py::test_{name}'" for name in ("is_as_a_fork_would_be[user]", "many_of_them")
)
UNDELEGATED = (
    f"mkdir -p {BARE} && (echo 0 > {BARE}/cgroup.procs && exec unshare --cgroup --mount sh -c '"
    "umount -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && "
    f"{TESTS} {CONTAINERS}/test_undelegated.py') && echo undelegated: fine"
)
MODULES = {
    "sctp": ("tests/integration/network/test_sctp.py",),
    "ipvlan": ("tests/integration/network/test_ipvlan.py",),
}
"""What a kernel may have a module for, and tests that need it."""
WITH_MODULES = (
    f'for name in {" ".join(MODULES)}; do modprobe -q $name || echo "machine: no $name"; done; '
    f"{TESTS} -rA {' '.join(path for paths in MODULES.values() for path in paths)}"
)
OWN = "tests/chaos/test_kernel_limits.py"
"""What needs a machine of its own."""
COMMAND = (
    f"{WITH_MODULES} && python3 tests/tiers.py smoke && {UNDELEGATED} && "
    f"COMPOSER_TEST_MACHINE=own {TESTS} --basetemp=/root/own {OWN} && "
    f"{TESTS} --basetemp=/root/tests {CONTAINERS}/test_apparmor.py "
    f"{' '.join(f'{CONTAINERS}/test_limits.py::test_{name}' for name in LIMITS)} {DIRECT}"
)
PROGRAMS = ("/usr/bin/dash", "/usr/bin/ls", "/usr/bin/mkdir")
DOCKERFILE = """FROM scratch AS system
ADD system.tar /
FROM system AS made
SHELL ["/usr/bin/dash", "-c"]
RUN mkdir /made; echo text > /made/file; ls / /usr/bin > /made/listed; umask >> /made/listed
FROM made
WORKDIR /here
COPY --chown=7:8 . ./context/
COPY --from=made /made/ ./
LABEL a=b
"""
COMPRESSIONS = ("gzip", "zstd", "uncompressed")
STARTED = "for n in 1 2 3 4 5 6 7 8 9; do python3 -m composer engine start && break; done"
"""An emulated machine that shares its processors may take longer than a command waits."""
BUILD = ("image", "build", "-q", "--build-arg", "SOURCE_DATE_EPOCH=1700000000")


@dataclass(frozen=True)
class Machine:
    """What came of it there and here."""

    status: int
    console: str
    own: dict[str, str]
    """Compression -> the image's digest as this machine builds it."""


def _context(directory: Path) -> None:
    """Programs with their libraries, what is built of them, and files enough for a long stream."""
    files = set(PROGRAMS)
    for name in PROGRAMS:
        listed = subprocess.run(["ldd", name], capture_output=True, text=True, check=True).stdout
        files |= set(re.findall(r"(/\S+) \(0x", listed))
    with tarfile.open(directory / "system.tar", "w", dereference=True) as tar:
        for name in sorted(files):
            tar.add(name, name)
    (directory / "Dockerfile").write_text(DOCKERFILE)
    (directory / "numbers").write_text("".join(f"{number * number}\n" for number in range(200_000)))


def _words(compression: str, directory: str) -> tuple[str, ...]:
    output = f"type=oci,dest={directory}/{compression}.tar,compression={compression},force-compression=true"
    return (*BUILD, "-o", output, "--metadata-file", f"{directory}/{compression}.json")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    given, room = tmp_path_factory.mktemp("given"), tmp_path_factory.mktemp("made")
    _context(given)
    own = {}
    with engine.running(room / "root", {}, lambda: False) as composer:
        for compression in COMPRESSIONS:
            composer.run(*_words(compression, str(room)), str(given))
            own[compression] = _digest((room / f"{compression}.json").read_text())
    words = [
        " ".join(("python3", "-m", "composer", *_words(one, "/root"), "/mnt/given")) for one in COMPRESSIONS
    ]
    shown = " ".join(f"/root/{one}.json" for one in COMPRESSIONS)
    build = f"{STARTED}; {' && '.join(words)} && cat {shown}; python3 -m composer engine stop"
    status, console = boot.run(
        f"(export COMPOSER_ROOT=/root/composer; {build}); {COMMAND}", ROOT / ".cache/machine", given=given
    )
    print(console)
    yield Machine(status, console, own)


def _digest(metadata: str) -> str:
    digest: str = json.loads(metadata)["containerimage.digest"]
    return digest


pytestmark = [
    pytest.mark.skipif(
        Path("/sys/fs/cgroup/cgroup.controllers").exists(), reason="needs cgroup v1: this is v2 already"
    ),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]


def test_smoke_under_cgroup_v2(machine: Machine) -> None:
    assert machine.status == 0
    assert " passed" in machine.console
    assert "undelegated: fine" in machine.console
    assert "skipped" not in machine.console.rpartition("All tests passed")[2]


def test_another_machine_builds_the_same_image(machine: Machine) -> None:
    there = re.findall(r'"containerimage.digest": "(sha256:[0-9a-f]{64})"', machine.console)
    assert dict(zip(COMPRESSIONS, there, strict=True)) == machine.own


@pytest.mark.parametrize("name", MODULES)
def test_what_the_kernel_has_a_module_for(machine: Machine, name: str) -> None:
    if f"machine: no {name}" in machine.console:
        pytest.skip(f"the machine's kernel has no module {name}")
    for path in MODULES[name]:
        assert f"PASSED {path}::" in machine.console
        assert not re.search(rf"^(FAILED|ERROR) {path}", machine.console, re.MULTILINE)
        assert not re.search(rf"^SKIPPED .*{path}:.*needs", machine.console, re.MULTILINE)
