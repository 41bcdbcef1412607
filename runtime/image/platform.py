"""Platforms: which of several images for several machines is ours (OCI image-index, containerd's rules of
order)."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from runtime.errors import InvalidArgument

_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "i386": ("386", ""),
    "i686": ("386", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv8l": ("arm", "v7"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
}
_OPERATING_SYSTEMS = {
    "aix", "android", "darwin", "dragonfly", "freebsd", "illumos", "ios", "js", "linux", "netbsd", "openbsd",
    "plan9", "solaris", "windows",
}  # fmt: skip
_KNOWN = {
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64",
    "s390x", "wasm",
}  # fmt: skip
"""Architectures that Go has (https://go.dev/doc/install/source#environment)."""
_PART = re.compile("[A-Za-z0-9_-]+")
_HINT = "Write os/architecture, such as linux/arm64."


@dataclass(frozen=True, slots=True)
class Platform:
    """Normalised: amd64 (not x86_64), and no variant where it is the only usual one (amd64/v1, arm64/v8)."""

    os: str = "linux"
    architecture: str = "amd64"
    variant: str = ""

    @classmethod
    def of(cls, os: str, architecture: str, variant: str = "") -> Platform:
        os, architecture, variant = os.lower(), architecture.lower(), variant.lower()
        architecture, implied = _ARCHITECTURES.get(architecture, (architecture, ""))
        variant = variant or implied
        if variant and not variant.startswith("v") and variant.isdigit():
            variant = f"v{variant}"
        if (architecture, variant) in (("amd64", "v1"), ("arm64", "v8")):
            variant = ""
        if (architecture, variant) == ("arm", ""):
            variant = "v7"
        return cls(os, architecture, variant)

    @classmethod
    def host(cls) -> Platform:
        """Of the running machine."""
        return cls.of("linux", os.uname().machine)

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def parse_platform(text: str, default: Platform) -> Platform:
    """``linux``, ``arm64``, ``linux/arm/v7``. Raises InvalidArgument."""
    parts = text.split("/")
    for part in parts:
        if not _PART.fullmatch(part):
            raise InvalidArgument(
                f'"{part}" is an invalid component of "{text}": platform specifier component must match '
                f'"^{_PART.pattern}$"',
                hint=_HINT,
            )
    if len(parts) > 3:
        raise InvalidArgument(f'"{text}": cannot parse platform specifier', hint=_HINT)
    if len(parts) == 1:
        if parts[0].lower() in _OPERATING_SYSTEMS:
            return Platform(parts[0].lower(), default.architecture, default.variant)
        platform = Platform.of("linux", parts[0])
        if platform.architecture not in _KNOWN:
            raise InvalidArgument(f'"{text}": unknown operating system or architecture', hint=_HINT)
        return platform
    return Platform.of(*parts)


def preferred(wanted: Platform) -> tuple[Platform, ...]:
    """What can run where ``wanted`` can, best first: older variants, and the 32-bit architecture."""
    order = [wanted]
    architecture, variant = wanted.architecture, wanted.variant
    if architecture == "amd64":
        level = int(variant[1:]) if variant[1:].isdigit() else 1
        order += [Platform(wanted.os, "amd64", f"v{n}" if n > 1 else "") for n in range(level - 1, 0, -1)]
        order.append(Platform(wanted.os, "386"))
    elif architecture == "arm64":
        if variant:
            order.append(Platform(wanted.os, "arm64"))
        order += [Platform(wanted.os, "arm", f"v{n}") for n in (8, 7, 6, 5)]
    elif architecture == "arm" and variant[1:].isdigit():
        order += [Platform(wanted.os, "arm", f"v{n}") for n in range(int(variant[1:]) - 1, 4, -1)]
    return tuple(order)
