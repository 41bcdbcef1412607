"""Programs of other machines: whether the kernel knows how to run them (kernel: admin-guide/binfmt-misc.rst)."""

from __future__ import annotations

from pathlib import Path

from runtime.image.platform import Platform, preferred

_REGISTERED = Path("/proc/sys/fs/binfmt_misc")
_NAMES = {
    "arm64": "aarch64",
    "amd64": "x86_64",
    "386": "i386",
    "arm": "arm",
    "riscv64": "riscv64",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
    "loong64": "loongarch64",
    "mips64le": "mips64el",
}


def can_run(wanted: Platform, own: Platform, registered: Path = _REGISTERED) -> bool:
    """Whether programs of ``wanted`` run here: by themselves, or emulated by an interpreter that is open
    already, so that it need not be in the image (flag F)."""
    if wanted in preferred(own):
        return True
    name = _NAMES.get(wanted.architecture, wanted.architecture)
    for path in (registered / f"qemu-{name}", registered / name):
        try:
            lines = path.read_text().splitlines()
        except OSError:
            continue
        flags = next((line.partition(":")[2] for line in lines if line.startswith("flags:")), "")
        if lines[:1] == ["enabled"] and "F" in flags:
            return True
    return False
