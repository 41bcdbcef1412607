"""AppArmor where the machine has it: what runs in a container is under the profile asked for, or the default one."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
import trio

from runtime.container.config import ContainerConfig
from runtime.container.confinement import DEFAULT_APPARMOR
from runtime.container.shim_client import LaunchError
from runtime.kernel import apparmor

from .conftest import TIMEOUT

if TYPE_CHECKING:
    from .conftest import Laboratory

pytestmark = [
    pytest.mark.skipif(
        not apparmor.is_enabled() or shutil.which("apparmor_parser") is None,
        reason="needs a kernel with AppArmor, and apparmor_parser",
    ),
]
RULES = "file, capability, network, signal, ptrace, unix, deny /srv/** w, deny mount,"
SCRIPT = "cat /proc/self/attr/current; touch /srv/x 2>&1; touch /tmp/x && echo made"
CONFINED = ["touch: cannot touch '/srv/x': Permission denied", "made"]


@pytest.fixture
def load() -> Iterator[Callable[[str], str]]:
    """Loads a profile by name; taken away again at the end."""
    loaded: list[str] = []

    def text(name: str) -> bytes:
        return f"profile {name} flags=(attach_disconnected,mediate_deleted) {{ {RULES} }}".encode()

    def load_profile(name: str) -> str:
        subprocess.run(["apparmor_parser", "-aK"], input=text(name), check=True, capture_output=True)
        loaded.append(name)
        return name

    yield load_profile
    for name in loaded:
        subprocess.run(["apparmor_parser", "-R"], input=text(name), check=True, capture_output=True)


async def test_a_profile_that_was_asked_for(laboratory: Laboratory, load: Callable[[str], str]) -> None:
    """Of the program, of execs and of what runs with ``no-new-privileges``."""
    profile = load(f"composer-test-{secrets.token_hex(4)}")
    for more in ((), ("no-new-privileges",)):
        options = (f"apparmor={profile}", *more)
        finished = await laboratory.sh(SCRIPT, security_opt=options)
        assert finished.lines == [f"{profile} (enforce)", *CONFINED]
        shim = await laboratory.start("sleep", "1000", security_opt=options)
        config = ContainerConfig(image="composer.local/host", security_opt=options)
        with trio.fail_after(TIMEOUT):
            is_forkless = False
            while not is_forkless:  # first a fork, then those that need none
                finished = await laboratory.exec(shim, "/bin/sh", "-c", SCRIPT, config=config)
                assert finished.lines == [f"{profile} (enforce)", *CONFINED]
                is_forkless = os.uname().machine != "x86_64" or (await shim.state())["execs_without_fork"] > 0


async def test_the_default(laboratory: Laboratory, load: Callable[[str], str]) -> None:
    """Docker's profile where somebody has loaded it; none for what is privileged or asks for none."""
    if not apparmor.is_loaded(DEFAULT_APPARMOR):
        load(DEFAULT_APPARMOR)
    assert (await laboratory.sh("cat /proc/self/attr/current")).lines == [f"{DEFAULT_APPARMOR} (enforce)"]
    free: tuple[dict[str, Any], ...] = ({"privileged": True}, {"security_opt": ("apparmor=unconfined",)})
    for options in free:
        assert (await laboratory.sh("cat /proc/self/attr/current", **options)).lines == ["unconfined"]


async def test_a_profile_that_is_not_there(laboratory: Laboratory) -> None:
    with pytest.raises(LaunchError, match="apparmor profile composer-nonesuch is not loaded"):
        await laboratory.run("true", security_opt=("apparmor=composer-nonesuch",))
