"""AppArmor: whether this machine has it, and executing under a profile. Standard library only."""

from __future__ import annotations

import errno
import os

ENABLED = "/sys/module/apparmor/parameters/enabled"
PROFILES = "/sys/kernel/security/apparmor/profiles"


def is_enabled() -> bool:
    try:
        with open(ENABLED, "rb") as file:
            return file.read(1) == b"Y"
    except OSError:
        return False


def is_loaded(profile: str) -> bool:
    """Whether the kernel has the profile; False where securityfs does not say."""
    try:
        with open(PROFILES, errors="replace") as file:
            return any(line.rpartition(" (")[0] == profile for line in file)
    except OSError:
        return False


def attribute(proc: str = "/proc") -> str:
    """Where a process says what it is to be executed under. Raises OSError."""
    for path in (f"{proc}/self/attr/apparmor/exec", f"{proc}/self/attr/exec"):
        if os.path.exists(path):
            return path
    raise OSError(errno.ENOENT, "apparmor is not in this kernel")


def execute_under(profile: str, proc: str = "/proc") -> None:
    """Have the next execve of this process, or of what it forks, put it under ``profile``. To be called before a root
    is entered: its /proc could be anything (CVE-2019-16884, CVE-2025-52881). Raises OSError."""
    fd = os.open(attribute(proc), os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, b"exec " + os.fsencode(profile))
    except OSError as error:
        text = "is not loaded" if error.errno == errno.ENOENT else os.strerror(error.errno or 0)
        raise OSError(error.errno, f"apparmor profile {profile} {text}") from None
    finally:
        os.close(fd)
