"""What the engine sends to a shim, and the keeper passes on: types of ``launch.json`` and of requests for an exec."""

from __future__ import annotations

from typing import Any

import msgspec

from runtime.container.operations import AnyOperation, Namespace


class Wire(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """Base of what the shim reads; every field is written, so that it needs no defaults of its own."""


class Confinement(Wire, frozen=True, kw_only=True):
    """What a process in the container may do. An exec has the same."""

    bounding: int
    """Bit masks by capability number, capabilities(7)."""
    effective: int
    """What root is permitted; other users get nothing. Inheritable and ambient are always empty."""
    seccomp: str = ""
    may_fork: bool = True
    """Whether the filter lets a process become the child of itself that enters a pid namespace; see
    ``runtime.container.execute``."""
    no_new_privs: bool = False
    rlimits: tuple[tuple[int, int, int], ...] = ()
    """(resource number, soft, hard)"""
    oom_score_adj: int = 0
    apparmor: str = ""
    """Profile under which the program is executed; "" leaves the engine's."""


class Tools(Wire, frozen=True, kw_only=True):
    """This machine's programs for a process that looks into a container; see ``runtime.container.toolbox``."""

    trees: tuple[str, ...]
    """Directories of the host that take the place of the container's: /usr, and what is not a link into it."""
    links: tuple[tuple[str, str], ...] = ()
    """(path, text): the host's links into them (/bin), and programs whose name leads through the host's /etc."""
    covers: tuple[tuple[str, str], ...] = ()
    """(target, source): files of the host that cover the container's, where it has them."""
    cwd: str = "/"
    """The container's working directory, for a process without one of its own."""


class Process(Wire, frozen=True, kw_only=True):
    argv: tuple[str, ...]
    env: tuple[str, ...]
    cwd: str = "/"
    user: str = ""
    """``name|uid[:group|gid]``, looked up in the container's own files; "" is root."""
    groups: tuple[str, ...] = ()
    tty: bool = False
    window: tuple[int, int] = (0, 0)
    """Rows and columns that its terminal has from the beginning."""
    umask: int = 0o022
    image: str = ""
    """Its name, for messages."""
    tools: Tools | None = None
    confinement: Confinement


class ExecSpec(Wire, frozen=True, kw_only=True):
    """A process for a running container. ``env`` is complete; ``runtime.container.exec_process`` makes one."""

    process: Process


class LogSettings(Wire, frozen=True, kw_only=True):
    driver: str = "json-file"
    max_size: int = 0
    """Bytes in a file before a new one is begun; 0: never."""
    max_files: int = 1


class Namespaces(Wire, frozen=True, kw_only=True):
    pid: Namespace = "new"
    net: Namespace = "new"
    ipc: Namespace = "new"
    uts: Namespace = "new"
    cgroup: Namespace = "host"
    time: Namespace = "host"


class LaunchSpec(Wire, frozen=True, kw_only=True):
    """Everything one start takes."""

    id: str
    name: str
    state_dir: str
    run_dir: str
    operations: tuple[AnyOperation, ...]
    process: Process
    namespaces: Namespaces
    sandbox: dict[str, Any]
    cgroup: dict[str, Any]
    log: LogSettings
    stdin_open: bool = False
    stdin_once: bool = False
    init: bool = False
    has_own_proc: bool = True
