"""What shells are told when they complete a command line."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from composer.cli.completion import FILES, SCRIPTS, candidates


def words_of(*words: str) -> set[str]:
    return {word for word, _ in candidates(words)[0]}


def test_commands_and_families() -> None:
    found = words_of("")
    assert {"up", "down", "volume", "completion"} <= found
    assert found.isdisjoint({"__complete", "convert", "publish", "bridge"})
    assert "inspect" in words_of("-p", "shop", "volume", "")
    assert words_of("no-such-command", "") == set()


def test_flags() -> None:
    assert "--project-name" in words_of("--")
    assert {"--detach", "--wait"} <= words_of("up", "-")
    assert "--menu" not in words_of("up", "--")  # it is refused


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--progress", ""), {"auto", "tty", "plain", "json", "quiet"}),
        (("-f", ""), {FILES}),
        (("down", "--rmi", ""), {"local", "all"}),
        (("up", "--exit-code-from", ""), {FILES}),
        (("exec", "web", ""), {FILES}),
        (("completion", ""), {"bash", "fish", "zsh"}),
    ],
)
def test_values(words: tuple[str, ...], expected: set[str]) -> None:
    assert words_of(*words) == expected


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (("up", ""), "SERVICE"),
        (("--file", "other.yaml", "logs", "--tail", "5", "web", ""), "SERVICE"),
        (("exec", "-T", ""), "SERVICE"),
        (("container", "rm", "-f", ""), "CONTAINER"),
        (("volume", "inspect", ""), "VOLUME"),
        (("network", "rm", ""), "NETWORK"),
        (("image", "rm", ""), "IMAGE"),
        (("system", "df", ""), ""),
    ],
)
def test_things_by_name(words: tuple[str, ...], kind: str) -> None:
    assert candidates(words)[1] == kind


@pytest.mark.parametrize("shell", [shell for shell in SCRIPTS if shutil.which(shell)])
def test_scripts_are_well_formed(shell: str) -> None:
    subprocess.run([shell, "-n"], input=SCRIPTS[shell], text=True, check=True)
