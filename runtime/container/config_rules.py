"""Rules for single values of a container's configuration that need nothing but the value. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from runtime.container.config import ContainerConfig, LogConfig
from runtime.container.wire import LogSettings
from runtime.errors import InvalidArgument, concerning

_MODES = {
    "pid": ("PID", ("", "host")),
    "ipc": ("IPC", ("", "private", "shareable", "none", "host")),
    "uts": ("UTS", ("", "host")),
    "userns": ("USER", ("", "host")),
}


def check_mode(config: ContainerConfig, kind: str) -> None:
    """``pid``, ``ipc``, ``uts`` or ``userns``: a word that is no mode would be taken for the default. Raises
    InvalidArgument."""
    name, words = _MODES[kind]
    mode: str = getattr(config, f"{kind}_mode")
    shared = mode if kind == "userns" else mode.removeprefix("container:")
    if mode not in words and (shared == mode or not shared):
        raise InvalidArgument(f"invalid {name} mode: {mode}")


_LOG_OPTIONS = {
    "local": frozenset("compress max-buffer-size max-file max-size mode".split()),
    "json-file": frozenset(
        "compress env env-regex labels labels-regex max-buffer-size max-file max-size mode tag".split()
    ),
}


_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")


def check_container_name(name: str) -> None:
    """Raises InvalidArgument with Docker's sentence."""
    if not _NAME.fullmatch(name):
        raise InvalidArgument(f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")


def check_environment(env: Iterable[str]) -> None:
    """Raises InvalidArgument for a variable without a name."""
    for item in env:
        if not item or item.startswith("="):
            raise InvalidArgument(f"invalid environment variable: {item}").pointing_at("environment")


def check_aliases(aliases: Iterable[str]) -> None:
    """Raises InvalidArgument for a name that would be several, or none, wherever names stand one a line."""
    for alias in aliases:
        if not alias or not alias.isprintable() or any(character.isspace() for character in alias):
            raise InvalidArgument(
                f"invalid network alias {alias!r}: no blanks, no control characters"
            ).pointing_at("networks")


def check_subpath(subpath: str) -> None:
    """Raises InvalidArgument for what is no path below a volume: links in it cannot leave the volume anyway, but
    ``..`` would silently be the volume itself."""
    if subpath.startswith("/") or ".." in subpath.split("/"):
        raise InvalidArgument(f"invalid subpath {subpath!r}: it has to be a relative path within the volume")


def check_log_options(log: LogConfig) -> None:
    """Raises InvalidArgument for an option that the driver does not have."""
    driver = log.driver or "json-file"
    if driver not in _LOG_OPTIONS:
        return
    known = _LOG_OPTIONS[driver]
    for name in log.options:
        if name not in known:
            raise InvalidArgument(
                f"unknown log opt '{name}' for {driver} log driver",
                hint=f"known are {', '.join(sorted(known))}",
            ).pointing_at(f"options.{name}")
    if (mode := log.options.get("mode", "")) not in ("", "blocking", "non-blocking"):
        raise InvalidArgument(f"logging: invalid mode {mode!r}: blocking or non-blocking").pointing_at(
            "options.mode"
        )


def log_settings(log: LogConfig) -> LogSettings:
    """Docker's options of the json-file and local drivers. Raises InvalidArgument."""
    if log.driver == "none":
        return LogSettings(driver="none")
    if log.driver not in ("json-file", "local", ""):
        raise InvalidArgument(
            f"logging driver {log.driver!r} is not supported", hint="use json-file, local or none"
        )
    is_local = log.driver == "local"
    size = 20 << 20 if is_local else 0
    if "max-size" in log.options:
        with concerning("options.max-size"):
            size = parse_size(log.options["max-size"])
    try:
        files = int(log.options.get("max-file", "5" if is_local else "1"))
    except ValueError:
        files = 0
    if files < 1:
        raise InvalidArgument(
            f"logging: max-file must be 1 or more, not {log.options['max-file']!r}"
        ).pointing_at("options.max-file")
    return LogSettings(driver="json-file", max_size=size, max_files=files)


_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)i?b?", re.IGNORECASE)


def parse_size(text: str) -> int:
    """``10m`` and the like, in powers of 1024 as Docker reads them; -1 means no limit (0)."""
    if text.strip() == "-1":
        return 0
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InvalidArgument(f"invalid size: {text!r}", hint="write for instance 10m or 1g")
    return int(float(match[1]) * 1024 ** " kmgtp".index(match[2].lower() or " "))
