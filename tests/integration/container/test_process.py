"""Identity and confinement of what runs in a container; its init."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
import trio

from runtime.container.config import ImageConfig, Ulimit
from runtime.container.shim_client import LaunchError

from .conftest import TIMEOUT

if TYPE_CHECKING:
    from .conftest import Laboratory


async def test_default_process(laboratory: Laboratory) -> None:
    finished = await laboratory.sh(
        "umask; cat /proc/self/oom_score_adj; cut -d' ' -f6 /proc/1/stat; "
        "grep -E '^(Sig(Ign|Blk)|Cap|NoNew|Groups|Seccomp:)' /proc/self/status"
    )
    assert finished.lines[:3] == ["0022", "0", "1"], "umask, OOM score, session leader"
    facts = dict(line.split(":", 1) for line in finished.lines[3:])
    facts = {name: value.strip() for name, value in facts.items()}
    assert facts["CapBnd"] == facts["CapPrm"] == facts["CapEff"] == "00000000a80425fb"
    assert facts["CapInh"] == facts["CapAmb"] == "0" * 16
    assert (facts["SigIgn"], facts["SigBlk"]) == ("0" * 16, "0" * 16)
    assert facts["NoNewPrivs"] == "0"
    assert facts["Seccomp"] == "2"


async def test_user(laboratory: Laboratory) -> None:
    finished = await laboratory.sh(
        "id -u; id -g; id -G; grep Cap /proc/self/status | cut -f2; cat < /dev/null; echo e >/dev/stderr",
        user="1234:55",
        group_add=("77",),
    )
    assert finished.lines[:3] == ["1234", "55", "55 77"]
    assert finished.lines[3:] == ["0" * 16, "0" * 16, "0" * 16, "00000000a80425fb", "0" * 16]
    assert finished.stderr == b"e\n", "the user may open its own streams"
    with pytest.raises(LaunchError, match="unable to find user nonesuch: no matching entries in passwd file"):
        await laboratory.run("true", user="nonesuch")
    assert (await laboratory.sh("echo $HOME; id -un", user="daemon")).lines == ["/usr/sbin", "daemon"]


async def test_capabilities(laboratory: Laboratory) -> None:
    script = "grep CapEff /proc/self/status | cut -f2"
    assert (await laboratory.sh(script, cap_drop=("ALL",), cap_add=("NET_BIND_SERVICE",))).lines == [
        "0000000000000400"
    ]
    added = int((await laboratory.sh(script, cap_add=("NET_ADMIN",))).text, 16)
    assert added == 0xA80425FB | 1 << 12


async def test_no_new_privileges(laboratory: Laboratory) -> None:
    finished = await laboratory.sh(
        "grep -E 'NoNewPrivs|Seccomp:' /proc/self/status | cut -f2", security_opt=("no-new-privileges:true",)
    )
    assert finished.lines == ["1", "2"]


async def test_ulimits(laboratory: Laboratory) -> None:
    limits = (Ulimit(name="nofile", soft=100, hard=200), Ulimit(name="core", soft=0, hard=0))
    finished = await laboratory.sh("ulimit -n; ulimit -Hn; ulimit -c", ulimits=limits)
    assert finished.lines == ["100", "200", "0"]


async def test_oom_score(laboratory: Laboratory) -> None:
    assert (await laboratory.run("cat", "/proc/self/oom_score_adj", oom_score_adj=321)).lines == ["321"]


async def test_environment_of_image_and_container(laboratory: Laboratory) -> None:
    image = ImageConfig(env=("A=image", "B=image", "C=image"), entrypoint=("/bin/sh", "-c"), cmd=("echo no",))
    finished = await laboratory.run("echo $A $B $C $HOSTNAME", image=image, env=("B=own", "C"), hostname="h")
    assert finished.lines == ["image own h"]


async def test_init(laboratory: Laboratory) -> None:
    """It is PID 1, reaps what is orphaned, passes signals on, and ends as its child ends."""
    finished = await laboratory.sh(
        "cat /proc/1/comm; (sleep 0.01 & echo $! > /orphan); "
        "while test -e /proc/$(cat /orphan); do sleep 0.02; done; exit 7",
        init=True,
    )
    assert finished.code == 7
    assert finished.lines[0] != "sh"
    shim = await laboratory.start(
        "/bin/sh", "-c", "trap 'exit 12' TERM; echo up; while :; do sleep 0.05; done", init=True
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shim.wait)
        await shim.first_output.wait()
        nursery.cancel_scope.cancel()
    shim.signal(signal.SIGTERM)
    with trio.fail_after(TIMEOUT):
        assert (await shim.wait()).exit_code == 12
    killed = await laboratory.sh("kill -9 $$", init=True)
    assert killed.code == 137


async def test_init_with_a_terminal(laboratory: Laboratory) -> None:
    finished = await laboratory.sh("tty; exit 5", init=True, tty=True)
    assert (finished.code, finished.text.strip()) == (5, "/dev/pts/0")


async def test_init_with_missing_command(laboratory: Laboratory) -> None:
    with pytest.raises(LaunchError) as caught:
        await laboratory.run("no-such-program", init=True)
    assert caught.value.exit_code == 127


async def test_namespaces(laboratory: Laboratory) -> None:
    own = {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in ("ipc", "mnt", "net", "pid", "uts")}
    script = "for n in ipc mnt net pid uts; do readlink /proc/self/ns/$n; done"
    inside = (await laboratory.sh(script)).lines
    assert not set(inside) & set(own.values())
    shared = await laboratory.sh(
        script, network_mode="host", ipc_mode="host", uts_mode="host", pid_mode="host"
    )
    assert [own[kind] for kind in ("ipc", "net", "pid", "uts")] == [shared.lines[i] for i in (0, 2, 3, 4)]


async def test_sharing_with_another_container(laboratory: Laboratory) -> None:
    first = await laboratory.start("sleep", "1000")
    script = "for n in ipc net pid uts; do readlink /proc/self/ns/$n; done"
    expected = [os.readlink(f"/proc/{first.pid}/ns/{kind}") for kind in ("ipc", "net", "pid", "uts")]
    finished = await laboratory.sh(
        script,
        network_mode="container:x", ipc_mode="container:x", pid_mode="container:x", uts_mode="container:x",
        inputs={"join": dict.fromkeys(("net", "ipc", "pid", "uts"), first.pid)},
        sandbox={"mode": "container", "endpoints": [], "resolver": False, "sysctls": {}, "descriptors": ["sock_diag"]},
    )  # fmt: skip
    assert finished.lines == expected


async def test_session_keyring(laboratory: Laboratory) -> None:
    """Its own keyring, not the engine's."""
    finished = await laboratory.sh("cat /proc/keys", security_opt=("systempaths=unconfined",))
    assert f"_ses.{laboratory.last_id()}" in finished.text
