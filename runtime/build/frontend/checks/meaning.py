"""Checks that follow what instructions mean: variables, platforms, working directories, shells."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from runtime.build.frontend.checks import rules
from runtime.build.frontend.checks.rules import Finding, found
from runtime.build.frontend.expand import expand, expand_text, json_words, split_words
from runtime.build.frontend.flags import flag
from runtime.build.frontend.lines import DockerfileError, Line
from runtime.build.frontend.settings import assignments
from runtime.build.frontend.stages import Dockerfile, Stage, arguments_of
from runtime.container.config import ImageConfig
from runtime.nearest import nearest

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
_EXPANDED = ("ADD", "COPY", "ENV", "EXPOSE", "LABEL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR", "ARG")
_REFERENCE = re.compile(
    r"([A-Za-z0-9.-]+(:\d+)?/|\[[0-9a-fA-F:]+\](:\d+)?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*(:\w[\w.-]{0,127})?"
    r"(@[a-z0-9+.-]+:[0-9a-fA-F]{32,})?"
)


@dataclass
class _Known:
    """What is known in a stage so far."""

    variables: dict[str, str] | None = None
    """None: the base image, and so its environment, is not known."""
    declared: set[str] = field(default_factory=set)
    has_shell: bool = False
    has_workdir: bool = False


def check_meaning(
    file: Dockerfile,
    platform: Mapping[str, str],
    images: Mapping[str, ImageConfig],
    platforms: Mapping[str, str],
) -> Iterator[Finding]:
    """All of them. ``platform`` has the predefined arguments, ``images`` the base images that are known, ``platforms``
    what those are for."""
    yield from _bases(file, platform)
    for stage in file.stages:
        expected = stage.platform or platform["TARGETPLATFORM"]
        has = platforms.get(stage.base, expected)
        if has.split("/")[:2] != expected.split("/")[:2] and file.before(stage, stage.base) is None:
            message = (
                f'Base image {stage.base} was pulled with platform "{has}", '
                f'expected "{expected}" for current build'
            )
            yield found(rules.BASE_PLATFORM, stage.origin, message, stage.base)
    known: dict[int, _Known] = {}
    for stage in file.stages:
        known[stage.number] = state = _beginning(file, stage, known, images)
        for line in stage.lines:
            yield from _line(file, state, line, platform)


def _beginning(
    file: Dockerfile, stage: Stage, known: Mapping[int, _Known], images: Mapping[str, ImageConfig]
) -> _Known:
    if (earlier := file.before(stage, stage.base)) is not None:
        before = known[earlier.number]
        variables = dict(before.variables) if before.variables is not None else None
        return _Known(variables, set(before.declared), before.has_shell, before.has_workdir)
    if stage.base == "scratch":
        return _Known({"PATH": ""})
    config = images.get(stage.base)
    if config is None:
        return _Known()
    variables = dict(item.partition("=")[::2] for item in config.env)
    return _Known({"PATH": "", **variables}, has_shell=bool(config.shell))


def _bases(file: Dockerfile, platform: Mapping[str, str]) -> Iterator[Finding]:
    defaults: dict[str, str] = {}
    for line in file.globals:
        with contextlib.suppress(DockerfileError):
            for name, value in arguments_of(line, {**platform, **defaults}, file.escape):
                defaults |= {name: value} if value is not None else {}
    for stage in file.stages:
        line, words = stage.origin, split_words(stage.origin.rest, file.escape)
        variables = {**platform, **file.arguments}
        unset: set[str] = set()
        with contextlib.suppress(ValueError):
            expand(words[0], variables, file.escape, unset)
            expand(flag(line, "platform"), variables, file.escape, unset)
        declared = {
            word.partition("=")[0] for one in file.globals for word in split_words(one.rest, file.escape)
        }
        for name in sorted(unset - declared):
            message = f"FROM argument '{name}' is not declared{_near(name, {*variables, *declared})}"
            yield found(rules.UNDEFINED_ARG, line, message, name)
        if "$" in words[0]:
            base = ""
            with contextlib.suppress(ValueError):
                base = expand(words[0], {**platform, **defaults}, file.escape)
            if not _REFERENCE.fullmatch(base):
                message = f"Default value for ARG {words[0]} results in empty or invalid base image name"
                yield found(rules.INVALID_DEFAULT, line, message, words[0])
        yield from _platform(stage, platform)


def _platform(stage: Stage, platform: Mapping[str, str]) -> Iterator[Finding]:
    text = flag(stage.origin, "platform")
    if text in ("$TARGETPLATFORM", "${TARGETPLATFORM}"):
        message = (
            f"Setting platform to predefined {text} in FROM is redundant as this is the default behavior"
        )
        yield found(rules.REDUNDANT_PLATFORM, stage.origin, message, "--platform")
    elif text and "$" not in text:
        names = text.split("/")[:2]
        if not any(name and name in stage.name for name in names):
            message = f'FROM --platform flag should not use constant value "{text}"'
            yield found(rules.CONST_PLATFORM, stage.origin, message, "--platform")


def _line(file: Dockerfile, state: _Known, line: Line, platform: Mapping[str, str]) -> Iterator[Finding]:
    match line.name:
        case "SHELL":
            state.has_shell = True
        case "CMD" | "ENTRYPOINT":
            if not state.has_shell and json_words(line.rest) is None:
                message = (
                    f"JSON arguments recommended for {line.name} to prevent unintended behavior related to OS "
                    "signals"
                )
                yield found(rules.JSON_ARGS, line, message)
        case "WORKDIR":
            if not state.has_workdir and not line.rest.lstrip("\"'").startswith(("/", "$")):
                message = (
                    f'Relative workdir "{line.rest}" can have unexpected results if the base image changes'
                )
                yield found(rules.WORKDIR_RELATIVE, line, message, line.rest)
            state.has_workdir = True
    if state.variables is not None and line.name in _EXPANDED:
        yield from _undefined(file, state, line, state.variables)
        _learn(file, state, line, platform, state.variables)


def _undefined(
    file: Dockerfile, state: _Known, line: Line, variables: Mapping[str, str]
) -> Iterator[Finding]:
    unset: set[str] = set()
    texts = [line.rest, *(value for _, value in line.flags)]
    if line.name in ("ADD", "COPY"):
        texts = [*line.rest.split(), *(value for _, value in line.flags)]
    for text in texts:
        with contextlib.suppress(ValueError):
            expand(text, variables, file.escape, unset)
    for doc in line.heredocs:
        if doc.is_expanded and line.name != "RUN":
            with contextlib.suppress(ValueError):
                expand_text(doc.content, variables, file.escape, unset)
    if line.name == "ARG":
        unset -= {word.partition("=")[0] for word in split_words(line.rest, file.escape)}
    for name in sorted(unset - state.declared):
        if name.upper() not in PROXIES:
            message = f"Usage of undefined variable '${name}'{_near(name, variables, '$')}"
            yield found(rules.UNDEFINED_VAR, line, message, f"${name}" if f"${name}" in line.rest else name)


def _learn(
    file: Dockerfile, state: _Known, line: Line, platform: Mapping[str, str], variables: dict[str, str]
) -> None:
    """The variables that an instruction defines."""
    with contextlib.suppress(DockerfileError):
        if line.name == "ENV":
            variables |= assignments(line, variables, file.escape)
        elif line.name == "ARG":
            for name, default in arguments_of(line, variables, file.escape):
                state.declared.add(name)
                value = default if default is not None else file.arguments.get(name, platform.get(name))
                if value is not None:
                    variables[name] = value


def _near(name: str, known: Mapping[str, str] | set[str], prefix: str = "") -> str:
    close = nearest(name, list(known))
    return f" (did you mean {prefix}{close}?)" if close else ""
