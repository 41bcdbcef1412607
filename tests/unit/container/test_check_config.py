"""What is refused before a container is made."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.container.config import ContainerConfig, EndpointConfig, LogConfig, Mount, Resources, Ulimit
from runtime.container.host_facts import HostFacts
from runtime.container.spec import check_config
from runtime.errors import InvalidArgument
from runtime.kernel import capabilities

HOST = HostFacts(
    capabilities=capabilities.ALL,
    kernel=(6, 1),
    machine="x86_64",
    cgroup_version=2,
    cpus=2,
    online_cpus="0-1,4",
    online_nodes="0",
)


def check(**options: Any) -> None:
    check_config(ContainerConfig(image="i", **options), HOST)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"privileged": True, "security_opt": ("seccomp=unconfined", "label=disable", "apparmor=docker-default")},
        {"security_opt": ("no-new-privileges", "no-new-privileges:false", "systempaths=unconfined", "seccomp=builtin")},
        {"pid_mode": "host", "ipc_mode": "container:x", "uts_mode": "host", "userns_mode": "host"},
        {"sysctls": {"net.core.somaxconn": "5", "kernel.msgmax": "9"}, "ipc_mode": "shareable"},
        {"mounts": (Mount(type="tmpfs", target="/x", options=("size=1m,noatime",)),), "user": "1000:name"},
        {"log": LogConfig(options={"max-size": "1m", "tag": "x", "mode": "non-blocking", "labels": "a"})},
        {"security_opt": ("writable-cgroups=true",), "env": ("A=1", "B")},
        {"mounts": (Mount(type="volume", source="v", target="/x", subpath="a/b..c"),)},
        {"resources": Resources(nano_cpus=2 * 10**9, cpuset_cpus="0-1,4", cpuset_mems="0")},
    ],
)  # fmt: skip
def test_what_is_taken(options: dict[str, Any]) -> None:
    check(**options)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"cap_add": ("NOPE",)}, "invalid capability"),
        ({"privileged": True, "cap_drop": ("NOPE",)}, "invalid capability"),
        ({"security_opt": ("bogus=1",)}, "invalid --security-opt"),
        ({"security_opt": ("apparmor=mine",)}, "apparmor=mine: AppArmor is not enabled on this machine"),
        ({"security_opt": ("label=type:x",)}, "not applied by this engine"),
        ({"security_opt": ("no-new-privileges=maybe",)}, "invalid --security-opt"),
        ({"security_opt": ("seccomp={",)}, "not valid JSON"),
        ({"sysctls": {"vm.swappiness": "3"}}, "not separately namespaced"),
        ({"sysctls": {"net.core.somaxconn": "3"}, "network_mode": "host"}, "not the container's own"),
        ({"sysctls": {"net.core.somaxconn": "3"}, "network_mode": "container:x"}, "not the container's own"),
        ({"sysctls": {"kernel.msgmax": "3"}, "ipc_mode": "host"}, "IPC namespace"),
        ({"ulimits": (Ulimit(name="nofiles", soft=1, hard=1),)}, "invalid ulimit type"),
        ({"device_cgroup_rules": ("c 1 r",)}, "invalid device cgroup format"),
        ({"mounts": (Mount(type="bind", source="/", target="/proc/x"),)}, "inside /proc"),
        ({"mounts": (Mount(type="tmpfs", target="/x", options=("bogus",)),)}, "invalid option"),
        ({"user": "a:b:c"}, "invalid user"),
        ({"working_dir": "rel"}, "the working directory 'rel' is invalid, it needs to be an absolute path"),
        ({"working_dir": "/a\0b"}, "a working directory cannot contain a NUL byte"),
        ({"oom_score_adj": 1001}, r"Invalid value 1001, range for oom score adj is \[-1000, 1000\]"),
        (
            {"resources": Resources(nano_cpus=2 * 10**9 + 1)},
            "from 0.01 to 2.00, as there are only 2 CPUs available",
        ),
        (
            {"resources": Resources(cpuset_cpus="1-4")},
            "Requested CPUs are not available - requested 1-4, available: 0-1,4",
        ),
        (
            {"resources": Resources(cpuset_mems="1")},
            "Requested memory nodes are not available - requested 1, available: 0",
        ),
        ({"pid_mode": "hosts"}, "invalid PID mode: hosts"),
        ({"pid_mode": "container:"}, "invalid PID mode"),
        ({"ipc_mode": "public"}, "invalid IPC mode: public"),
        ({"uts_mode": "private"}, "invalid UTS mode: private"),
        ({"userns_mode": "container:x"}, "invalid USER mode: container:x"),
        ({"log": LogConfig(driver="syslog")}, "not supported"),
        (
            {"log": LogConfig(options={"max-sise": "1m"})},
            "unknown log opt 'max-sise' for json-file log driver",
        ),
        ({"log": LogConfig(driver="local", options={"labels": "a"})}, "unknown log opt 'labels' for local"),
        ({"log": LogConfig(options={"mode": "fast"})}, "invalid mode 'fast'"),
        ({"endpoints": (EndpointConfig(network="n", aliases=("a\nb",)),)}, "invalid network alias"),
        ({"env": ("=x",)}, "invalid environment variable: =x"),
        ({"security_opt": ("writable-cgroups=maybe",)}, "invalid --security-opt"),
        ({"mounts": (Mount(type="volume", source="v", target="/x", subpath="a/../.."),)}, "invalid subpath"),
        ({"mounts": (Mount(type="volume", source="v", target="/x", subpath="/a"),)}, "invalid subpath"),
    ],
)
def test_what_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidArgument, match=says):
        check(**options)


def test_a_volume_of_one_letter_is_a_drive() -> None:
    with pytest.raises(InvalidArgument, match="must be an absolute path") as refused:
        check(mounts=(Mount(type="volume", target="d:/data"),))
    assert "give volume d a longer name" in refused.value.hint
    with pytest.raises(InvalidArgument) as refused:
        check(mounts=(Mount(type="volume", target="data"),))
    assert refused.value.hint == ""
