"""Which sysctls a container may have: none that another one, or the machine, would notice."""

from __future__ import annotations

import pytest

from runtime.errors import InvalidArgument
from runtime.kernel.sysctls import check_sysctls, path_of

OWN = (
    "net.ipv4.ip_forward", "net/ipv4/conf/eth0.1/rp_filter", "net.core.somaxconn", "kernel.msgmax", "kernel.sem",
    "kernel.shm_rmid_forced", "fs.mqueue.msg_max",
)  # fmt: skip
HOSTS = (
    "kernel.core_pattern", "kernel/core_pattern", "vm.swappiness", "kernel.hostname", "kernel.domainname",
    "fs.file-max", "kernel.shmmaxx", "kernel.modprobe", "net", "net.../kernel.core_pattern", "net./../kernel/x", "",
    "net/../kernel/core_pattern", "net.//.kernel.core_pattern", "net./.ipv4", "net.ipv4\n", "kernel.msgmax ",
)  # fmt: skip


@pytest.mark.parametrize("key", OWN)
def test_of_the_containers_own_namespaces(key: str) -> None:
    check_sysctls({key: "1"}, has_own_net=True, has_own_ipc=True)


@pytest.mark.parametrize("key", HOSTS)
def test_of_the_machine(key: str) -> None:
    with pytest.raises(InvalidArgument, match="sysctl"):
        check_sysctls({key: "1"}, has_own_net=True, has_own_ipc=True)


@pytest.mark.parametrize("key", OWN)
def test_where_the_namespace_is_not_its_own(key: str) -> None:
    with pytest.raises(InvalidArgument, match=r"is not allowed in (a network|the host's IPC) namespace"):
        check_sysctls({key: "1"}, has_own_net=False, has_own_ipc=False)


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
        ("net.ipv4.conf.eth0/1.rp_filter", "net/ipv4/conf/eth0.1/rp_filter"),
        ("net/ipv4/conf/eth0.1/rp_filter", "net/ipv4/conf/eth0.1/rp_filter"),
    ],
)
def test_which_file_it_is(key: str, path: str) -> None:
    assert path_of(key) == path
