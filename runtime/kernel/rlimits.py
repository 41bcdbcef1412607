"""Resource limits by Docker's names (getrlimit(2))."""

from __future__ import annotations

import errno
import resource

from runtime.errors import InvalidArgument

NAMES = {
    "as": 9, "core": 4, "cpu": 0, "data": 2, "fsize": 1, "locks": 10, "memlock": 8, "msgqueue": 12, "nice": 13,
    "nofile": 7, "nproc": 6, "rss": 5, "rtprio": 14, "rttime": 15, "sigpending": 11, "stack": 3,
}  # fmt: skip
"""asm-generic/resource.h"""


def set_limit(number: int, soft: int, hard: int) -> None:
    """setrlimit(2) for this process. Raises OSError with a sentence that names the limit."""
    try:
        resource.setrlimit(number, (soft, hard))
    except ValueError:  # what Python makes of EPERM
        name = next((name for name, known in NAMES.items() if known == number), str(number))
        own = resource.getrlimit(number)[1]
        has = "unlimited" if own == resource.RLIM_INFINITY else own
        asked = "unlimited" if hard == resource.RLIM_INFINITY else hard
        raise OSError(
            errno.EPERM,
            f"ulimit {name}: {asked} is not permitted: the engine's own is {has}, and more takes CAP_SYS_RESOURCE",
        ) from None


def resolve(name: str, soft: int, hard: int) -> tuple[int, int, int]:
    """(number, soft, hard); -1 is no limit. Raises InvalidArgument for an unknown name, what is no
    number of anything, or soft above hard."""
    plain = name.lower().removeprefix("rlimit_")
    if plain not in NAMES:
        from runtime.nearest import nearest

        close = nearest(plain, NAMES)
        hint = f"did you mean {close}?" if close else f"one of {', '.join(NAMES)}"
        raise InvalidArgument(f"invalid ulimit type: {name}", hint=hint)
    if soft < -1 or hard < -1:
        raise InvalidArgument(f"ulimit {name}: {min(soft, hard)} is no limit", hint="-1 is unlimited")
    if hard != -1 and (soft == -1 or soft > hard):
        raise InvalidArgument(
            f"ulimit {name}: soft limit must be less than or equal to hard limit: {soft} > {hard}"
        )
    infinity = resource.RLIM_INFINITY
    return NAMES[plain], infinity if soft == -1 else soft, infinity if hard == -1 else hard
