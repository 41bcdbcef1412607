"""What a Dockerfile offers (its targets) and what a target takes (arguments, secrets, agents), as BuildKit's documents
``frontend.targets`` and ``frontend.outline``. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runtime.build.frontend.expand import expand
from runtime.build.frontend.flags import flag
from runtime.build.frontend.lines import Line
from runtime.build.frontend.settings import assignments
from runtime.build.frontend.stages import Dockerfile, Stage, arguments_of, expanded
from runtime.build.frontend.step_mounts import convert_mount
from runtime.build.steps import ContextSource

Document = dict[str, Any]


@dataclass(frozen=True)
class _Argument:
    line: Line
    value: str
    needs: frozenset[str] = frozenset()
    """Arguments before the first FROM that its default names."""


@dataclass
class _Taken:
    """What one stage takes."""

    arguments: dict[str, _Argument] = field(default_factory=dict)
    mounts: dict[str, dict[str, tuple[Line, bool]]] = field(default_factory=lambda: {"secret": {}, "ssh": {}})
    """By type and id: where it is asked for, and whether it has to be given."""


def list_targets(file: Dockerfile) -> Document:
    """Every stage, in order; the last one is the default."""
    targets = []
    for stage in file.stages:
        words = stage.origin.rest.split()
        target = {
            "name": stage.name,
            "default": stage is file.stages[-1],
            "description": _comment(stage.origin, stage.name),
            "base": words[0],
            "platform": flag(stage.origin, "platform"),
            "location": _location(stage.origin),
        }
        targets.append({key: value for key, value in target.items() if value})
    return {"targets": targets}


def outline(file: Dockerfile, target: str, given: Mapping[str, str], platform: Mapping[str, str]) -> Document:
    """What may be given to a build of ``target``; ``given``: the build arguments. Raises NotFound, DockerfileError."""
    needed = file.needed(target)
    stage = needed[-1]
    taken = [_taken(file, one, given, platform) for one in reversed(needed)]
    arguments: dict[str, _Argument] = {}
    mounts: dict[str, dict[str, tuple[Line, bool]]] = {"secret": {}, "ssh": {}}
    for one in taken:
        arguments = {**one.arguments, **arguments}
        for kind, found in one.mounts.items():
            mounts[kind] = {**found, **mounts[kind]}
    document: Document = {"name": stage.name, "description": _comment(stage.origin, stage.name)}
    document["args"] = [
        {
            "name": name,
            **_kept({"description": _comment(one.line, name), "value": one.value}),
            "location": _location(one.line),
        }
        for name, one in sorted(arguments.items(), key=lambda item: item[1].line.number)
    ]
    for kind, key in (("secret", "secrets"), ("ssh", "ssh")):
        document[key] = [
            {"name": name, **_kept({"required": required}), "location": _location(line)}
            for name, (line, required) in sorted(mounts[kind].items(), key=lambda item: item[1][0].number)
        ]
    return _kept(document)


def _taken(file: Dockerfile, stage: Stage, given: Mapping[str, str], platform: Mapping[str, str]) -> _Taken:
    known = _globals(file, given, platform)
    taken = _Taken()
    nothing = ContextSource(text="", place=stage.origin)
    variables: dict[str, str] = {}
    used = _names_in(f"{stage.origin.rest} {flag(stage.origin, 'platform')}", file.escape)
    for line in stage.lines:
        if line.name == "ENV":
            variables |= assignments(line, variables, file.escape)
        elif line.name == "ARG":
            for name, default in arguments_of(line, {**platform, **file.arguments, **variables}, file.escape):
                value = given.get(name, default)
                if value is not None:
                    taken.arguments[name] = _Argument(line, value)
                elif name in file.arguments or name in platform:
                    used.add(name)
                    value = file.arguments.get(name, platform.get(name))
                else:
                    taken.arguments[name] = _Argument(line, "")
                if value is not None:
                    variables[name] = value
        elif line.name == "RUN":
            for mount in (value for name, value in line.flags if name == "mount"):
                text = expanded(line, mount, variables, file.escape)
                found = convert_mount(line, text, lambda _: nothing)
                if found.type in taken.mounts:
                    taken.mounts[found.type].setdefault(found.id, (line, found.required))
    while used:
        name = used.pop()
        if name in known and name not in taken.arguments:
            taken.arguments[name] = known[name]
            used |= known[name].needs
    return taken


def _globals(file: Dockerfile, given: Mapping[str, str], platform: Mapping[str, str]) -> dict[str, _Argument]:
    found: dict[str, _Argument] = {}
    for line in file.globals:
        for name, _ in arguments_of(line, {**platform, **file.arguments}, file.escape):
            needs = frozenset() if name in given else frozenset(_names_in(line.rest, file.escape)) - {name}
            found[name] = _Argument(line, file.arguments.get(name, ""), needs)
    return found


class _Asked(dict[str, str]):
    """No variable has a value, and which of them are asked for is noted."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return default


def _names_in(text: str, escape: str) -> set[str]:
    asked = _Asked()
    try:
        expand(text, asked, escape)
    except ValueError:
        return asked.names  # ``${X:?...}``: it was named
    return asked.names


def _comment(line: Line, name: str) -> str:
    """What the comment above says of ``name``: its line begins with it."""
    return next((text[len(name) + 1 :] for text in line.comments if name and text.startswith(f"{name} ")), "")


def _location(line: Line) -> Document:
    last = max([line.number, *(number for number, _ in line.further)])
    last += sum(doc.raw.count("\n") + 1 for doc in line.heredocs)
    numbers = range(line.number, last + 1)
    return {"ranges": [{"start": {"line": number}, "end": {"line": number}} for number in numbers]}


def _kept(document: Document) -> Document:
    return {key: value for key, value in document.items() if value}
