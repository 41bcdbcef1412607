"""A Dockerfile's stages to the steps of a build: variables replaced, configurations followed. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from runtime.build.frontend.copies import convert_copy
from runtime.build.frontend.devices import parse_device
from runtime.build.frontend.expand import json_words
from runtime.build.frontend.lines import Line, heredoc_command, is_script, parse_lines
from runtime.build.frontend.settings import SETTINGS, assignments, configure, environment
from runtime.build.frontend.stages import Dockerfile, Stage, arguments_of, expanded
from runtime.build.frontend.step_mounts import convert_mount
from runtime.build.steps import (
    ContextSource,
    Copy,
    HistoryItem,
    ImageSource,
    MakeDirectory,
    Run,
    RunMount,
    Selection,
    Step,
    StepDevice,
)
from runtime.container.config import ImageConfig

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PREDEFINED = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
_IMAGE = "docker-image://"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked for besides the file's text."""

    arguments: Mapping[str, str] = field(default_factory=dict)
    platform: Mapping[str, str] = field(default_factory=dict)
    """The predefined arguments."""
    contexts: Mapping[str, str] = field(default_factory=dict)
    """Named contexts: ``docker-image://reference``, or a directory."""
    network: str = "bridge"
    target: str = ""
    """The platform that is built for, when it is not this machine's."""
    epoch: int | None = None
    """SOURCE_DATE_EPOCH."""
    allow: tuple[str, ...] = ()
    """Entitlements that are granted."""
    hosts: tuple[str, ...] = ()
    shm_size: int = 0


@dataclass(frozen=True, kw_only=True)
class Base:
    """What a stage takes over from an image."""

    config: ImageConfig
    on_build: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Result:
    """What becomes an image. ``history`` is what comes after that of ``base`` (None: there is none)."""

    name: str
    """Of the stage, or its number."""
    step: Step | None
    base: ImageSource | None
    config: ImageConfig
    history: tuple[HistoryItem, ...]
    on_build: tuple[str, ...]
    platform: str
    """"": this machine's."""
    author: str
    count: int
    """Of the lines that steps were made of."""


@dataclass
class _State:
    """A stage so far."""

    stage: Stage
    step: Step | None
    base: ImageSource | None
    config: ImageConfig
    arguments: dict[str, str] = field(default_factory=dict)
    history: list[HistoryItem] = field(default_factory=list)
    has_command: bool = False
    on_build: list[str] = field(default_factory=list)
    number: int = 1
    total: int = 1
    platform: str = ""
    author: str = ""
    """MAINTAINER."""
    user_line: Line | None = None
    """The last USER."""

    @property
    def variables(self) -> dict[str, str]:
        return {**environment(self.config), **self.arguments}


def images_needed(file: Dockerfile, target: str, asked: Asked) -> tuple[ImageSource, ...]:
    """The images whose configuration :func:`convert` has to know, each once."""
    conversion = _Conversion(file, asked, {})
    found = {}
    for stage in file.needed(target):
        if isinstance(source := conversion.base(stage), ImageSource):
            found[source.reference, source.platform] = source
    return tuple(found.values())


def convert(
    file: Dockerfile, target: str, asked: Asked, bases: Mapping[tuple[str, str], Base]
) -> tuple[Result, ...]:
    """The stages that ``target`` needs, itself last. ``bases``: by reference and platform. Raises DockerfileError,
    NotFound."""
    conversion = _Conversion(file, asked, bases)
    for stage in file.needed(target):
        conversion.add(stage)
    return tuple(conversion.result(number) for number in conversion.done)


