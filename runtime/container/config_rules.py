"""Rules for single values of a container's configuration that need nothing but the value. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from runtime.container.config import ContainerConfig, LogConfig
from runtime.errors import InvalidArgument

_MODES = (
    ("PID", "pid_mode", ("", "host")),
    ("IPC", "ipc_mode", ("", "private", "shareable", "none", "host")),
    ("UTS", "uts_mode", ("", "host")),
    ("USER", "userns_mode", ("", "host")),
)


def check_modes(config: ContainerConfig) -> None:
    """A word that is no mode would be taken for the default. Raises InvalidArgument."""
    for name, field_name, words in _MODES:
        mode = getattr(config, field_name)
        shared = mode.removeprefix("container:") if field_name != "userns_mode" else ""
        if mode not in words and (shared == mode or not shared):
            raise InvalidArgument(f"invalid {name} mode: {mode}")


_LOG_OPTIONS = {
    "local": frozenset("compress max-buffer-size max-file max-size mode".split()),
    "json-file": frozenset(
        "compress env env-regex labels labels-regex max-buffer-size max-file max-size mode tag".split()
    ),
}


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
            )
    if (mode := log.options.get("mode", "")) not in ("", "blocking", "non-blocking"):
        raise InvalidArgument(f"logging: invalid mode {mode!r}: blocking or non-blocking")


def check_values(config: ContainerConfig) -> None:
    """Modes, working directory, OOM score and environment. Raises InvalidArgument with Docker's sentences."""
    check_modes(config)
    check_environment(config.env)
    for endpoint in config.endpoints:
        check_aliases(endpoint.aliases)
    if config.working_dir and not config.working_dir.startswith("/"):
        raise InvalidArgument(
            f"the working directory {config.working_dir!r} is invalid, it needs to be an absolute path"
        )
    if not -1000 <= config.oom_score_adj <= 1000:
        raise InvalidArgument(
            f"Invalid value {config.oom_score_adj}, range for oom score adj is [-1000, 1000]"
        )
