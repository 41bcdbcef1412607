"""Reading one Compose file: text to trees with variables replaced and types cast, remembered for errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from posixpath import relpath
from typing import Any

from composer.compose.casting import cast
from composer.compose.errors import ComposeError
from composer.compose.files import STANDARD_INPUT
from composer.compose.further import Place, leave_out
from composer.compose.interpolation import Variables, interpolate
from composer.compose.problem import Problem
from composer.compose.request import Options, Reader
from composer.compose.trace import Path, dotted
from composer.compose.yaml_text import Document, parse_documents


@dataclass
class Sources:
    """Everything that is read for one project."""

    reader: Reader
    options: Options
    stdin: str | None
    home: str
    traced: bool
    """Whether values carry their places (``composer.compose.trace``)."""
    lines: dict[str, list[str]] = field(default_factory=dict)
    unset: dict[str, str] = field(default_factory=dict)
    """Variables that were named and are not set, and where first."""
    env_texts: Mapping[str, bytes] = field(default_factory=dict)
    """Env files that variables were taken from."""
    left_out: frozenset[Place] = frozenset()
    """What is known to be wrong, and not looked at again (``composer.compose.further``)."""
    warnings: dict[str, None] = field(default_factory=dict)
    dropped: dict[Path, str] = field(default_factory=dict)
    """What ``!reset`` and ``!override`` took away, and the file that has them."""
    parsed: dict[str, list[Document]] = field(default_factory=dict)
    """Documents that were parsed ahead and not used yet, by file."""

    def read(self, path: str) -> bytes:
        """A file's content. Raises :class:`ComposeError` when it is not there."""
        if path == STANDARD_INPUT:
            data = (self.stdin or "").encode()
        else:
            found = self.reader.read(path) if not self.reader.is_dir(path) else None
            if found is None:
                raise ComposeError(self._missing(path), exit_status=14)
            data = found
        if self.traced:
            self.note(path, data)
        return data

    def require(self, path: str, here: Path, tree: Any) -> None:
        """Raises :class:`Problem` at ``here`` for a path that is no file."""
        if not self.reader.is_file(path):
            hint = "a relative path is looked up from the file's own directory"
            raise Problem(self._missing(path), here, tree=tree, hint=hint)

    def _missing(self, path: str) -> str:
        return f"open {path}: {'is a directory' if self.reader.is_dir(path) else 'no such file or directory'}"

    def note(self, path: str, data: bytes) -> None:
        """Remember the lines of a file that errors may show."""
        self.lines[path] = data.decode("utf-8", "replace").splitlines()

    def parse_ahead(self, path: str) -> list[Document]:
        """A file's documents as they are written, for a look that changes nothing. Raises :class:`Problem`."""
        self.parsed[path] = parse_documents(self.read(path), path, traced=self.traced)
        return self.parsed[path]

    def documents(self, path: str, environment: Mapping[str, str]) -> list[Document]:
        """A file's documents, interpolated and cast. Raises :class:`Problem`."""
        documents = self.parsed.pop(path, None)
        if documents is None:
            documents = parse_documents(self.read(path), path, traced=self.traced)
        for document in documents:
            if not isinstance(document.tree, dict):
                raise Problem(
                    "top-level object must be a mapping", at=document.at, hint="begin with services:"
                )
            if self.left_out:
                leave_out(document.tree, self.left_out)
            if self.options.interpolate:
                self.interpolate(document.tree, environment, path)
            _fill_empty(document.tree)
        return documents

    def interpolate(self, tree: dict[str, Any], environment: Mapping[str, str], path: str) -> None:
        """Replace variables and cast, in place. ``path``: the file that the tree is of."""
        variables = Variables(environment)
        try:
            interpolate(tree, variables)
            outdated = cast(tree)
        except Problem as problem:
            problem.tree = tree
            raise
        for where, value in outdated:
            meant = "true" if value.lower() in ("y", "yes", "on") else "false"
            sentence = f'"{value}" for boolean is not supported by YAML 1.2, please use `{meant}`'
            self.warnings[f"{path}: {dotted(where)}: {sentence}"] = None
        for name in variables.unset:
            if name not in self.unset:
                self.unset[name] = self._first_use(name, path)

    def _first_use(self, name: str, path: str) -> str:
        """``FILE:LINE:COLUMN`` of a variable's first use, "" when it cannot be seen."""
        for number, line in enumerate(self.read(path).decode("utf-8", "replace").splitlines(), 1):
            if found := re.search(rf"(?<!\$)(?:\$\$)*(\$\{{?){re.escape(name)}(?![A-Za-z0-9_])", line):
                return f"{path}:{number}:{found.start(1) + 1}"
        return ""

    def base(self, directory: str, of: str) -> str:
        """What paths in a file of ``directory`` are put behind, for a project in ``of``: relative to that when
        paths are to stay relative."""
        return directory if self.options.resolve_paths else relpath(directory, of)


def _fill_empty(tree: dict[str, Any]) -> None:
    """Sections without content are empty, not null: the schema takes no null there."""
