"""The root file system: read-only, tmpfs, binds, volumes, files, devices, /proc and /sys."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runtime.container.config import Device, FileContent, Mount
from runtime.container.shim_client import LaunchError
from runtime.errors import InvalidArgument

from .conftest import NoTables

if TYPE_CHECKING:
    from .conftest import Laboratory


async def test_writable_layer(laboratory: Laboratory) -> None:
    """What is written lasts from one run to the next, and nothing of it is in the image."""
    container = "ab" * 32
    assert (await laboratory.sh("echo kept > /root/note; chmod 750 /", id=container)).code == 0
    finished = await laboratory.sh("cat /root/note; stat -c %a /", id=container)
    assert finished.lines == ["kept", "750"]
    assert (await laboratory.sh("test -e /root/note")).code == 1


@pytest.mark.parametrize("is_forked", [False, True])
async def test_a_disk_that_is_full_is_named_whatever_it_has_no_room_for(
    laboratory: Laboratory, is_forked: bool
) -> None:
    if is_forked:
        laboratory.keeper.tables = NoTables()
    container = "ac" * 32
    state = laboratory.paths.container(container)
    state.mkdir(parents=True)
    bind = Mount(type="bind", source="/usr", target="/made/for/it", read_only=True)
    steps = set()
    for room in range(8, 100):
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"nr_inodes={room}", "tmpfs", state], check=True)
        try:
            asked = laboratory.sh("true", id=container, mounts=(bind,), working_dir="/new/one")
            assert (await asked).code == 0
            break
        except LaunchError as error:
            assert f"{state}" in str(error), (room, str(error))
            assert "No space left on device" in str(error), (room, str(error))
            assert "composer system prune" in error.hint, (room, error.hint)
            steps.add(str(error).split()[0])
        finally:
            subprocess.run(["umount", state], check=True)
    # A list of system calls may have needed the room that the fork is told of then.
    assert {"overlay:", "bind", "working"} <= steps if is_forked else "overlay:" in steps, steps


async def test_root_attributes(laboratory: Laboratory) -> None:
    assert (await laboratory.sh("stat -c '%a %u %g' / /tmp /etc /dev/shm /.dockerenv")).lines == [
        "755 0 0", "1777 0 0", "755 0 0", "1777 0 0", "755 0 0",
    ]  # fmt: skip


async def test_masked_files_are_nothing_of_the_hosts(laboratory: Laboratory) -> None:
    """A masked file is a device: its mode could be changed if it were not read-only."""
    mode = os.stat("/dev/null").st_mode
    finished = await laboratory.sh("chmod 600 /proc/keys 2>&1; cat /proc/keys; grep devtmpfs /proc/mounts")
    assert finished.lines == ["chmod: changing permissions of '/proc/keys': Read-only file system"]
    assert os.stat("/dev/null").st_mode == mode


async def test_limits_can_be_looked_up_by_everybody(laboratory: Laboratory) -> None:
    finished = await laboratory.sh("find /sys/fs/cgroup -name 'cgroup.procs' -readable | wc -l", user="1000")
    assert int(finished.text) > 0


async def test_the_working_directory_is_made_in_a_root_that_becomes_read_only(laboratory: Laboratory) -> None:
    finished = await laboratory.sh("pwd; touch x 2>&1", read_only=True, working_dir="/new/one")
    assert finished.lines[0] == "/new/one"
    assert "Read-only file system" in finished.text


async def test_read_only(laboratory: Laboratory) -> None:
    finished = await laboratory.sh(
        "touch /x || echo root; touch /etc/x || echo etc; touch /run/t && echo run; "
        "touch /dev/shm/x && echo shm; touch /dev/x || echo dev",
        read_only=True,
        mounts=(Mount(type="tmpfs", target="/run"),),
    )
    assert finished.lines == ["root", "etc", "run", "shm"]  # /dev stays writable, as with Docker


async def test_tmpfs(laboratory: Laboratory) -> None:
    mounts = (
        Mount(type="tmpfs", target="/scratch", size=1 << 20, mode=0o1770),
        Mount(type="tmpfs", target="/x/y/z", options=("uid=1000,exec", "size=64k")),
    )
    finished = await laboratory.sh(
        "stat -c '%a %u' /scratch /x/y/z; grep -E ' (/scratch|/x/y/z) ' /proc/self/mountinfo | cut -d' ' -f6; "
        "head -c 2000000 /dev/zero > /scratch/f 2>/dev/null; stat -c %s /scratch/f",
        mounts=mounts,
    )
    assert finished.lines[0] == "1770 0"
    assert finished.lines[1].endswith(" 1000")
    assert finished.lines[2:4] == ["rw,nosuid,nodev,noexec,relatime", "rw,nosuid,nodev,relatime"]
    assert finished.lines[4] == str(1 << 20)


async def test_bind(laboratory: Laboratory, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("from the host")
    (tmp_path / "single").write_text("one file")
    mounts = (
        Mount(type="bind", source=str(source), target="/data"),
        Mount(type="bind", source=str(source), target="/ro", read_only=True),
        Mount(type="bind", source=str(tmp_path / "single"), target="/etc/single"),
        Mount(type="bind", source=str(tmp_path / "made"), target="/made", create_host_path=True),
    )
    finished = await laboratory.sh(
        "cat /data/file; echo; echo new > /data/new; touch /ro/x || echo refused; cat /etc/single; echo; touch /made/x",
        mounts=mounts,
    )
    assert finished.lines == ["from the host", "refused", "one file"]
    assert (source / "new").read_text() == "new\n"
    assert (tmp_path / "made/x").exists()
    with pytest.raises(LaunchError, match="missing"):
        await laboratory.run(
            "true", mounts=(Mount(type="bind", source=str(tmp_path / "missing"), target="/m"),)
        )


async def test_bind_over_a_link_stays_inside(laboratory: Laboratory, tmp_path: Path) -> None:
    """A link of the image at a mount's target is followed inside the root, never out of it."""
    container = "cd" * 32
    assert (await laboratory.sh("ln -s /../../../outside /link; mkdir /outside", id=container)).code == 0
    (tmp_path / "mark").mkdir()
    finished = await laboratory.sh(
        "test -d /outside/inner && echo inside",
        id=container,
        mounts=(Mount(type="bind", source=str(tmp_path / "mark"), target="/link/inner"),),
    )
    assert finished.lines == ["inside"]
    assert not Path("/outside").exists()


