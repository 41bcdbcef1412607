"""Known ways out of containers, tried: each is named by the weakness that other engines had."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runtime.container.config import Mount
from runtime.container.launch_tables import Tables
from runtime.container.shim_client import LaunchError
from runtime.kernel.capabilities import DEFAULT, NUMBERS

from .conftest import NoTables

if TYPE_CHECKING:
    from .conftest import Laboratory

PYTHON = "/usr/bin/python3"


async def prepared(laboratory: Laboratory, number: int) -> tuple[str, Path]:
    """A container that has run once, and its writable layer: a hostile image is what is put in there."""
    container = f"{number:064x}"
    assert (await laboratory.sh("true", id=container)).code == 0
    return container, laboratory.paths.container(container) / "upper"


@pytest.mark.parametrize("descriptor", [3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
async def test_working_directory_through_a_descriptor(laboratory: Laboratory, descriptor: int) -> None:
    """CVE-2024-21626: /proc/self/fd/N as working directory led to a directory of the host."""
    for path in (f"/proc/self/fd/{descriptor}", f"/proc/self/fd/{descriptor}/../../.."):
        with pytest.raises(LaunchError, match="working directory"):
            await laboratory.run("pwd", working_dir=path)


async def test_working_directory_of_an_exec_through_a_descriptor(laboratory: Laboratory) -> None:
    shim = await laboratory.start("sleep", "1000")
    for descriptor in range(3, 24):
        with pytest.raises(LaunchError, match="working directory"):
            await laboratory.exec(shim, "pwd", cwd=f"/proc/self/fd/{descriptor}")


async def test_working_directory_that_is_a_link(laboratory: Laboratory) -> None:
    container, upper = await prepared(laboratory, 1)
    (upper / "link").symlink_to("/proc/self/fd/5")
    with pytest.raises(LaunchError, match="working directory"):
        await laboratory.run("pwd", working_dir="/link", id=container)


OVERWRITE = """
import errno, os, sys
for opened in ("/proc/self/exe", f"/proc/self/fd/{os.open('/proc/self/exe', os.O_PATH)}"):
    try:
        os.open(opened, os.O_WRONLY | os.O_TRUNC)
        print("open")
    except OSError as problem:
        print(errno.errorcode[problem.errno])
