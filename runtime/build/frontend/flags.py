"""Which flags an instruction takes. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from runtime.build.frontend.lines import Line
from runtime.nearest import nearest

FLAGS: Mapping[str, tuple[str, ...]] = {
    "ADD": ("checksum", "chmod", "chown", "exclude", "keep-git-dir", "link", "unpack"),
    "COPY": ("chmod", "chown", "exclude", "from", "link", "parents"),
    "FROM": ("platform",),
    "HEALTHCHECK": ("interval", "retries", "start-interval", "start-period", "timeout"),
    "RUN": ("device", "mount", "network", "security"),
}
_SWITCHES = frozenset({"keep-git-dir", "link", "parents", "unpack"})
_REPEATED = frozenset({"exclude", "mount", "device"})


def check_flags(line: Line) -> None:
    """Raises DockerfileError for a flag that is unknown, given twice, or without a value that it needs."""
    known = FLAGS.get(line.name, ())
    seen: set[str] = set()
    for name, value in line.flags:
        if name not in known:
            near = nearest(name, known)
            there = f"{line.name} has {', '.join(f'--{one}' for one in known) or 'no flags'}"
            advice = f"did you mean --{near}?" if near else there
            raise line.error(f"unknown flag: --{name} ({advice})", f"--{name}")
        if name in seen and name not in _REPEATED:
            raise line.error(f"duplicate flag specified: --{name}", f"--{name}")
        seen.add(name)
        if name in _SWITCHES:
            if value.lower() not in ("true", "false") and "$" not in value:
                raise line.error(f"expecting boolean value for flag {name}, not: {value}", f"--{name}")
        elif f"--{name}=" not in line.source + "".join(text for _, text in line.further):
            raise line.error(f"missing a value on flag: --{name}", f"--{name}")


def flag(line: Line, name: str) -> str:
    """The value of a flag that is given at most once, or ""."""
    return next((value for key, value in line.flags if key == name), "")


def switch(line: Line, name: str) -> bool | None:
    """Whether a flag of two states is on; None when it is not given."""
    value = flag(line, name)
    return value.lower() == "true" if value else None
