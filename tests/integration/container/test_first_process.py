"""First processes that are a list of system calls, beside those that are forks of the shim."""

from __future__ import annotations

import json
import os
import re
import struct
from typing import TYPE_CHECKING, Any

import pytest

from runtime.container import launch_tables, wire
from runtime.container.config import Mount, Ulimit
from runtime.container.launch_tables import Tables, Written
from runtime.container.shim_client import LaunchError
from runtime.kernel import script
from runtime.network.sandbox import plan_sandbox

from .conftest import NoTables

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Laboratory

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="needs an x86-64 machine")

ROW, CELL, FIRST = 112, 32, 5
"""Bytes of a row, and before the first; the first one that the child makes by itself."""
TOPICS = ("status", "limits", "mounts")
ALIKE = {
    "plain": {},
    "a user": {"user": "daemon", "group_add": ("audio",)},
    "a number": {"user": "4711:4712"},
    "confined": {"cap_drop": ("ALL",), "security_opt": ("no-new-privileges",), "read_only": True},
    "unconfined": {"security_opt": ("seccomp=unconfined", "systempaths=unconfined")},
    "limits": {"ulimits": (Ulimit(name="nofile", soft=1000, hard=2000),), "oom_score_adj": 300},
    "sysctls": {"sysctls": {"kernel.msgmax": "5000", "net.ipv4.ip_forward": "1"}},
    "a name": {"hostname": "called", "domainname": "example.org"},
    "a directory": {"working_dir": "/usr/share", "env": ("A=b", "HOME=/x")},
    "the host's": {"ipc_mode": "host", "uts_mode": "host"},
    "the host's network": {"network_mode": "host", "sandbox": dict(plan_sandbox("ad" * 32, mode="host"))},
}


class Replaced(Tables):
    """With another call in the place of one."""

    def __init__(self, row: int, number: int, argument: int) -> None:
        super().__init__()
        self._row = row
        self._call = struct.pack("=2q", number, argument)
        self.rows = 0

    def get(self, spec: wire.LaunchSpec, document: bytes) -> Written:
        written = super().get(spec, document)
        rows = bytearray(written.table.rows)
        self.rows = (len(rows) - CELL) // ROW
        where = CELL + self._row * ROW
        rows[where : where + len(self._call)] = self._call
        return written._replace(table=written.table._replace(rows=bytes(rows)))


@pytest.mark.parametrize("name", ALIKE)
async def test_both_ways_make_the_same(laboratory: Laboratory, name: str, tmp_path: Path) -> None:
    config: dict[str, Any] = ALIKE[name]
    (tmp_path / "file").write_text("content")
    mounts = (
        Mount(type="bind", source=str(tmp_path), target="/made"),
        Mount(type="bind", source=str(tmp_path / "file"), target="/made.file", read_only=True),
        Mount(type="tmpfs", target="/srv/made/for/it", options=("mode=700",)),
        Mount(type="tmpfs", target="/var/tmp"),
        Mount(type="tmpfs", target="/srv/open"),
    )
    container = "ad" * 32
    found = []
    for tables in (Tables(), NoTables()):
        laboratory.keeper.tables = tables
        facts = await laboratory.facts(*TOPICS, id=container, mounts=mounts, **config)
        assert laboratory.shims[-1].is_direct == (type(tables) is Tables)
        looked = "id; pwd; hostname; domainname; env | sort; ulimit -a; ls -la /dev /made; stat -c '%A %U %G %n' /*"
        more = await laboratory.sh(looked, id=container, mounts=mounts, **config)
        found.append([*_comparable(facts), *_comparable_lines(more.lines)])
    assert found[0] == found[1]


def _comparable(facts: dict[str, Any]) -> list[str]:
    """Without what is another one each time."""
    counters = (
        "Vm",
        "Rss",
        "voluntary",
        "nonvoluntary",
        "SigQ",
        "Pid",
        "Tgid",
        "PPid",
        "NS",
        "FDSize",
        "Huge",
        "Shd",
    )
    lines = []
    for topic, found in facts.items():
        for name, what in found.items():
            text = re.sub(r"(lowerdir|upperdir|workdir)=[^,']*|,uuid=on", r"\1", str(what))
            if topic != "status" or not name.startswith(counters):
                lines.append(f"{topic} {name}: {text}")
    return lines


def _comparable_lines(lines: list[str]) -> list[str]:
    """Without times and sizes of directories."""
    return [
        " ".join(word for word in line.split() if ":" not in word) for line in lines if "total" not in line
    ]