async def test_volume_is_filled_once(laboratory: Laboratory, tmp_path: Path) -> None:
    """A new volume gets what the image has at its place (with owners), one in use keeps what it has."""
    volume = tmp_path / "volumes/data/_data"
    volume.mkdir(parents=True)
    container = "ef" * 32
    assert (
        await laboratory.sh(
            "mkdir -p /srv/d/sub; echo x > /srv/d/sub/f; chown 12:34 /srv/d /srv/d/sub/f", id=container
        )
    ).code == 0
    mounts = (Mount(type="volume", source="data", target="/srv/d"),)
    inputs = {"volumes": {"data": volume}}
    finished = await laboratory.sh("cat /srv/d/sub/f; stat -c '%u %g' /srv/d /srv/d/sub/f; "
                                   "rm -r /srv/d/sub; touch /srv/d/own",
                                   id=container, mounts=mounts, inputs=inputs)  # fmt: skip
    assert finished.lines == ["x", "12 34", "12 34"]
    assert (await laboratory.sh("ls /srv/d", id=container, mounts=mounts, inputs=inputs)).lines == ["own"]
    assert sorted(os.listdir(volume.parent)) == ["_data"]


async def test_volume_subpath_and_nocopy(laboratory: Laboratory, tmp_path: Path) -> None:
    volume = tmp_path / "volumes/data/_data"
    (volume / "inner").mkdir(parents=True)
    (volume / "inner/f").write_text("f")
    (volume / "evil").symlink_to("/etc")
    inputs = {"volumes": {"data": volume}}
    mount = Mount(type="volume", source="data", target="/v", subpath="inner")
    assert (await laboratory.sh("ls /v", mounts=(mount,), inputs=inputs)).lines == ["f"]
    evil = Mount(type="volume", source="data", target="/v", subpath="evil")
    with pytest.raises(LaunchError):
        await laboratory.sh("ls /v", mounts=(evil,), inputs=inputs)
    empty = tmp_path / "volumes/empty/_data"
    empty.mkdir(parents=True)
    nocopy = Mount(type="volume", source="empty", target="/etc", nocopy=True)
    finished = await laboratory.sh("ls /etc | wc -l", mounts=(nocopy,), inputs={"volumes": {"empty": empty}})
    assert int(finished.text) <= 3, "only the mount points of hosts, hostname and resolv.conf"


