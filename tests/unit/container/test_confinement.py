"""Which processes have a filter of system calls, and what may be written of cgroups."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runtime.container.config import ContainerConfig, ImageConfig, Mount
from runtime.container.confinement import SecurityOptions, confine
from runtime.container.exec_process import exec_process
from runtime.container.host_facts import HostFacts
from runtime.container.mounting import MountSources, plan_mounts
from runtime.container.operations import Bind, Filesystem
from runtime.errors import InvalidArgument
from runtime.kernel import capabilities

HOST = HostFacts(capabilities=capabilities.ALL, kernel=(6, 1), machine="x86_64", cgroup_version=2)
PROFILE = json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []})


@pytest.mark.parametrize(
    ("options", "privileged", "has_filter"),
    [
        ((), False, True),
        ((), True, False),
        (("seccomp=unconfined",), False, False),
        (("seccomp=unconfined",), True, False),
        (("seccomp=builtin",), True, True),
        ((f"seccomp={PROFILE}",), True, True),
    ],
)
def test_who_has_a_filter(options: tuple[str, ...], privileged: bool, has_filter: bool) -> None:
    """A privileged container has one where it was asked for: a profile is never left out in silence."""
    config = ContainerConfig(image="i", privileged=privileged, security_opt=options)
    assert bool(confine(config, HOST, SecurityOptions.parse(options)).seccomp) is has_filter


def test_a_privileged_exec_keeps_the_containers_filter() -> None:
    config = ContainerConfig(image="i")
    plain = exec_process(config, ImageConfig(), HOST, ["true"]).confinement
    privileged = exec_process(config, ImageConfig(), HOST, ["true"], privileged=True).confinement
    assert privileged.effective == privileged.bounding == HOST.capabilities
    assert plain.seccomp == privileged.seccomp != ""


@pytest.mark.parametrize(
    ("cgroup_version", "options", "says"),
    [(1, {}, "takes cgroup v2"), (2, {"cgroupns_mode": "host"}, "cgroup namespace of the container's own")],
)
def test_cgroups_that_are_not_the_containers_own_are_not_written(
    cgroup_version: Any, options: dict[str, Any], says: str
) -> None:
    host = HostFacts(
        capabilities=capabilities.ALL, kernel=(6, 1), machine="x86_64", cgroup_version=cgroup_version
    )
    with pytest.raises(InvalidArgument, match=says):
        confine(ContainerConfig(image="i", **options), host, SecurityOptions(has_writable_cgroups=True))


def planned(sources: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """Operations by their target."""
    made = plan_mounts(
        ContainerConfig(image="i", **options),
        MountSources(layers=("/layer",), state_dir="/lib/c/1", run_dir="/run/c/1", **(sources or {})),
    )
    return {operation.target: operation for operation in made if isinstance(operation, Bind | Filesystem)}


def test_what_a_read_only_container_may_not_write_to_the_engines_files() -> None:
    for name in ("hosts", "hostname", "resolv.conf"):
        assert not planned()[f"/etc/{name}"].read_only
        assert planned(read_only=True)[f"/etc/{name}"].read_only


def test_a_tmpfs_in_the_place_of_shared_memory_is_open_to_all() -> None:
    memory = planned(mounts=(Mount(type="tmpfs", target="/dev/shm", size=1 << 20),))["/dev/shm"]
    assert dict(memory.options) == {"size": str(1 << 20), "mode": "1777"}
    memory = planned(mounts=(Mount(type="tmpfs", target="/dev/shm", mode=0o700),))["/dev/shm"]
    assert dict(memory.options)["mode"] == "700"


def test_writable_cgroups() -> None:
    assert "ro" in planned()["/sys/fs/cgroup"].attributes
    assert "ro" not in planned({"has_writable_cgroups": True})["/sys/fs/cgroup"].attributes
