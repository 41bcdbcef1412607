"""Every command and flag of Docker Compose, and of Docker's families that composer has, is taken or refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from composer.cli.arguments import Command, Flag
from composer.cli.commands import (
    COMMANDS,
    DRY_RUN,
    FAMILIES,
    GLOBAL_FLAGS,
    READING,
    REHEARSED,
    command,
    family,
)
from composer.cli.main import main

TABLE = [
    line.split()
    for line in (Path(__file__).parent / "docker_flags.txt").read_text().splitlines()
    if not line.startswith("#")
]


def split(row: list[str]) -> tuple[list[str], list[str]]:
    words = [word for word in row if not word.startswith("--")]
    return words, row[len(words) :]


def table_of(words: list[str]) -> Command | None:
    if len(words) == 2:
        return family(words[0]).get(words[1]) if words[0] in FAMILIES else None
    return command(words[0]) if words[0] in COMMANDS else None


@pytest.mark.parametrize("row", TABLE, ids=[" ".join(split(row)[0]) for row in TABLE])
def test_flags(row: list[str]) -> None:
    words, wanted = split(row)
    flags: tuple[Flag, ...]
    if words == ["composer"]:
        flags = GLOBAL_FLAGS
    else:
        found = table_of(words)
        assert found is not None, f"no such command: {' '.join(words)}"
        if found.refusal:
            return
        flags = (*found.flags, DRY_RUN)
    known = {f"--{flag.name}": flag for flag in flags}
    missing = [word for word in wanted if not _is_taken(word, known)]
    assert not missing, f"{' '.join(words)}: {', '.join(missing)}"


def _is_taken(word: str, known: dict[str, Flag]) -> bool:
    name, _, short = word.removesuffix("=").partition("|")
    flag = known.get(name)
    return flag is not None and flag.short == short.lstrip("-") and bool(flag.kind) == word.endswith("=")


def test_every_command_has_help() -> None:
    for name in COMMANDS:
        assert command(name).usage.split()[0] in (name, "config")
    for name in FAMILIES:
        assert all(entry.usage.split()[0] == name and entry.summary for entry in family(name).values())


def test_flags_are_told_apart() -> None:
    tables = [command(name) for name in COMMANDS]
    tables += [entry for name in FAMILIES for entry in family(name).values()]
    for table in tables:
        names = [flag.name for flag in table.flags]
        shorts = [flag.short for flag in table.flags if flag.short]
        assert len(set(names)) == len(names), table.usage
        assert len(set(shorts)) == len(shorts), table.usage


def test_dry_run_is_of_commands_that_exist() -> None:
    assert {*COMMANDS, *FAMILIES} >= REHEARSED | READING


def test_a_flag_in_the_wrong_place_is_told_where_it_goes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["up", "--profile", "x"]) == 1
    assert capsys.readouterr().err == (
        "unknown flag: --profile\n  it goes in front of the command: composer --profile … COMMAND\n"
    )