"""


async def test_the_engines_own_program_cannot_be_written(laboratory: Laboratory) -> None:
    """CVE-2019-5736: a container whose program is /proc/self/exe runs what the engine runs, and could write it."""
    finished = await laboratory.run("/proc/self/exe", "-c", OVERWRITE)
    assert finished.lines == ["EROFS", "EROFS"], finished.stderr
    shim = await laboratory.start("sleep", "1000")
    finished = await laboratory.exec(shim, "/proc/self/exe", "-c", OVERWRITE)
    assert finished.lines == ["EROFS", "EROFS"], finished.stderr


FIRST = """
while read -r name value rest; do case $name in CapPrm:|Seccomp:) echo $value ;; esac; done < /proc/1/status
"""


@pytest.mark.parametrize("tty", [False, True])
async def test_a_program_begins_when_its_init_is_what_it_will_be(laboratory: Laboratory, tty: bool) -> None:
    """Before that PID 1 has what the engine has, and a program with CAP_SYS_PTRACE could look and write into it."""
    may = DEFAULT | 1 << NUMBERS["SYS_PTRACE"]
    for _ in range(5):
        shown = await laboratory.sh(FIRST, init=True, tty=tty, cap_add=("SYS_PTRACE",))
        assert shown.lines == [f"{may:016x}", "2"]


async def test_init_is_sealed_and_nothing_of_the_host(laboratory: Laboratory) -> None:
    script = "readlink /proc/1/exe; (echo x > /proc/1/exe) 2>&1; ls /proc/1/fd; cat /proc/1/environ | wc -c"
    finished = await laboratory.sh(script, init=True)
    assert finished.lines[0].startswith("/memfd:composer-init")
    assert "cannot create /proc/1/exe" in finished.lines[1]
    assert finished.lines[2:] == ["0", "1", "2", "0"]


async def test_files_of_the_engine_over_links(laboratory: Laboratory, tmp_path: Path) -> None:
    """A link where hosts, hostname and resolv.conf go is resolved inside the root."""
    container, upper = await prepared(laboratory, 2)
    outside = tmp_path / "outside"
    outside.mkdir()
    (upper / "etc").mkdir(exist_ok=True)
    for name in ("hosts", "hostname", "resolv.conf"):
        (upper / "etc" / name).unlink(missing_ok=True)
        (upper / "etc" / name).symlink_to(f"../../../../../..{outside}/{name}")
    finished = await laboratory.sh("cat /etc/hosts", id=container)
    assert finished.text == "127.0.0.1 localhost\n"
    assert list(outside.iterdir()) == []


async def test_a_volume_is_filled_from_inside(laboratory: Laboratory, tmp_path: Path) -> None:
    """CVE-2018-15664 and the like: what is copied from is looked up in the root, links in it are copied as links."""
    container, upper = await prepared(laboratory, 3)
    (tmp_path / "secret").write_text("of the host")
    (upper / "leads").symlink_to(f"/../../..{tmp_path}")
    (upper / "tree").mkdir()
    (upper / "tree/link").symlink_to("/etc/shadow")
    volumes = {name: tmp_path / f"volumes/{name}/_data" for name in ("one", "two")}
    for path in volumes.values():
        path.mkdir(parents=True)
    mounts = (
        Mount(type="volume", source="one", target="/leads"), Mount(type="volume", source="two", target="/tree"),
    )  # fmt: skip
    assert (await laboratory.sh("true", id=container, mounts=mounts, inputs={"volumes": volumes})).code == 0
    assert list(volumes["one"].iterdir()) == []
    assert os.readlink(volumes["two"] / "link") == "/etc/shadow"


async def test_accounts_that_are_no_files(laboratory: Laboratory) -> None:
    """A FIFO, a directory, a device or a link to the host as /etc/passwd neither blocks nor tells anything."""
    for number, kind in enumerate(("fifo", "directory", "link", "magic"), 4):
        container, upper = await prepared(laboratory, number)
        (upper / "etc").mkdir(exist_ok=True)
        passwd = upper / "etc/passwd"
        match kind:
            case "fifo":
                os.mkfifo(passwd)
            case "directory":
                passwd.mkdir()
            case "link":
                passwd.symlink_to("../../../../../etc/nothing")
            case _:
                passwd.symlink_to("/proc/self/fd/0")
        with pytest.raises(LaunchError, match="unable to find user sys: no matching entries in passwd file"):
            await laboratory.run("true", id=container, user="sys")
        assert (await laboratory.run("id", "-u", id=container, user="77")).lines == ["77"]


async def test_a_number_is_a_number(laboratory: Laboratory) -> None:
    """An image's account whose name is a number cannot make root of it."""
    container, upper = await prepared(laboratory, 9)
    (upper / "etc").mkdir(exist_ok=True)
    (upper / "etc/passwd").write_text("1000:x:0:0::/root:/bin/sh\nroot:x:0:0::/root:/bin/sh\n")
    (upper / "etc/group").write_text("1000:x:0:\nroot:x:0:\n")
    finished = await laboratory.run("id", id=container, user="1000:1000")
    assert finished.text.startswith("uid=1000 gid=1000(1000)") or "uid=1000" in finished.text
    found = await laboratory.facts("process", id=container, user="1000:1000")
    assert found["process"]["ids"] == [1000] * 6


async def test_device_nodes_go_into_the_containers_dev(laboratory: Laboratory, tmp_path: Path) -> None:
    """CVE-2026-41579: /dev of the image a link: nodes were made on the host. Refused, and nothing made."""
    container, upper = await prepared(laboratory, 10)
    outside = tmp_path / "dev"
    outside.mkdir()
    (upper / "dev").symlink_to(f"../../../../../..{outside}")
    with pytest.raises(LaunchError, match="/dev of the image is not a real directory"):
        await laboratory.sh("true", id=container)
    assert list(outside.iterdir()) == []


