"""What a process that looks into a container may do, and what its programs are told."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.container.config import ContainerConfig, ImageConfig, Ulimit
from runtime.container.confinement import SecurityOptions, confine
from runtime.container.debugging import confine_debugging, debug_environment
from runtime.container.exec_process import exec_process
from runtime.container.host_facts import HostFacts
from runtime.container.wire import Tools
from runtime.kernel import capabilities

HOST = HostFacts(capabilities=capabilities.ALL, kernel=(6, 1), machine="x86_64", cgroup_version=2)
TOOLS = Tools(trees=("/usr",), links=(("/bin", "usr/bin"), ("/.tools/awk", "/usr/bin/mawk")))
ADDED = {"CAP_DAC_OVERRIDE", "CAP_NET_RAW", "CAP_SYS_PTRACE"}


def names(**options: Any) -> set[str]:
    mask = confine_debugging(ContainerConfig(image="i", **options), HOST).effective
    return set(capabilities.names_of(mask))


def test_the_containers_confinement_and_what_looking_takes() -> None:
    assert names(cap_drop=("ALL",)) == ADDED
    config = ContainerConfig(
        image="i", security_opt=("no-new-privileges",), ulimits=(Ulimit(name="nofile", soft=10, hard=10),)
    )
    own = confine(config, HOST, SecurityOptions.parse(config.security_opt))
    looking = confine_debugging(config, HOST)
    assert looking.effective == looking.bounding == own.effective | capabilities.parse("SYS_PTRACE")
    assert (looking.no_new_privs, looking.rlimits) == (own.no_new_privs, own.rlimits)
    assert looking.seccomp, "there is a filter"


@pytest.mark.parametrize("mode", ["host", "container:x"])
def test_what_is_not_the_containers_is_not_traced(mode: str) -> None:
    assert names(cap_drop=("ALL",), pid_mode=mode) == ADDED - {"CAP_SYS_PTRACE"}


def test_nothing_that_reads_files_by_handle() -> None:
    """CAP_DAC_READ_SEARCH lets open_by_handle_at(2) read the host's files."""
    assert "CAP_DAC_READ_SEARCH" not in names()


def test_privileged() -> None:
    looking = confine_debugging(ContainerConfig(image="i", cap_drop=("ALL",)), HOST, privileged=True)
    assert (looking.effective, looking.seccomp) == (HOST.capabilities, "")
    assert confine_debugging(ContainerConfig(image="i", privileged=True), HOST).seccomp == ""


def test_environment() -> None:
    """The container's, without what would mislead other programs than its own."""
    theirs = [
        "PATH=/opt/app/bin:/usr/bin:/bin:relative",
        "LD_PRELOAD=/x.so",
        "PYTHONHOME=/py",
        "LANG=C",
        "A=1",
    ]
    found = debug_environment(theirs, TOOLS, ("A=2", "TERM=xterm"))
    assert found == (
        "PATH=/.tools:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/app/bin",
        "LANG=C",
        "A=2",
        "TERM=xterm",
    )


def test_process() -> None:
    config = ContainerConfig(image="i", user="1000", working_dir="/app")
    made = exec_process(config, ImageConfig(), HOST, ["sh"], tools=TOOLS)
    assert (made.user, made.cwd) == ("", "")
    assert made.tools is not None
    assert made.tools.cwd == "/app"
    made = exec_process(config, ImageConfig(), HOST, ["sh"], tools=TOOLS, user="5", cwd="/x")
    assert (made.user, made.cwd) == ("5", "/x")
