"""``top`` with options of ps."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from composer.engine.process_table import COLUMNS, columns_of, read
from runtime.errors import InvalidArgument


@pytest.mark.parametrize(
    ("options", "titles"),
    [
        ("", "UID PID PPID C STIME TTY TIME CMD"),
        ("-ef", "UID PID PPID C STIME TTY TIME CMD"),
        ("aux", "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND"),
        ("-o pid,comm", "PID COMMAND"),
        ("-eo pid,args,cmd,user", "PID COMMAND CMD USER"),
        ("-e -o pid -o rss=Memory,of,it", "PID Memory,of,it"),
        ("--format=pid,etime", "PID ELAPSED"),
    ],
)
def test_columns(options: str, titles: str) -> None:
    assert [title for title, _ in columns_of(options)] == titles.split(" ")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("-o comm", "Couldn't find PID field in ps output"),
        ("-o pid,nope", 'ps: error: unknown user-defined format specifier "nope"'),
        ("--forest", "the ps option '--forest' is not supported"),
        ("-p 1", "the ps option '-p' is not supported"),
    ],
)
def test_what_is_refused(options: str, says: str) -> None:
    with pytest.raises(InvalidArgument, match=says):
        columns_of(options)


def test_every_column_can_be_read() -> None:
    columns = columns_of(f"-o {','.join(COLUMNS)}")
    (row,) = read([os.getpid(), 2**22 + 1], columns)
    values = dict(zip(COLUMNS, row, strict=True))
    assert values["pid"] == str(os.getpid())
    assert values["ppid"] == str(os.getppid())
    assert values["args"].split() == Path("/proc/self/cmdline").read_text().replace("\0", " ").split()
    assert (values["uid"], values["nlwp"]) == (str(os.geteuid()), str(len(os.listdir("/proc/self/task"))))
    assert all(values.values())
