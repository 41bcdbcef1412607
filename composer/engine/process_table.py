"""A container's processes as ``ps`` shows them: the columns of ps(1) read from proc(5), on the host's side.

There is no ``ps`` to hand options to: those that choose columns are understood (``-ef``, ``aux``, ``-o pid,args``), all
others are refused. Which processes there are is the container's affair, so options that select (``-e``, ``-A``, ``a``,
``x``) change nothing.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from runtime.errors import InvalidArgument

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


class Process:
    """One process, read when it is first asked about. Raises OSError when it has ended."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.directory = Path(f"/proc/{pid}")
        text = (self.directory / "stat").read_text()
        self.comm = text[text.index("(") + 1 : text.rindex(")")]
        self.fields = text[text.rindex(")") + 2 :].split()
        """proc_pid_stat(5), from the third on."""

    def number(self, field: int) -> int:
        """A field by its number in the manual."""
        return int(self.fields[field - 3])

    @cached_property
    def status(self) -> dict[str, list[str]]:
        lines = (self.directory / "status").read_text().splitlines()
        return {name: value.split() for name, _, value in (line.partition(":") for line in lines)}

    @cached_property
    def command(self) -> str:
        words = (self.directory / "cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ")
        return words.decode("utf-8", "replace") or f"[{self.comm}]"

    @property
    def seconds(self) -> float:
        """Of CPU time."""
        return (self.number(14) + self.number(15)) / TICKS

    @property
    def age(self) -> float:
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - self.number(22) / TICKS)

    @property
    def begun(self) -> float:
        return time.time() - self.age

    @property
    def cpu(self) -> float:
        """Hundredths of one processor, over its life."""
        return 100 * self.seconds / self.age if self.age > 0 else 0.0

    @property
    def terminal(self) -> str:
        device = self.number(7)
        if not device:
            return "?"
        major, minor = os.major(device), os.minor(device)
        return f"pts/{minor + (major - 136) * 256}" if 136 <= major <= 143 else f"tty{minor}"

    @property
    def state(self) -> str:
        """STAT: the state and what else there is to it."""
        more = "<" if self.number(19) < 0 else "N" if self.number(19) > 0 else ""
        more += "s" if self.number(6) == self.pid else ""
        more += "l" if self.number(20) > 1 else ""
        return self.fields[0] + more + ("+" if self.number(8) == self.number(5) else "")

    @property
    def cgroup(self) -> str:
        return (self.directory / "cgroup").read_text().strip().replace("\n", ",")


def _clock(seconds: float) -> str:
    """``[DD-]hh:mm:ss``"""
    whole = int(seconds)
    days, rest = divmod(whole, 86400)
    text = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days}-{text}" if days else text


def _elapsed(seconds: float) -> str:
    """``[[DD-]hh:]mm:ss``"""
    return f"{int(seconds) // 60:02}:{int(seconds) % 60:02}" if seconds < 3600 else _clock(seconds)


