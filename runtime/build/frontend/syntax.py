"""What is wrong with an instruction whatever its variables are, so that all mistakes of a file are told at once.
Pure."""

from __future__ import annotations

import re
from collections.abc import Callable

from runtime.build.frontend.devices import parse_device
from runtime.build.frontend.expand import json_words, split_words
from runtime.build.frontend.flags import check_flags, flag
from runtime.build.frontend.lines import DockerfileError, Line, read_lines
from runtime.build.frontend.mounts import parse_mount

_DURATION = re.compile(r"(\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_MILLISECOND = 10**6
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_NETWORKS = ("default", "none", "host")
_SECURITY = ("sandbox", "insecure")
_MAY_BE_EMPTY = ("ARG", "CMD", "ENTRYPOINT", "RUN")
"""ARG has words of its own for it; the others are, as with Docker, an empty command of the shell."""
_STAGE = re.compile(r"[a-z][a-z0-9-_.]*")


def check_syntax(line: Line, escape: str) -> None:
    """Raises DockerfileError for the first thing that is wrong."""
    check_flags(line)
    if not line.rest and line.name not in _MAY_BE_EMPTY:
        raise line.error(f"{line.name} requires at least one argument", line.word)
    try:
        _RULES.get(line.name, _nothing)(line, escape)
    except ValueError as error:
        raise line.error(str(error), line.rest[:20]) from None


def _nothing(line: Line, escape: str) -> None:
    """Whatever it says is right."""


def _from(line: Line, escape: str) -> None:
    words = split_words(line.rest, escape)
    if len(words) not in (1, 3) or (len(words) == 3 and words[1].upper() != "AS"):
        raise line.error("FROM requires either one or three arguments", line.rest)
    if len(words) == 3 and not _STAGE.fullmatch(words[2].lower()):
        raise line.error(
            f"invalid name for build stage: {words[2]!r}, name can't start with a number or contain symbols",
            words[2],
        )


def _assignments(line: Line, escape: str) -> None:
    words = split_words(line.rest, escape)
    if "=" not in words[0]:
        if len(line.rest.split(maxsplit=1)) < 2:
            raise line.error(f"{line.name} must have two arguments", words[0])
        return
    for word in words:
        name, equals, _ = word.partition("=")
        if not equals:
            raise line.error(
                f"Syntax error - can't find = in {word!r}. Must be of the form: name=value", word
            )
        if not name:
            raise line.error(f"{line.name} names can not be blank", word)


def _arguments(line: Line, escape: str) -> None:
    words = split_words(line.rest, escape)
    if not words:
        raise line.error("ARG requires at least one argument", line.word)
    for word in words:
        if not word.partition("=")[0]:
            raise line.error("ARG names can not be blank", word)


def _copy(line: Line, escape: str) -> None:
    words = json_words(line.rest) if line.rest.startswith("[") else None
    words = words if words is not None else tuple(line.bare.rest.split())
    if len(words) + len(line.heredocs) < 2 or not words:
        raise line.error(
            f"{line.name} requires at least two arguments, but only one was provided. Destination could not be "
            "determined",
            line.word,
        )
    for value in [flag(line, "from")]:
        if "$" in value:
            raise line.error(
                "'from' doesn't support variable expansion, define alias stage instead", "--from"
            )


def _run(line: Line, escape: str) -> None:
    json_words(line.rest)
    for name, value in line.flags:
        if name == "network" and value.lower() not in _NETWORKS:
            raise line.error(
                f"invalid network mode: {value!r}: there are {', '.join(_NETWORKS)}", "--network"
            )
        if name == "security" and value.lower() not in _SECURITY:
            raise line.error(
                f"security {value!r} is not valid: there are {', '.join(_SECURITY)}", "--security"
            )
        if name == "device" and "$" not in value:
            try:
                parse_device(value)
            except ValueError as error:
                raise line.error(str(error), "--device") from None
        if name != "mount":
            continue
        if re.search(r"(^|,)from=[^,]*\$", value):
            raise line.error("'from' doesn't support variable expansion, define alias stage instead", "from=")
        if "$" not in value:
            try:
                parse_mount(value)
            except ValueError as error:
                raise line.error(str(error), "--mount") from None


def _shell(line: Line, escape: str) -> None:
    if not json_words(line.rest):
        raise line.error("SHELL requires the arguments to be in JSON form", line.rest)


def _words(line: Line, escape: str) -> None:
    json_words(line.rest)


def _volume(line: Line, escape: str) -> None:
    words = json_words(line.rest)
    if words is not None and not all(word.strip() for word in words):
        raise line.error("VOLUME specified can not be an empty string", line.rest)


def _health(line: Line, escape: str) -> None:
    for name, value in line.flags:
        if "$" in value:
            continue
        if name == "retries":
            if not re.fullmatch(r"\d+", value):
                raise line.error(
                    f"--retries must be a number that is not negative, not {value!r}", "--retries"
                )
        elif _duration(value) < _MILLISECOND and _duration(value) != 0:
            raise line.error(
                f"Interval {name!r} cannot be less than 1ms: {value!r} is no duration, as 30s"
                if _duration(value) < 0
                else f"Interval {name!r} cannot be less than 1ms",
                f"--{name}",
            )
    kind, _, rest = line.rest.partition(" ")
    if kind.upper() == "NONE":
        if rest.strip() or line.flags:
            raise line.error("HEALTHCHECK NONE takes no arguments", line.rest)
    elif kind.upper() != "CMD":
        raise line.error(f"Unknown type {kind!r} in HEALTHCHECK (try CMD)", kind)
    elif not rest.strip():
        raise line.error("Missing command after HEALTHCHECK CMD", kind)
    else:
        json_words(rest.strip())


def _duration(text: str) -> float:
    """In ns; -1 for what is none."""
    parts = [match.groups() for match in _DURATION.finditer(text)]
    if text == "0":
        return 0
    if not parts or _DURATION.sub("", text):
        return -1
    return sum(float(number) * _UNITS[unit] for number, _, unit in parts)


def _trigger(line: Line, escape: str) -> None:
    name = line.rest.split(maxsplit=1)[0].upper()
    if name == "ONBUILD":
        raise line.error("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed", line.rest)
    if name in ("FROM", "MAINTAINER"):
        raise line.error(f"{name} isn't allowed as an ONBUILD trigger", line.rest)
    (found, errors) = read_lines(line.text, line.file, escape)
    try:
        if errors:
            raise errors[0]
        check_syntax(found[0], escape)
    except DockerfileError as error:
        what = error.message.partition("\n")[0].partition(": ")[2]
        raise line.error(what, line.rest[:20]) from None


_RULES: dict[str, Callable[[Line, str], None]] = {
    "FROM": _from,
    "ENV": _assignments,
    "LABEL": _assignments,
    "ARG": _arguments,
    "COPY": _copy,
    "ADD": _copy,
    "RUN": _run,
    "SHELL": _shell,
    "CMD": _words,
    "ENTRYPOINT": _words,
    "VOLUME": _volume,
    "HEALTHCHECK": _health,
    "ONBUILD": _trigger,
}
