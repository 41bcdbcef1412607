"""The stages of a Dockerfile, and which of them a target needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.build.frontend.directives import Directives, read_directives
from runtime.build.frontend.expand import expand, expand_text, split_words
from runtime.build.frontend.flags import flag
from runtime.build.frontend.lines import DockerfileError, Heredoc, Line, combined, read_lines
from runtime.build.frontend.syntax import check_syntax
from runtime.errors import NotFound
from runtime.nearest import nearest

if TYPE_CHECKING:
    import networkx as nx


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
    directives: Directives
    globals: tuple[Line, ...]
    """The ARGs before the first FROM."""

    @property
    def lines(self) -> tuple[Line, ...]:
        """Every instruction, in order."""
        return (*self.globals, *(line for stage in self.stages for line in (stage.origin, *stage.lines)))

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
            raise NotFound(f"target stage {target!r} could not be found", hint=self._targets(target))
        import networkx as nx

        graph: nx.DiGraph[int] = nx.DiGraph()
        graph.add_nodes_from(range(len(self.stages)))
        for stage in self.stages:
            sources = [stage.base, *(source for line in stage.lines for source in sources_of(line))]
            for source in sources:
                if (other := self.before(stage, source)) is not None:
                    graph.add_edge(other.number, stage.number)
        wanted = nx.ancestors(graph, last.number) | {last.number}
        return tuple(stage for stage in self.stages if stage.number in wanted)

    def _targets(self, missing: str) -> str:
        """Which stages there are in place of one that there is not."""
        names = [stage.name for stage in self.stages if stage.name]
        if near := nearest(missing.lower(), names):
            return f"did you mean {near}?"
        if len(self.stages) == 1:
            own = f"called {names[0]}" if names else "without a name (--target 0)"
            return f"the file has one stage, {own}"
        numbered = [f"{stage.number}{f' ({stage.name})' if stage.name else ''}" for stage in self.stages]
        return f"the file has {len(numbered)} stages, by number and name: {', '.join(numbered)}"


def no_such_stage(name: str, stages: Sequence[str], *, is_base: bool) -> str:
    """That ``name``, which could not be had as an image, is no stage before its line either; "" for what is no name of
    one. ``is_base``: it is in FROM, where most names are those of images."""
    if name.lower() in stages:
        return f"the stage {name.lower()} comes only after this line"
    if near := nearest(name.lower(), stages):
        return f"no stage is called {name} (did you mean the stage {near}?)"
    return f"no stage is called {name}" if not is_base and not set(name) & set("/:@") else ""


def sources_of(line: Line) -> tuple[str, ...]:
    """What a ``COPY --from`` and each ``RUN --mount=from`` read besides the context."""
    found: list[str] = []
    for name, value in line.flags:
        if name == "from":
            found.append(value)
        if name == "mount":
            found += [part.strip()[5:] for part in value.split(",") if part.strip().startswith("from=")]
    return tuple(found)


def parse_dockerfile(
    text: str, arguments: Mapping[str, str], platform: Mapping[str, str], file: str = "Dockerfile"
) -> Dockerfile:
    """Divide a Dockerfile into stages.

    ``arguments`` are the build arguments, ``platform`` the predefined ones (TARGETARCH ...). Raises DockerfileError
    with all that is wrong.
    """
    directives = read_directives(text, file)
    escape = directives.escape
    lines, errors = read_lines(text, file, escape, directives.lines)
    wrong: dict[int, DockerfileError] = {}
    for line in lines:
        try:
            check_syntax(line, escape)
        except DockerfileError as error:
            wrong[line.number] = error
    known: dict[str, str] = {}
    stages: list[Stage] = []
    first = next((place for place, line in enumerate(lines) if line.name == "FROM"), len(lines))
    for line in lines[:first]:
        if line.name != "ARG":
            wrong.setdefault(
                line.number, line.error(f"no build stage in current context: {line.name} comes before FROM")
            )
        elif line.number not in wrong:
            try:
                for name, value in arguments_of(line, {**platform, **known}, escape):
                    given = arguments.get(name, value)
                    if given is not None:
                        known[name] = given
            except DockerfileError as error:
                wrong[line.number] = error
    starts = [place for place, line in enumerate(lines) if line.name == "FROM"]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=False):
        if lines[start].number in wrong:
            continue
        try:
            stage = _stage(len(stages), lines[start], lines[start + 1 : end], {**platform, **known}, escape)
        except DockerfileError as error:
            wrong[lines[start].number] = error
            continue
        stages.append(stage)
        for line in stage.lines:
            if (misplaced := _misplaced(stage, line)) is not None:
                wrong.setdefault(line.number, misplaced)
    errors += wrong.values()
    if not starts and not errors:
        errors.append(DockerfileError(f"{file}: there is no FROM"))
    if errors:
        raise combined(sorted(errors, key=lambda error: _line_of(error, file)))
    return Dockerfile(tuple(stages), known, escape, directives, tuple(lines[:first]))


def _misplaced(stage: Stage, line: Line) -> DockerfileError | None:
    """What is wrong with a COPY's ``--from``: numbers of stages that have not been, and its own stage."""
    source = flag(line, "from") if line.name == "COPY" else ""
    if source.isdecimal() and int(source) >= stage.number:
        return line.error(
            f"invalid from flag value {source}: invalid stage index, there are {stage.number} before",
            "--from",
        )
    if source and source.lower() == stage.name:
        return line.error(f"circular dependency detected on stage: {stage.name}", "--from")
    return None


def _line_of(error: DockerfileError, file: str) -> int:
    number = error.message.removeprefix(f"{file}:").partition(":")[0]
    return int(number) if number.isdecimal() else 0


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


def heredoc_text(line: Line, doc: Heredoc, variables: Mapping[str, str], escape: str) -> str:
    """A here-document of COPY or ADD, its variables replaced unless its name was quoted. Raises DockerfileError."""
    if not doc.is_expanded:
        return doc.content
    try:
        return expand_text(doc.content, variables, escape)
    except ValueError as error:
        raise line.error(f"failed to process the here-document {doc.name}: {error}", doc.name) from None


def _stage(
    number: int, origin: Line, body: Sequence[Line], variables: Mapping[str, str], escape: str
) -> Stage:
    words = split(origin, escape)
    platform = expanded(origin, flag(origin, "platform"), variables, escape)
    base = expanded(origin, words[0], variables, escape)
    if not base:
        raise origin.error(f"base name ({words[0]}) should not be blank", words[0])
    name = words[2].lower() if len(words) == 3 else ""
    return Stage(number, name, base, platform, tuple(body), origin)


def platform_arguments(target: str, build: str = "") -> dict[str, str]:
    """The predefined arguments ``TARGETARCH`` and the like: what is built for, and what builds (os/arch[/variant])."""
    found: dict[str, str] = {}
    for prefix, platform in (("TARGET", target), ("BUILD", build or target)):
        system, architecture, variant = (*platform.split("/"), "", "")[:3]
        found |= {
            f"{prefix}PLATFORM": platform,
            f"{prefix}OS": system,
            f"{prefix}ARCH": architecture,
            f"{prefix}VARIANT": variant,
        }
    return found
