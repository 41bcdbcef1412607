"""Checks that look at instructions as they are written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from runtime.build.frontend.checks import rules
from runtime.build.frontend.checks.rules import Finding, found
from runtime.build.frontend.expand import json_words, split_words
from runtime.build.frontend.flags import flag
from runtime.build.frontend.lines import Line
from runtime.build.frontend.stages import Dockerfile, Stage

_RESERVED = ("context", "scratch")
_SECRET = re.compile(
    r"(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)", re.IGNORECASE
)
_NO_SECRET = re.compile(r"(?:_|^)public(?:_|$)", re.IGNORECASE)
_ONCE = ("CMD", "ENTRYPOINT", "HEALTHCHECK")


def check_style(file: Dockerfile, is_ignored: Callable[[str], bool]) -> Iterator[Finding]:
    """All of them. ``is_ignored`` says what .dockerignore leaves out."""
    yield from _casing(file)
    yield from _stage_names(file)
    for line in file.lines:
        if line.has_empty_continuation:
            yield found(rules.NO_EMPTY_CONTINUATION, line, "Empty continuation line")
        yield from _line(line, file.escape, is_ignored)
    for stage in file.stages:
        yield from _repeated(stage)


def _casing(file: Dockerfile) -> Iterator[Finding]:
    lines = [line for line in file.lines if line not in file.globals]
    lower = sum(line.word.islower() for line in lines)
    is_lower = lower > sum(line.word.isupper() for line in lines)
    for line in lines:
        if not (line.word.islower() if is_lower else line.word.isupper()):
            case = "lowercase" if is_lower else "uppercase"
            message = f"Command '{line.word}' should match the case of the command majority ({case})"
            yield found(rules.CONSISTENT_CASING, line, message, line.word)


def _stage_names(file: Dockerfile) -> Iterator[Finding]:
    seen: set[str] = set()
    for stage in file.stages:
        line = stage.origin
        words = split_words(line.rest, file.escape)
        if len(words) < 3:
            continue
        written, as_word = words[2], words[1]
        if (line.word.islower() and not as_word.islower()) or (line.word.isupper() and not as_word.isupper()):
            message = f"'{as_word}' and '{line.word}' keywords' casing do not match"
            yield found(rules.FROM_AS_CASING, line, message, f" {as_word} ")
        if written != written.lower():
            message = f"Stage name '{written}' should be lowercase"
            yield found(rules.STAGE_NAME_CASING, line, message, written)
        if stage.name in _RESERVED:
            message = f'Stage name should not use the same name as reserved stage "{stage.name}"'
            yield found(rules.RESERVED_STAGE, line, message, written)
        if stage.name in seen:
            message = f'Duplicate stage name "{stage.name}", stage names should be unique'
            yield found(rules.DUPLICATE_STAGE, line, message, written)
        seen.add(stage.name)
        yield from _description(line, "build stage", [stage.name])


def _line(line: Line, escape: str, is_ignored: Callable[[str], bool]) -> Iterator[Finding]:
    match line.name:
        case "MAINTAINER":
            message = "Maintainer instruction is deprecated in favor of using label"
            yield found(rules.MAINTAINER, line, message)
        case "ENV" | "LABEL":
            words = split_words(line.rest, escape)
            is_old = "=" not in words[0]
            if is_old:
                message = (
                    f'"{line.name} key=value" should be used instead of legacy "{line.name} key value" format'
                )
                yield found(rules.LEGACY_FORMAT, line, message, words[0])
            if line.name == "ENV":
                yield from _secrets(line, [word.partition("=")[0] for word in words[: 1 if is_old else None]])
        case "ARG":
            names = [word.partition("=")[0] for word in split_words(line.rest, escape)]
            yield from _secrets(line, names)
            yield from _description(line, "build argument", names)
        case "EXPOSE":
            yield from _ports(line)
        case "COPY" | "ADD" if not flag(line, "from"):
            words = json_words(line.rest) or tuple(line.bare.rest.split())
            for word in words[: -1 if len(words) > 1 else None]:
                path = word.removeprefix("./").strip("/")
                if path and "://" not in path and is_ignored(path):
                    verb = "Copy" if line.name == "COPY" else "Add"
                    message = f'Attempting to {verb} file "{word}" that is excluded by .dockerignore'
                    yield found(rules.COPY_IGNORED, line, message, word)


def _secrets(line: Line, names: list[str]) -> Iterator[Finding]:
    for name in names:
        if _SECRET.search(name) and not _NO_SECRET.search(name):
            message = f'Do not use ARG or ENV instructions for sensitive data ({line.name} "{name}")'
            yield found(rules.SECRETS, line, message, name)


def _description(line: Line, what: str, names: list[str]) -> Iterator[Finding]:
    if line.comments and line.comments[-1].partition(" ")[0] not in names:
        example = names[0] if len(names) == 1 else "<arg_key>"
        message = f"Comment for {what} should follow the format: `# {example} <description>`"
        yield found(rules.DESCRIPTION, line, message)


def _ports(line: Line) -> Iterator[Finding]:
    for word in line.rest.split():
        port, _, protocol = word.partition("/")
        if "$" not in word and ":" in port:
            message = (
                f"EXPOSE instruction should not define an IP address or host-port mapping, found '{word}'"
            )
            yield found(rules.EXPOSE_FORMAT, line, message, word)
        if "$" not in protocol and protocol != protocol.lower():
            message = f"Defined protocol '{word}' for EXPOSE command should be lowercase"
            yield found(rules.EXPOSE_CASING, line, message, word)


def _repeated(stage: Stage) -> Iterator[Finding]:
    last: dict[str, Line] = {}
    for line in stage.lines:
        if line.name in _ONCE:
            if (before := last.get(line.name)) is not None:
                message = (
                    f"Multiple {line.name} instructions should not be used in the same stage because only the "
                    "last one will be used"
                )
                yield found(rules.MULTIPLE, before, message)
            last[line.name] = line
