"""Conformance cases: directories that say how ``config`` is called and what it has to print.

``args.json`` (all optional): files, env, profiles, env_files, project_name (null: none is given), project_directory,
cwd, config_args, topic. ``expected.json`` is the model that is printed, or ``expected_error.txt`` says that the command
fails (its text is for people). ``${CASE}`` is the directory, ``${HOME}`` the home directory.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OWN_FILES = frozenset({"args.json", "expected.json", "expected_error.txt", "expected_warnings.txt"})


@dataclass(frozen=True)
class Case:
    """One case. ``source`` is where it is kept."""

    name: str
    source: Path
    arguments: dict[str, Any]

    @property
    def expected(self) -> Any:
        """The model; None when the command has to fail."""
        path = self.source / "expected.json"
        return json.loads(path.read_text()) if path.exists() else None

    def place(self, top: Path) -> tuple[Path, Path]:
        """Copy the case below ``top``, with nothing in the directories above it; the copy and the home directory."""
        home, copy = top / "home", top / "w/x/y/z" / self.source.name
        home.mkdir(parents=True)
        shutil.copytree(
            self.source,
            copy,
            ignore=lambda d, names: OWN_FILES & set(names) if d == str(self.source) else set(),
        )
        return copy, home

    def command_line(self, copy: Path, home: Path) -> list[str]:
        """The words behind ``composer``."""
        given = self.arguments
        words: list[str] = []
        for flag, key in (("-f", "files"), ("--profile", "profiles"), ("--env-file", "env_files")):
            for value in given.get(key) or ():
                words += [flag, fill(value, copy, home)]
        if given.get("project_directory") is not None:
            words += ["--project-directory", fill(given["project_directory"], copy, home)]
        name = given.get("project_name", "proj")
        if name is not None:
            words += ["-p", name]
        return [*words, "config", "--format", "json", *(given.get("config_args") or ())]

    def environment(self, copy: Path, home: Path) -> dict[str, str]:
        given = self.arguments.get("env") or {}
        return {"HOME": str(home), "LANG": "C.UTF-8"} | {k: fill(v, copy, home) for k, v in given.items()}


def fill(text: str, copy: Path, home: Path) -> str:
    return text.replace("${CASE}", str(copy)).replace("${HOME}", str(home))


def portable(text: str, copy: Path, home: Path) -> str:
    """The opposite of :func:`fill`; directories above the case become ``${CASE}/..`` and so on."""
    text = text.replace(str(home), "${HOME}").replace(str(copy), "${CASE}")
    above, shown = copy, "${CASE}"
    for _ in range(4):
        above, shown = above.parent, shown + "/.."
        text = text.replace(str(above), shown)
    return text


def find_cases(root: Path) -> list[Case]:
    """The cases below ``root``, by name."""
    return [
        Case(str(path.parent.relative_to(root)), path.parent, json.loads(path.read_text()))
        for path in sorted(root.glob("**/args.json"))
    ]