async def test_whatever_fails_is_done_the_other_way(laboratory: Laboratory) -> None:
    """Each call in turn, with an error that nobody passes over."""
    row, rows = FIRST + 1, FIRST + 2
    while row < rows:
        tables = Replaced(row, script.NUMBERS["listen"], 0)  # 0 is no socket
        laboratory.keeper.tables = tables
        shim = await laboratory.start("/bin/true", id="ae" * 32)
        assert (row, (await shim.wait()).exit_code) == (row, 0)
        rows = tables.rows
        if not shim.is_direct:
            laboratory.shims.clear()
        row += 1
    assert rows > 300


async def test_killed_at_each_call(laboratory: Laboratory) -> None:
    """Nothing is left then, and the next start goes well."""
    row, rows, told = FIRST, FIRST + 1, 0
    while row < rows:
        tables = Replaced(row, script.NUMBERS["exit_group"], 9)
        laboratory.keeper.tables = tables
        try:
            shim = await laboratory.start("/bin/true", id="af" * 32)
            assert (await shim.wait()).exit_code in (0, 9), row
        except LaunchError as error:
            assert "killed before it could start" in str(error), row
            told += 1
        rows = tables.rows
        row += 1
    assert told > 300
    laboratory.keeper.tables = Tables()
    assert (await laboratory.sh("true", id="af" * 32)).code == 0


async def test_what_fails_again_and_again_is_not_tried_any_more(
    laboratory: Laboratory, tmp_path: Path
) -> None:
    """Users who are not in the image's files."""
    (tmp_path / "passwd").write_text("somebody:x:77:77::/:/bin/sh\n")
    users = (Mount(type="bind", source=str(tmp_path / "passwd"), target="/etc/passwd"),)

    class Counting(Tables):
        count = 0

        def get(self, spec: wire.LaunchSpec, document: bytes) -> Written:
            written = super().get(spec, document)
            self.count += 1
            return written

    tables = laboratory.keeper.tables = Counting()
    for _ in range(launch_tables.MOST_FAILURES + 2):
        shim = await laboratory.start("/bin/true", mounts=users)
        assert (await shim.wait()).exit_code == 0
        assert not shim.is_direct
    assert tables.count == launch_tables.MOST_FAILURES


async def test_alike_but_for_their_ids_have_one_table(laboratory: Laboratory) -> None:
    """Written once, and what is taken from the one of another is what would have been written."""
    specs = [laboratory.build("/bin/true", env=("A=b",)) for _ in range(2)]
    documents = [wire.msgspec.json.encode((spec.operations, spec.process)) for spec in specs]
    together = Tables()
    first = together.get(specs[0], documents[0])
    second = together.get(specs[1], documents[1])
    assert first.key == second.key
    assert second.table == Tables().get(specs[1], documents[1]).table
    assert specs[0].id.encode() not in second.table.data


async def test_a_user_is_who_the_files_of_the_container_say(laboratory: Laboratory) -> None:
    container = "ba" * 32
    written = await laboratory.sh(
        "cp /etc/passwd /etc/new; echo somebody:x:77:77::/home/some:/bin/sh >> /etc/new; mv /etc/new /etc/passwd",
        id=container,
    )
    assert written.code == 0, written.stderr
    for _ in range(2):
        found = await laboratory.sh("id -u; echo $HOME", id=container, user="somebody")
        assert found.lines == ["77", "/home/some"]


async def test_a_profile_may_end_processes_for_calls_that_only_their_start_could_need(
    laboratory: Laboratory,
) -> None:
    rule = {"names": ["faccessat", "faccessat2", "write"], "action": "SCMP_ACT_KILL_PROCESS"}
    profile = json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})
    shim = await laboratory.start("true", security_opt=(f"seccomp={profile}",))
    assert ((await shim.wait()).exit_code, shim.is_direct) == (0, True)


@pytest.mark.parametrize("place", ["own", "elsewhere"])
async def test_volumes_that_have_something_are_not_copied_to(
    laboratory: Laboratory, tmp_path: Path, place: str
) -> None:
    """Of those that are not the engine's own nothing is known: they may be on a disk that does not answer."""
    data = (laboratory.paths.lib if place == "own" else tmp_path) / "volumes/filled/_data"
    data.mkdir(parents=True)
    (data / "there").touch()
    mounts = (Mount(type="volume", source="filled", target="/var/tmp"),)
    shim = await laboratory.start("/bin/true", mounts=mounts, inputs={"volumes": {"filled": data}})
    assert ((await shim.wait()).exit_code, shim.is_direct) == (0, place == "own")
    assert [path.name for path in data.iterdir()] == ["there"]
