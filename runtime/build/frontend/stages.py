"""The stages of a Dockerfile, and which of them a target needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import networkx as nx

from runtime.build.frontend.expand import expand, split_words
from runtime.build.frontend.lines import DockerfileError, Line, directives, parse_lines
from runtime.errors import NotFound


@dataclass(frozen=True, slots=True)
class Stage:
    """From one FROM to the next."""

    number: int
    name: str
    """In small letters; "" when it has none."""
    base: str
    """A stage's name, an image or ``scratch``; variables replaced."""
    platform: str
    lines: tuple[Line, ...]
    origin: Line


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A whole file. ``arguments``: the values of the ARGs before the first FROM."""

    stages: tuple[Stage, ...]
    arguments: Mapping[str, str]
    escape: str

    def stage(self, text: str) -> Stage | None:
        """By name (the last that has it) or number."""
        for stage in reversed(self.stages):
            if stage.name == text.lower() or text == str(stage.number):
                return stage
        return None

    def before(self, stage: Stage, text: str) -> Stage | None:
        """The stage that ``text`` names in FROM or ``--from`` within ``stage``: only earlier ones."""
        found = [
            other
            for other in self.stages[: stage.number]
            if other.name == text.lower() or text == str(other.number)
        ]
        return found[-1] if found else None

    def needed(self, target: str = "") -> tuple[Stage, ...]:
        """The stages that ``target`` (a name or number; "": the last) needs, in order, itself last. Raises
        NotFound."""
        last = self.stage(target) if target else self.stages[-1]
        if last is None:
            names = ", ".join(stage.name or str(stage.number) for stage in self.stages)
            raise NotFound(f"target stage {target!r} could not be found", hint=f"stages: {names}")
        graph: nx.DiGraph[int] = nx.DiGraph()
        graph.add_nodes_from(range(len(self.stages)))
        for stage in self.stages:
            sources = [stage.base, *(source for line in stage.lines if (source := source_of(line)))]
            for source in sources:
                if (other := self.before(stage, source)) is not None:
                    graph.add_edge(other.number, stage.number)
        wanted = nx.ancestors(graph, last.number) | {last.number}
        return tuple(stage for stage in self.stages if stage.number in wanted)


def source_of(line: Line) -> str:
    """What a ``COPY --from`` or ``RUN --mount=from`` reads besides the context, or ""."""
    for name, value in line.flags:
        if name == "from":
            return value
        if name == "mount":
            for part in value.split(","):
                if part.startswith("from="):
                    return part[5:]
    return ""


def parse_dockerfile(
    text: str, arguments: Mapping[str, str], platform: Mapping[str, str], file: str = "Dockerfile"
) -> Dockerfile:
    """Divide a Dockerfile into stages.

    ``arguments`` are the build arguments, ``platform`` the predefined ones (TARGETARCH ...). Raises DockerfileError.
    """
    escape = directives(text).get("escape", "\\")
    known: dict[str, str] = {}
    stages: list[Stage] = []
    origin: Line | None = None
    body: list[Line] = []
    for line in (*parse_lines(text, file), None):
        if line is not None and line.name != "FROM":
            if origin is not None:
                body.append(line)
            elif line.name == "ARG":
                for name, value in arguments_of(line, {**platform, **known}, escape):
                    given = arguments.get(name, value)
                    if given is not None:
                        known[name] = given
            else:
                raise line.error(f"no build stage in current context: {line.name} comes before FROM")
            continue
        if origin is not None:
            stages.append(_stage(len(stages), origin, body, {**platform, **known}, escape))
        origin, body = line, []
    if not stages:
        raise DockerfileError(f"{file}: there is no FROM")
    return Dockerfile(tuple(stages), known, escape)


def arguments_of(line: Line, variables: Mapping[str, str], escape: str) -> list[tuple[str, str | None]]:
    """The names of an ARG with their defaults. Raises DockerfileError."""
    from_words = split(line, escape)
    if not from_words:
        raise line.error("ARG requires at least one argument")
    found: list[tuple[str, str | None]] = []
    seen = dict(variables)
    for word in from_words:
        name, equals, value = word.partition("=")
        default = expanded(line, value, seen, escape) if equals else None
        found.append((name, default))
        if default is not None:
            seen[name] = default
    return found


def split(line: Line, escape: str) -> tuple[str, ...]:
    """The words of an instruction. Raises DockerfileError."""
    try:
        return split_words(line.rest, escape)
    except ValueError as error:
        raise line.error(str(error)) from None


def expanded(line: Line, text: str, variables: Mapping[str, str], escape: str) -> str:
    """A word of an instruction with its variables replaced. Raises DockerfileError."""
    try:
        return expand(text, variables, escape)
    except ValueError as error:
        raise line.error(f"failed to process {text!r}: {error}", text) from None


def _stage(number: int, origin: Line, body: list[Line], variables: Mapping[str, str], escape: str) -> Stage:
    words = split(origin, escape)
    if len(words) not in (1, 3) or (len(words) == 3 and words[1].upper() != "AS"):
        raise origin.error("FROM requires either one or three arguments")
    platform = ""
    for flag, value in origin.flags:
        if flag != "platform":
            raise origin.error(f"unknown flag: --{flag} (did you mean --platform?)", f"--{flag}")
        platform = expanded(origin, value, variables, escape)
    base = expanded(origin, words[0], variables, escape)
    if not base:
        raise origin.error(f"base name ({words[0]}) should not be blank", words[0])
    name = words[2].lower() if len(words) == 3 else ""
    return Stage(number, name, base, platform, tuple(body), origin)


def platform_arguments(architecture: str) -> dict[str, str]:
    """The predefined arguments ``TARGETARCH`` and the like, of this machine."""
    found: dict[str, str] = {}
    for prefix in ("TARGET", "BUILD"):
        found |= {
            f"{prefix}PLATFORM": f"linux/{architecture}",
            f"{prefix}OS": "linux",
            f"{prefix}ARCH": architecture,
            f"{prefix}VARIANT": "",
        }
    return found
