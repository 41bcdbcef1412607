"""Instructions that change an image's configuration and nothing else. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping

import msgspec

from runtime.build.frontend.expand import json_words
from runtime.build.frontend.lines import Line
from runtime.build.frontend.stages import expanded, split
from runtime.container.config import ImageConfig
from runtime.errors import ComposerError
from runtime.image.changes import apply_changes

SETTINGS = "ENV LABEL CMD ENTRYPOINT EXPOSE VOLUME USER STOPSIGNAL HEALTHCHECK SHELL WORKDIR".split()
_LAST_SIGNAL = 64
_LAST_PORT = 65535
_SIGNALS = frozenset(
    (
        "ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP SYS TERM "
        "TRAP TSTP TTIN TTOU UNUSED URG USR1 USR2 VTALRM WINCH XCPU XFSZ"
    ).split()
)
"""signal(7)"""
DEFAULT_SHELL = ("/bin/sh", "-c")


def configure(
    config: ImageConfig, line: Line, variables: Mapping[str, str], escape: str, *, is_own_command: bool
) -> ImageConfig:
    """The configuration after the instruction.

    ``is_own_command``: this stage has a CMD; an ENTRYPOINT resets one that comes from the base. Raises
    DockerfileError.
    """
    replace = msgspec.structs.replace
    match line.name:
        case "ENV":
            pairs = assignments(line, variables, escape)
            merged = environment(config) | pairs
            return replace(config, env=tuple(f"{name}={value}" for name, value in merged.items()))
        case "LABEL":
            return replace(config, labels={**config.labels, **assignments(line, variables, escape)})
        case "CMD" | "ENTRYPOINT":
            words = command(line.rest, config)
            if line.name == "CMD":
                return replace(config, cmd=words)
            return replace(config, entrypoint=words, cmd=config.cmd if is_own_command else ())
        case "SHELL":
            words_of_shell = json_words(line.rest)
            if not words_of_shell:
                raise line.error("SHELL requires the arguments to be in JSON form", line.rest)
            return replace(config, shell=words_of_shell)
        case "WORKDIR":
            path = expanded(line, line.rest, variables, escape)
            joined = posixpath.normpath(posixpath.join(config.working_dir or "/", path))
            return replace(config, working_dir="/" + joined.lstrip("/"))
        case "STOPSIGNAL":
            name = expanded(line, line.rest, variables, escape)
            if not _is_signal(name):
                raise line.error(f"Invalid signal: {name}", line.rest)
            return replace(config, stop_signal=name)
        case "USER":
            return _change(config, line, f"{line.name} {expanded(line, line.rest, variables, escape)}")
        case "EXPOSE":
            ports = [expanded(line, word, variables, escape) for word in line.rest.split()]
            try:
                # As with Docker, a variable may have several, and one without a value says nothing.
                every = [one for text in ports for port in text.split() for one in _ports(port)]
            except ValueError as error:
                raise line.error(str(error), line.rest) from None
            return _change(config, line, f"EXPOSE {' '.join(every)}") if every else config
        case "VOLUME":
            listed = json_words(line.rest) or line.rest.split()  # quotes join no words here
            paths = [expanded(line, word, variables, escape) for word in listed]
            if not all(paths):
                raise line.error("VOLUME specified can not be an empty string")
            return replace(config, volumes=tuple(sorted({*config.volumes, *paths})))
        case "HEALTHCHECK":
            options = " ".join(f"--{name}={value}" for name, value in line.flags)
            return _change(config, line, f"HEALTHCHECK {options} {line.rest}".replace("  ", " "))
    raise line.error(f"{line.name} changes no configuration")


def environment(config: ImageConfig) -> dict[str, str]:
    """The variables of a configuration."""
    return dict(item.partition("=")[::2] for item in config.env)


def command(text: str, config: ImageConfig) -> tuple[str, ...]:
    """JSON form as it is, shell form for the configuration's shell."""
    words = json_words(text)
    return words if words is not None else (*(config.shell or DEFAULT_SHELL), text)


def assignments(line: Line, variables: Mapping[str, str], escape: str) -> dict[str, str]:
    """``NAME=value ...`` or, the old form, ``NAME value``. Raises DockerfileError."""
    words = split(line, escape)
    if "=" not in words[0]:
        parts = line.rest.split(maxsplit=1)
        if len(parts) < 2:
            raise line.error(f"{line.name} must have two arguments", parts[0])
        return {parts[0]: expanded(line, parts[1].strip(), variables, escape)}
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        name = expanded(line, name, variables, escape)
        if not equals or not name:
            raise line.error(f"can't find = in {word!r}. Must be of the form: name=value", word)
        found[name] = expanded(line, value, variables, escape)
    return found


def _is_signal(text: str) -> bool:
    """Whether there is a signal of this number or name."""
    if text.isdecimal():
        return 0 < int(text) <= _LAST_SIGNAL
    name = text.upper().removeprefix("SIG")
    return name in _SIGNALS or re.fullmatch(r"RTM(IN|AX)([+-]\d+)?", name) is not None


def _ports(text: str) -> list[str]:
    """What ``[[ADDRESS:]HOST:]PORT[-PORT][/PROTOCOL]`` exposes: only the container's side counts. Raises ValueError."""
    port, _, protocol = text.partition("/")
    port = port.rpartition(":")[2]
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", port)
    if match is None or not port.isascii():
        raise ValueError(f"invalid containerPort: {port}" if port else f"no port specified: {text}")
    first, last = int(match[1]), int(match[2] or match[1])
    if (protocol.lower() or "tcp") not in ("tcp", "udp", "sctp"):
        raise ValueError(f"invalid proto: {protocol}: there are tcp, udp and sctp")
    if first > last or last > _LAST_PORT:
        raise ValueError(f"invalid containerPort: {port}")
    return [f"{number}/{protocol.lower() or 'tcp'}" for number in range(first, last + 1)]


def _change(config: ImageConfig, line: Line, change: str) -> ImageConfig:
    try:
        return apply_changes([change], config)
    except ComposerError as error:
        raise line.error(error.message.partition(": ")[2] or error.message) from None
