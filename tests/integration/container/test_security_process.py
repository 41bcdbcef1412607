"""The state in which a program begins: signals, limits, environment, session, keyring, working directory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from runtime.container.config import ImageConfig, Ulimit
from runtime.container.shim_client import LaunchError
from runtime.errors import InvalidArgument
from runtime.kernel.capabilities import NUMBERS, read_bounding

from . import facts

if TYPE_CHECKING:
    from .conftest import Laboratory

SIGNALS = "grep -E '^Sig(Ign|Blk|Pnd)' /proc/self/status | cut -f2; cut -d' ' -f6 /proc/self/stat; umask; pwd"


@pytest.mark.parametrize("options", [{}, {"init": True}, {"user": "1000"}], ids=str)
async def test_signals_session_and_umask(laboratory: Laboratory, options: dict[str, Any]) -> None:
    """Nothing is ignored or blocked, as Python's SIGPIPE would be; it leads a session; umask 0022; WORKDIR or /."""
    lines = (await laboratory.sh(SIGNALS, **options)).lines
    assert lines[:3] == ["0" * 16] * 3
    assert lines[3] == ("2" if options.get("init") else "1")
    assert lines[4:] == ["0022", "/"]


async def test_signals_of_an_exec(laboratory: Laboratory) -> None:
    shim = await laboratory.start("sleep", "1000")
    lines = (await laboratory.exec(shim, "/bin/sh", "-c", SIGNALS)).lines
    assert lines[:3] == ["0" * 16] * 3
    assert int(lines[3]) > 1, "a session of its own"
    assert lines[4:] == ["0022", "/"]


async def test_limits_are_the_engines(laboratory: Laboratory) -> None:
    found = (await laboratory.facts("limits"))["limits"]
    printed = subprocess.run(
        [sys.executable, facts.__file__, "limits"], check=True, capture_output=True, text=True
    )
    assert found == json.loads(printed.stdout)["limits"]


async def test_limits_that_were_asked_for(laboratory: Laboratory) -> None:
    """Also for users other than root, and for the processes of execs."""
    asked = (
        Ulimit(name="nofile", soft=100, hard=200), Ulimit(name="nproc", soft=77, hard=77),
        Ulimit(name="core", soft=0, hard=-1), Ulimit(name="RLIMIT_MEMLOCK", soft=4096, hard=8192),
    )  # fmt: skip
    for user in ("", "1000"):
        found = (await laboratory.facts("limits", ulimits=asked, user=user))["limits"]
        assert found["Max open files"] == ["100", "200"]
        assert found["Max processes"] == ["77", "77"]
        assert found["Max core file size"][0] == "0"
        assert found["Max locked memory"] == ["4096", "8192"]
    for limit in (Ulimit(name="nofiles", soft=1, hard=1), Ulimit(name="nofile", soft=2, hard=1)):
        with pytest.raises(InvalidArgument, match="ulimit"):
            await laboratory.run("true", ulimits=(limit,))


async def test_limits_beyond_the_engines(laboratory: Laboratory) -> None:
    """Who may not raise limits (CAP_SYS_RESOURCE) is told which one it was."""
    largest = int(Path("/proc/sys/fs/nr_open").read_text())
    beyond = (Ulimit(name="nofile", soft=largest + 1, hard=largest + 1),)
    with pytest.raises(LaunchError, match=f"limits: ulimit nofile: {largest + 1} is not permitted"):
        await laboratory.run("true", ulimits=beyond)


async def test_an_oom_score_below_the_engines(laboratory: Laboratory) -> None:
    if read_bounding() >> NUMBERS["SYS_RESOURCE"] & 1:
        assert (await laboratory.run("cat", "/proc/1/oom_score_adj", oom_score_adj=-500)).lines == ["-500"]
    else:
        own = Path("/proc/self/oom_score_adj").read_text().strip()
        says = f"oom_score_adj: -500 is not permitted: the engine's own is {own}, and less takes CAP_SYS_RESOURCE"
        with pytest.raises(LaunchError, match=says):
            await laboratory.run("true", oom_score_adj=-500)


async def test_environment(laboratory: Laboratory) -> None:
    """PATH, HOSTNAME, HOME, the image's and the user's: nothing of the engine's, TERM with a terminal only."""
    os.environ["COMPOSER_TEST_SECRET"] = "of the engine"
    try:
        image = ImageConfig(env=("FROM_IMAGE=1", "HOME=/image"))
        finished = await laboratory.run("/usr/bin/env", image=image, env=("OWN=2",), hostname="box")
    finally:
        del os.environ["COMPOSER_TEST_SECRET"]
    assert dict(line.split("=", 1) for line in finished.lines) == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME": "box", "HOME": "/image",
        "FROM_IMAGE": "1", "OWN": "2",
    }  # fmt: skip
    assert "TERM=xterm" in (await laboratory.run("/usr/bin/env", tty=True)).text


async def test_time_is_the_hosts_and_cannot_be_set(laboratory: Laboratory) -> None:
    finished = await laboratory.sh("date -s '2001-01-01' 2>&1 | grep -c 'not permitted'; hostname evil 2>&1")
    assert finished.lines[0] == "1"
    assert "evil" not in Path("/proc/sys/kernel/hostname").read_text()
    assert (await laboratory.sh("hostname evil; hostname")).lines[-1] != "evil"


async def test_orphans_are_reaped(laboratory: Laboratory) -> None:
    """By the init of the engine."""
    script = (
        "(sleep 0.05 & echo $! > /orphan); "
        "while test -e /proc/$(cat /orphan); do sleep 0.02; done; readlink /proc/1/exe"
    )
    finished = await laboratory.sh(script, init=True)
    assert finished.text.startswith("/memfd:composer-init")