def _short(seconds: float) -> str:
    """The time of BSD's format: minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def _date(moment: float) -> str:
    """When it began: a time of today, else a day."""
    if time.time() - moment < 86400:
        return time.strftime("%H:%M", time.localtime(moment))
    return time.strftime("%b%d", time.localtime(moment))


def _user(uid: str) -> str:
    try:
        return pwd.getpwuid(int(uid)).pw_name
    except KeyError:
        return uid


def _group(gid: str) -> str:
    try:
        return grp.getgrgid(int(gid)).gr_name
    except KeyError:
        return gid


def _memory(process: Process) -> float:
    pages = os.sysconf("SC_PHYS_PAGES")
    return 100 * process.number(24) / pages


Column = tuple[str, Callable[[Process], object]]
_PID: Column = ("PID", lambda p: p.pid)
_PPID: Column = ("PPID", lambda p: p.number(4))
_EUSER: Column = ("USER", lambda p: _user(p.status["Uid"][1]))
_EUID: Column = ("UID", lambda p: p.status["Uid"][1])
_EGROUP: Column = ("GROUP", lambda p: _group(p.status["Gid"][1]))
_EGID: Column = ("GID", lambda p: p.status["Gid"][1])
_COMM: Column = ("COMMAND", lambda p: p.comm)
_ARGS: Column = ("COMMAND", lambda p: p.command)
_CPU: Column = ("%CPU", lambda p: f"{p.cpu:.1f}")
_C: Column = ("C", lambda p: min(99, int(p.cpu)))
_MEMORY: Column = ("%MEM", lambda p: f"{_memory(p):.1f}")
_RSS: Column = ("RSS", lambda p: p.number(24) * PAGE // 1024)
_VSZ: Column = ("VSZ", lambda p: p.number(23) // 1024)
_TTY: Column = ("TT", lambda p: p.terminal)
_TIME: Column = ("TIME", lambda p: _clock(p.seconds))
_STATE: Column = ("S", lambda p: p.fields[0])
_NLWP: Column = ("NLWP", lambda p: p.number(20))
_PGID: Column = ("PGID", lambda p: p.number(5))
_SID: Column = ("SID", lambda p: p.number(6))

COLUMNS: dict[str, Column] = {
    "pid": _PID, "tgid": ("TGID", _PID[1]), "ppid": _PPID,
    "user": _EUSER, "euser": ("EUSER", _EUSER[1]), "uname": _EUSER,
    "ruser": ("RUSER", lambda p: _user(p.status["Uid"][0])),
    "uid": _EUID, "euid": ("EUID", _EUID[1]), "ruid": ("RUID", lambda p: p.status["Uid"][0]),
    "group": _EGROUP, "egroup": ("EGROUP", _EGROUP[1]), "rgroup": ("RGROUP", lambda p: _group(p.status["Gid"][0])),
    "gid": _EGID, "egid": ("EGID", _EGID[1]), "rgid": ("RGID", lambda p: p.status["Gid"][0]),
    "comm": _COMM, "ucmd": ("CMD", _COMM[1]), "ucomm": _COMM, "args": _ARGS, "command": _ARGS, "cmd": ("CMD", _ARGS[1]),
    "%cpu": _CPU, "pcpu": _CPU, "c": _C, "%mem": _MEMORY, "pmem": _MEMORY,
    "rss": _RSS, "rssize": _RSS, "rsz": ("RSZ", _RSS[1]), "vsz": _VSZ, "vsize": _VSZ,
    "tty": _TTY, "tt": _TTY, "tname": ("TTY", _TTY[1]),
    "time": _TIME, "cputime": _TIME, "bsdtime": ("TIME", lambda p: _short(p.seconds)),
    "etime": ("ELAPSED", lambda p: _elapsed(p.age)), "etimes": ("ELAPSED", lambda p: int(p.age)),
    "start": ("STARTED", lambda p: time.strftime("%H:%M:%S", time.localtime(p.begun))),
    "start_time": ("START", lambda p: _date(p.begun)), "bsdstart": ("START", lambda p: _date(p.begun)),
    "stime": ("STIME", lambda p: _date(p.begun)), "lstart": ("STARTED", lambda p: time.ctime(p.begun)),
    "stat": ("STAT", lambda p: p.state), "state": _STATE, "s": _STATE,
    "ni": ("NI", lambda p: p.number(19)), "nice": ("NI", lambda p: p.number(19)),
    "nlwp": _NLWP, "thcount": ("THCNT", _NLWP[1]), "pgid": _PGID, "pgrp": ("PGRP", _PGID[1]),
    "sid": _SID, "sess": ("SESS", _SID[1]), "session": ("SESS", _SID[1]),
    "psr": ("PSR", lambda p: p.number(39)), "cgroup": ("CGROUP", lambda p: p.cgroup),
    "minflt": ("MINFLT", lambda p: p.number(10)), "majflt": ("MAJFLT", lambda p: p.number(12)),
}  # fmt: skip
"""ps(1), "Standard format specifiers"."""
FULL: tuple[Column, ...] = (
    ("UID", _EUSER[1]), _PID, _PPID, _C, ("STIME", lambda p: _date(p.begun)), ("TTY", _TTY[1]), _TIME,
    ("CMD", _ARGS[1]),
)  # fmt: skip
BSD: tuple[Column, ...] = (
    _EUSER, _PID, _CPU, _MEMORY, _VSZ, _RSS, ("TTY", _TTY[1]), ("STAT", lambda p: p.state),
    ("START", lambda p: _date(p.begun)), ("TIME", lambda p: _short(p.seconds)), _ARGS,
)  # fmt: skip

_SELECTS = re.compile(r"-?[eAaxw]*")
_FORMAT = re.compile(r"-?[eAaxw]*o(.*)|--format(?:=(.*))?")


def columns_of(options: str) -> tuple[Column, ...]:
    """The columns that options of ps ask for. Raises InvalidArgument."""
    chosen: list[Column] = []
    named: tuple[Column, ...] = FULL
    words = options.split()
    while words:
        word = words.pop(0)
        if found := _FORMAT.fullmatch(word):
            given = found[1] or found[2] or (words.pop(0) if words else "")
            chosen += _formats(given)
        elif re.fullmatch(r"-?[eAaxw]*f[eAaxw]*", word):
            named = FULL
        elif re.fullmatch(r"-?[eAaxw]*u[eAaxw]*", word):
            named = BSD
        elif not _SELECTS.fullmatch(word):
            raise InvalidArgument(
                f"top: the ps option {word!r} is not supported", hint="use -ef, aux or -o pid,args"
            )
    if chosen and not any(read is _PID[1] for _, read in chosen):
        raise InvalidArgument("Couldn't find PID field in ps output")
    return tuple(chosen) or named


def _formats(text: str) -> list[Column]:
    """``pid,args=TITLE``: a title goes on to the end, commas and all."""
    found: list[Column] = []
    rest = text
    while rest:
        match = re.match(r"([^,=]*)(=.*|,|$)", rest)
        assert match is not None
        name, end = match.groups()
        if name.lower() not in COLUMNS:
            raise InvalidArgument(
                f'ps: error: unknown user-defined format specifier "{name}"',
                hint=f"one of {', '.join(COLUMNS)}",
            )
        title, read = COLUMNS[name.lower()]
        if end.startswith("="):
            title, rest = end[1:], ""
        else:
            rest = rest[match.end() :]
        found.append((title, read))
    return found


def read(pids: Sequence[int], columns: Sequence[Column]) -> list[tuple[str, ...]]:
    """A row a process; those that have ended meanwhile are left out."""
    rows = []
    for pid in sorted(pids):
        try:
            process = Process(pid)
            rows.append(tuple(str(value(process)) for _, value in columns))
        except OSError:
            continue
    return rows
