"""What is known of a machine before anybody judges it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True)
class Attempt:
    """Something that was tried: ``errno`` 0 when it worked; ``text`` is what the kernel said."""

    errno: int = 0
    text: str = ""

    @property
    def worked(self) -> bool:
        return self.errno == 0


@dataclass(frozen=True)
class Disk:
    """The file system on which a directory is, or would be."""

    path: str
    kind: str = ""
    """As /proc/self/mountinfo calls it: ext4, overlay, nfs4 ..."""
    is_read_only: bool = False
    free_bytes: int = 0
    free_files: int = -1
    """-1 where the file system does not count."""


class Controller(NamedTuple):
    """A line of /proc/cgroups."""

    hierarchy: int
    """Number of the hierarchy of version 1 that has it; 0: none, it is with version 2 or nowhere."""
    is_enabled: bool


@dataclass(frozen=True)
class Facts:
    """One look at the machine. What could not be tried, for want of rights, is None."""

    system: str = "linux"
    machine: str = "x86_64"
    kernel: str = "6.1.0"
    python: tuple[int, int] = (3, 11)
    user: int = 0
    capabilities: int = 0
    """Effective, as a mask."""
    tried: Mapping[str, Attempt] = field(default_factory=dict)
    """``namespace net`` and the like, ``overlay``, ``bridge``, ``veth``, ``nf_tables``."""
    sysctls: Mapping[str, str] = field(default_factory=dict)
    """By name with dots; those that there are."""
    cgroup_version: int = 2
    """0: no cgroup file systems are mounted at /sys/fs/cgroup."""
    controllers: frozenset[str] = frozenset()
    known_controllers: Mapping[str, Controller] = field(default_factory=dict)
    """Those that the kernel has, by the names that version 1 has for them."""
    switched_off: frozenset[str] = frozenset()
    """``cgroup_disable=`` on the kernel's command line."""
    is_whole_tree: bool = True
    """Of version 2: /sys/fs/cgroup is the root, not a part that somebody has been given."""
    own_cgroup: str = ""
    """Of version 2: the path of the cgroup that this runs in."""
    is_own_user_namespace: bool = False
    """Root is root of a user namespace only, and somebody else outside."""
    disks: tuple[Disk, ...] = ()
    """Of the state and of the run directory."""
    descriptors: int = 1 << 20
    """The hard limit of open files."""
    has_seccomp: bool = True
    has_pressure: bool = True
    interpreters: frozenset[str] = frozenset()
    """Names registered with binfmt_misc."""
    engine: str = ""
    """Version of the engine that runs, "" when none does."""
    version: str = ""
    """Of this command."""