async def test_what_scanners_look_for(laboratory: Laboratory) -> None:
    """CDK, amicontained: sockets and paths of engines, writable release_agent, core_pattern, namespaces of the host."""
    script = """
        find / -xdev \\( -name 'docker.sock' -o -name 'engine.sock' -o -name 'shim.sock' -o -name containerd.sock \\)
        find /sys/fs/cgroup -name release_agent -writable 2>/dev/null
        find /sys/fs/cgroup -name 'devices.allow' | while read f; do (: >> $f) 2>/dev/null && echo $f; done
        (: >> /proc/sys/kernel/core_pattern) 2>/dev/null && echo core_pattern
        (: >> /proc/sys/kernel/unprivileged_bpf_disabled) 2>/dev/null && echo bpf
        ls -d /host /rootfs 2>/dev/null
        cat /proc/net/unix | grep -E 'containerd|composer|docker'
        env | grep -iE 'secret|token|password|COMPOSER|DOCKER'
        echo end
    """
    assert (await laboratory.sh(script)).lines == ["end"]


async def test_descriptors(laboratory: Laboratory) -> None:
    """Three, however a process begins."""
    for options in ({}, {"init": True}, {"stdin_open": True, "stdin_once": True}):
        assert (await laboratory.facts("descriptors", **options))["descriptors"] == [0, 1, 2]
    finished = await laboratory.run(
        PYTHON, "-c", "import os; print(sorted(os.listdir('/proc/self/fd')))", tty=True
    )
    assert finished.text.strip() == "['0', '1', '2', '3']"
    shim = await laboratory.start("sleep", "1000")
    assert (await laboratory.facts("descriptors", shim=shim))["descriptors"] == [0, 1, 2]


@pytest.mark.parametrize("tables", [Tables, NoTables])
@pytest.mark.parametrize("kind", ["tmpfs", "bind", "file", "hosts"])
async def test_nothing_is_mounted_inside_proc_through_a_link(
    laboratory: Laboratory, tmp_path: Path, kind: str, tables: type[Tables]
) -> None:
    """CVE-2019-16884, CVE-2025-52881: what is written to a covered file of /proc does not reach the kernel."""
    laboratory.keeper.tables = tables()
    container, upper = await prepared(laboratory, 7)
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").touch()
    (upper / "link").symlink_to("/proc/self" + ("/attr/exec" if kind == "file" else ""))
    mounts = {
        "tmpfs": (Mount(type="tmpfs", target="/link"),),
        "bind": (Mount(type="bind", source=str(tmp_path / "directory"), target="/link"),),
        "file": (Mount(type="bind", source=str(tmp_path / "file"), target="/link"),),
        "hosts": (),
    }[kind]
    if kind == "hosts":
        (upper / "etc").mkdir(exist_ok=True)
        (upper / "etc/hosts").unlink(missing_ok=True)
        (upper / "etc/hosts").symlink_to("/proc/self/attr/exec")
    with pytest.raises(LaunchError, match="leads into /proc"):
        await laboratory.run("true", id=container, mounts=mounts)


@pytest.mark.parametrize("target", ["/proc/self", "/proc/self/attr", "/sys/kernel/mm"])
async def test_of_proc_and_sys_nothing_is_copied_into_a_volume(
    laboratory: Laboratory, tmp_path: Path, target: str
) -> None:
    """It would be what the engine's own process has there, and what is to be masked later."""
    container, upper = await prepared(laboratory, 8)
    (upper / "below").mkdir()
    (upper / "below/link").symlink_to(target)
    data = tmp_path / "volumes/new/_data"
    data.mkdir(parents=True)
    mounts = (Mount(type="volume", source="new", target="/below/link"),)
    shim = None
    with suppress(LaunchError):
        shim = await laboratory.start("true", id=container, mounts=mounts, inputs={"volumes": {"new": data}})
    if shim is not None:
        await shim.wait()
    assert not list(data.iterdir())
