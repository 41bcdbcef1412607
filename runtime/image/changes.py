"""``--change``: Dockerfile instructions that alter an image's configuration (dockerd: import and commit).
Pure."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable

import msgspec

from runtime.container.config import Healthcheck, ImageConfig
from runtime.errors import InvalidArgument

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)")
_UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_NAMES = "CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL ONBUILD STOPSIGNAL USER VOLUME WORKDIR"


def triggers(changes: Iterable[str]) -> tuple[str, ...]:
    """The instructions that ONBUILD keeps for builds upon the image."""
    return tuple(change.split(maxsplit=1)[1] for change in changes if _name(change) == "ONBUILD")


def apply_changes(changes: Iterable[str], config: ImageConfig | None = None) -> ImageConfig:
    """The configuration after the instructions. Raises InvalidArgument naming the one that is wrong."""
    config = config or ImageConfig()
    for change in changes:
        name, rest = _name(change), "".join(change.split(maxsplit=1)[1:]).strip()
        if name not in _NAMES.split():
            told = f"{name.lower() or repr(change)} is not a valid change command"
            raise InvalidArgument(told, hint=f"Known: {_NAMES}.")
        try:
            config = _apply(config, name, rest)
        except ValueError as error:
            raise InvalidArgument(f"invalid change {change!r}: {error}") from None
    return config


def _name(change: str) -> str:
    return "".join(change.split(maxsplit=1)[:1]).upper()


def _apply(config: ImageConfig, name: str, rest: str) -> ImageConfig:
    if not rest:
        raise ValueError(f"{name} requires at least one argument")
    replace = msgspec.structs.replace
    match name:
        case "CMD":
            return replace(config, cmd=_command(rest, config))
        case "ENTRYPOINT":
            return replace(config, entrypoint=_command(rest, config))
        case "ENV":
            merged = dict(item.partition("=")[::2] for item in config.env) | _pairs(rest)
            return replace(config, env=tuple(f"{key}={value}" for key, value in merged.items()))
        case "LABEL":
            return replace(config, labels={**config.labels, **_pairs(rest)})
        case "EXPOSE":
            ports = {port if "/" in port else f"{port}/tcp" for port in rest.split()}
            if not all(re.fullmatch(r"\d{1,5}(-\d{1,5})?/(tcp|udp|sctp)", port) for port in ports):
                raise ValueError("not a port")
            return replace(config, exposed_ports=tuple(sorted({*config.exposed_ports, *ports})))
        case "VOLUME":
            return replace(config, volumes=tuple(sorted({*config.volumes, *(_list(rest) or rest.split())})))
        case "USER":
            return replace(config, user=rest)
        case "WORKDIR":
            base = "" if rest.startswith("/") else (config.working_dir or "/").rstrip("/") + "/"
            return replace(config, working_dir=base + rest)
        case "STOPSIGNAL":
            return replace(config, stop_signal=rest)
        case "HEALTHCHECK":
            return replace(config, healthcheck=_healthcheck(rest))
        case "ONBUILD":
            if _name(rest) in ("ONBUILD", "FROM", "MAINTAINER"):
                raise ValueError(f"{_name(rest)} isn't allowed as an ONBUILD trigger")
            return config
    raise AssertionError(name)


def _list(text: str) -> tuple[str, ...] | None:
    """The JSON form of an instruction, or None when it is not one."""
    if not text.startswith("["):
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return tuple(value) if isinstance(value, list) and all(isinstance(item, str) for item in value) else None


def _command(text: str, config: ImageConfig) -> tuple[str, ...]:
    words = _list(text)
    return words if words is not None else (*(config.shell or ("/bin/sh", "-c")), text)


def _pairs(text: str) -> dict[str, str]:
    words = shlex.split(text)
    if "=" not in words[0]:
        key, _, value = text.partition(" ")
        if not value:
            raise ValueError("must have two arguments")
        return {key: value.strip()}
    pairs = [word.partition("=") for word in words]
    if not all(key and equals for key, equals, _ in pairs):
        raise ValueError("write name=value")
    return {key: value for key, _, value in pairs}


def _healthcheck(text: str) -> Healthcheck:
    times = {"interval": 0, "timeout": 0, "start_period": 0, "start_interval": 0, "retries": 0}
    while text.startswith("--"):
        option, _, text = text.partition(" ")
        key, _, value = option[2:].partition("=")
        field = key.replace("-", "_")
        if field not in times:
            raise ValueError(f"unknown option --{key}")
        times[field] = int(value) if field == "retries" else _duration(value)
        text = text.strip()
    kind, _, rest = text.partition(" ")
    if kind.upper() == "NONE" and not rest:
        return Healthcheck(test=("NONE",))
    if kind.upper() != "CMD" or not rest.strip():
        raise ValueError("write NONE or CMD command")
    words = _list(rest.strip())
    test = ("CMD", *words) if words is not None else ("CMD-SHELL", rest.strip())
    return Healthcheck(test=test, **times)


def _duration(text: str) -> int:
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is not a duration")
    return int(sum(float(number) * _UNITS[unit] for number, unit in parts))