class _Conversion:
    def __init__(self, file: Dockerfile, asked: Asked, bases: Mapping[tuple[str, str], Base]) -> None:
        self.file = file
        self.asked = asked
        self.bases = bases
        self.done: dict[int, _State] = {}
        self._sources: dict[tuple[str, str], Step] = {}

    def result(self, number: int) -> Result:
        state = self.done[number]
        return Result(
            name=state.stage.name or str(number),
            step=state.step,
            base=state.base,
            config=state.config,
            history=tuple(state.history),
            on_build=tuple(state.on_build),
            platform=state.platform,
            author=state.author,
            count=state.total,
        )

    def base(self, stage: Stage) -> Step | Stage | None:
        """What FROM names: an earlier stage, an image, a directory; None for ``scratch``."""
        named = self._named(stage.base, stage.origin, stage.platform)
        if named is not None:
            return named
        if (earlier := self.file.before(stage, stage.base)) is not None:
            return earlier
        if stage.base == "scratch":
            return None
        return self._image(stage.base, stage.platform or self.asked.target, stage.origin)

    def source(self, stage: Stage, line: Line, name: str) -> Step:
        """What ``--from`` names ("": the context)."""
        if not name:
            return self._context("", line)
        if (named := self._named(name, line)) is not None:
            return named
        if (earlier := self.file.before(stage, name)) is not None:
            step = self.done[earlier.number].step
            return step or MakeDirectory(text=f"FROM {earlier.base}", place=line, below=None, path="/")
        if name.isdecimal() and int(name) >= stage.number:
            raise line.error(f"invalid from flag value {name}: there is no such stage before this one", name)
        if name.lower() == stage.name:
            raise line.error(f"circular dependency detected: stage {name} copies from itself", name)
        return self._image(name, self.asked.target, line)

    def _named(self, name: str, line: Line, platform: str = "") -> Step | None:
        context = self.asked.contexts.get(name)
        if context is None:
            return None
        if context.startswith(_IMAGE):
            return self._image(context.removeprefix(_IMAGE), platform or self.asked.target, line)
        return self._context(name, line)

    def _image(self, reference: str, platform: str, line: Line) -> ImageSource:
        found = self._sources.get((reference, platform))
        if not isinstance(found, ImageSource):
            found = ImageSource(text=f"FROM {reference}", place=line, reference=reference, platform=platform)
            self._sources[reference, platform] = found
        return found

    def _context(self, name: str, line: Line) -> Step:
        text = f"context {name}".rstrip()
        return self._sources.setdefault(("\0" + name, ""), ContextSource(text=text, place=line, name=name))

    def add(self, stage: Stage) -> None:
        """Go through the lines of a stage."""
        source = self.base(stage)
        lines = list(stage.lines)
        if isinstance(source, Stage):
            before = self.done[source.number]
            history = list(before.history)
            state = _State(stage, before.step, before.base, before.config, dict(before.arguments), history)
            state.author, state.user_line = before.author, before.user_line
            lines = [*_triggers(before.on_build, stage), *lines]
        elif isinstance(source, ImageSource):
            base = self.bases[source.reference, source.platform]
            config = base.config
            if not any(item.startswith("PATH=") for item in config.env):
                config = replace(config, env=(*config.env, PATH))
            state = _State(stage, source, source, config)
            lines = [*_triggers(base.on_build, stage), *lines]
        elif source is not None:
            text = f"FROM {stage.base}"
            step = Copy(
                text=text,
                place=stage.origin,
                below=None,
                latest=self.asked.epoch,
                origin=Selection(source=source, patterns=(".",)),
                destination="/",
            )
            state = _State(stage, step, None, ImageConfig(env=(PATH,)))
            state.history.append(HistoryItem(created_by=text, step=step))
        else:
            state = _State(stage, None, None, ImageConfig(env=(PATH,)))
        inherited = self.done[source.number].platform if isinstance(source, Stage) else self.asked.target
        state.platform = stage.platform or inherited
        state.total = 1 + sum(line.name in ("RUN", "COPY", "ADD", "WORKDIR") for line in lines)
        for line in lines:
            self._line(state, line)
        self.done[stage.number] = state

    def _line(self, state: _State, line: Line) -> None:
        escape = self.file.escape
        text = _one_line(line)
        if line.name == "ARG":
            self._argument(state, line)
        elif line.name == "MAINTAINER":
            state.author = line.rest
        elif line.name == "ONBUILD":
            state.on_build.append(line.text)
            return
        elif line.name == "RUN":
            self._put(state, text, self._run(state, line, text))
            return
        elif line.name in ("COPY", "ADD"):
            self._put(state, text, self._copy(state, line, text))
            return
        elif line.name in SETTINGS:
            state.config = configure(
                state.config, line, state.variables, escape, is_own_command=state.has_command
            )
            state.has_command = state.has_command or line.name == "CMD"
            state.user_line = line if line.name == "USER" else state.user_line
            if line.name == "ENV":
                for name in assignments(line, state.variables, escape):
                    state.arguments.pop(name, None)
            if line.name == "WORKDIR":
                path = state.config.working_dir
                step = MakeDirectory(**self._common(state, line, text), below=state.step, path=path)
                self._put(state, text, step)
                return
        state.history.append(HistoryItem(created_by=text))

    def _common(self, state: _State, line: Line, text: str) -> dict[str, Any]:
        """What all steps of lines say of themselves."""
        state.number += 1
        return {
            "text": text,
            "written": _as_written(line),
            "place": line,
            "stage": state.stage.name,
            "number": state.number,
            "total": state.total,
            "latest": self.asked.epoch,
        }

    def _put(self, state: _State, text: str, step: Step) -> None:
        state.step = step
        state.history.append(HistoryItem(created_by=text, step=step))

    def _argument(self, state: _State, line: Line) -> None:
        for name, default in arguments_of(line, state.variables, self.file.escape):
            value = self.asked.arguments.get(name)
            value = self.asked.platform.get(name) if value is None and default is None else value
            value = self.file.arguments.get(name) if value is None and default is None else value
            value = default if value is None else value
            if value is not None:
                state.arguments[name] = value

    def _copy(self, state: _State, line: Line, text: str) -> Step:
        return convert_copy(
            line,
            state.variables,
            self.file.escape,
            state.config.working_dir,
            lambda name: self.source(state.stage, line, name),
            {**self._common(state, line, text), "below": state.step},
        )

    def _run(self, state: _State, line: Line, text: str) -> Step:
        if state.step is None:
            raise line.error("RUN needs a program, and FROM scratch has none")
        mounts: list[RunMount] = []
        devices: list[StepDevice] = []
        network, is_insecure = self.asked.network, False
        for name, raw in line.flags:
            value = expanded(line, raw, state.variables, self.file.escape)
            if name == "mount":
                number = sum(mount.type == "ssh" for mount in mounts)
                mounts.append(
                    convert_mount(line, value, lambda name: self.source(state.stage, line, name), number)
                )
            elif name == "device":
                try:
                    devices.append(parse_device(value))
                except ValueError as error:
                    raise line.error(str(error), "--device") from None
            elif name == "network" and value in ("default", "none", "host"):
                if value == "host" and network != "host" and "network.host" not in self.asked.allow:
                    raise line.error(
                        "network.host is not allowed: the build has to be given --allow network.host",
                        "--network",
                    )
                network = "bridge" if value == "default" else value
            elif name == "security" and value in ("sandbox", "insecure"):
                is_insecure = value == "insecure"
                if is_insecure and "security.insecure" not in self.asked.allow:
                    raise line.error(
                        "security.insecure is not allowed: the build has to be given --allow security.insecure",
                        "--security",
                    )
            else:
                raise line.error(f"RUN --{name}={value} is not supported by composer", f"--{name}")
        script = heredoc_command(line) if line.heredocs else line.rest
        words = json_words(script) or (*(state.config.shell or ("/bin/sh", "-c")), script)
        program = None
        if is_script(line) and script.startswith("#!"):
            program = (f"/dev/pipes/{line.heredocs[0].name}", script.encode("utf-8", "surrogateescape"))
            words = (program[0],)
        proxies = tuple(
            f"{name}={value}"
            for name, value in self.asked.arguments.items()
            if name.upper() in PREDEFINED and name not in state.arguments
        )
        return Run(
            **self._common(state, line, text),
            below=state.step,
            words=words,
            platform=state.platform,
            env=tuple(f"{name}={value}" for name, value in state.variables.items()),
            proxies=proxies,
            user=state.config.user,
            user_place=state.user_line,
            working_dir=state.config.working_dir or "/",
            network=network,
            is_insecure=is_insecure,
            mounts=tuple(mounts),
            devices=tuple(devices),
            shell=tuple(state.config.shell or ()),
            program=program,
            hosts=self.asked.hosts,
            shm_size=self.asked.shm_size,
        )


def _one_line(line: Line) -> str:
    """The instruction for people. What it is to do it says in its flags only if it is a HEALTHCHECK; those of
    others say how."""
    flags = [f"--{name}={value}" for name, value in line.flags if line.name == "HEALTHCHECK"]
    return " ".join([line.name, *flags, *line.rest.split()])


def _as_written(line: Line) -> str:
    """With all flags, and the first line of each here-document."""
    flags = [f"--{name}" if value == "true" else f"--{name}={value}" for name, value in line.flags]
    beginnings = []
    for doc in line.heredocs:
        first, *rest = doc.content.strip().split("\n")
        beginnings.append(f"({first}{'...' if rest else ''})")
    return " ".join([line.name, *flags, *line.rest.split(), *beginnings])


def _triggers(texts: Sequence[str], stage: Stage) -> tuple[Line, ...]:
    """The instructions that ONBUILD has left for stages made from something."""
    return parse_lines("\n".join(texts), f"ONBUILD of {stage.base}") if texts else ()


__all__ = ["Asked", "Base", "Result", "Selection", "convert", "images_needed"]
