"""Rules for single values of a container's configuration that need nothing but the value. Pure."""

from __future__ import annotations

from runtime.container.config import ContainerConfig
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


def check_values(config: ContainerConfig) -> None:
    """Modes, working directory and OOM score. Raises InvalidArgument with Docker's sentences."""
    check_modes(config)
    if config.working_dir and not config.working_dir.startswith("/"):
        raise InvalidArgument(
            f"the working directory {config.working_dir!r} is invalid, it needs to be an absolute path"
        )
    if not -1000 <= config.oom_score_adj <= 1000:
        raise InvalidArgument(
            f"Invalid value {config.oom_score_adj}, range for oom score adj is [-1000, 1000]"
        )