async def test_files(laboratory: Laboratory, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hidden")
    files = (
        FileContent(target="/run/secrets/a", content=b"inline", uid=5, gid=6, mode=0o440),
        FileContent(target="/run/secrets/b", source=str(tmp_path / "secret")),
        FileContent(target="/etc/app/c", source=str(tmp_path / "secret"), mode=0o400),
    )
    finished = await laboratory.sh(
        "cat /run/secrets/a /run/secrets/b /etc/app/c; echo; stat -c '%a %u %g' /run/secrets/a /etc/app/c; "
        "echo x > /run/secrets/a || echo refused",
        files=files,
    )
    assert finished.lines == ["inlinehiddenhidden", "440 5 6", "400 0 0", "refused"]


async def test_devices(laboratory: Laboratory) -> None:
    finished = await laboratory.sh(
        "cd /dev; for f in null zero full random urandom tty; do stat -c '%n %a %t:%T' $f; done; readlink fd ptmx; ls"
    )
    assert finished.lines[:6] == [
        "null 666 1:3",
        "zero 666 1:5",
        "full 666 1:7",
        "random 666 1:8",
        "urandom 666 1:9",
        "tty 666 5:0",
    ]
    assert finished.lines[6:8] == ["/proc/self/fd", "pts/ptmx"]
    assert set(finished.lines[8:]) == {
        *(("core",) if Path("/proc/kcore").exists() else ()),
        *("fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm"),
        *("stderr", "stdin", "stdout", "tty", "urandom", "zero"),
    }


async def test_a_device_passed_in(laboratory: Laboratory) -> None:
    with contextlib.suppress(FileExistsError):
        os.mknod("/dev/loop0", stat.S_IFBLK | 0o660, os.makedev(7, 0))
    script = "mknod /tmp/l b 7 0; dd if=/tmp/l of=/dev/null count=0 2>&1 && echo opened || echo refused"
    assert (await laboratory.sh(script)).lines[-1] == "refused"
    given = (Device(source="/dev/loop0", target="/dev/given"),)
    finished = await laboratory.sh(
        "stat -c '%F %t:%T' /dev/given; dd if=/dev/given of=/dev/null count=0 2>/dev/null && echo opened",
        devices=given,
    )
    assert finished.lines == ["block special file 7:0", "opened"]
    only_read = (Device(source="/dev/loop0", target="/dev/given", permissions="r"),)
    finished = await laboratory.sh("exec 3<>/dev/given && echo opened || echo refused", devices=only_read)
    assert finished.lines in ([], ["refused"])
    with pytest.raises(InvalidArgument, match="not a device"):
        await laboratory.sh("true", devices=(Device(source="/etc/passwd", target="/dev/x"),))


async def test_privileged(laboratory: Laboratory) -> None:
    finished = await laboratory.sh(
        "mount -t tmpfs none /mnt && echo mounted; test -e /dev/loop0 && echo devices; "
        "touch /proc/sys/kernel/x 2>&1 | grep -c Read-only",
        privileged=True,
    )
    assert finished.lines[:2] == ["mounted", "devices"]
    assert finished.lines[2] == "0"


async def test_masks(laboratory: Laboratory) -> None:
    finished = await laboratory.sh(
        "cat /proc/kcore | wc -c; cat /proc/keys; ls /sys/firmware /proc/scsi 2>/dev/null | grep -v :; "
        "echo 1 > /proc/sys/vm/drop_caches || echo sys; "
        "echo h > /proc/sysrq-trigger || echo sysrq; touch /sys/x || echo sysfs; umount /proc/kcore || echo stays"
    )
    assert finished.lines == ["0", "sys", "sysrq", "sysfs", "stays"]


async def test_hostname_and_shm(laboratory: Laboratory) -> None:
    finished = await laboratory.sh(
        "hostname; domainname; df -k /dev/shm | tail -1 | awk '{print $2}'",
        hostname="box",
        domainname="lab",
        shm_size=3 << 20,
    )
    assert finished.lines == ["box", "lab", "3072"]


async def test_sysctls(laboratory: Laboratory) -> None:
    finished = await laboratory.sh(
        "cat /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_forward", sysctls={"kernel.msgmax": "9000"}
    )
    assert finished.lines[0] == "9000"


async def test_working_directory_is_made(laboratory: Laboratory) -> None:
    assert (await laboratory.run("pwd", working_dir="/not/there/yet")).lines == ["/not/there/yet"]


async def test_only_standard_descriptors(laboratory: Laboratory) -> None:
    """Nothing of the host: no descriptor, no variable, no mount that is not the container's."""
    finished = await laboratory.sh("ls /proc/self/fd; env | sort; cut -d' ' -f5 /proc/self/mountinfo")
    assert finished.lines[:4] == ["0", "1", "2", "3"], "3 is ls's own"
    names = {line.split("=")[0] for line in finished.lines if "=" in line}
    assert names == {"HOME", "HOSTNAME", "PATH", "PWD"}
    bound = {target for _, target in laboratory.image.binds}
    assert not [
        line
        for line in finished.lines
        if line.startswith("/") and line not in bound and ("lib/containers" in line or "tmp" in line)
    ]
