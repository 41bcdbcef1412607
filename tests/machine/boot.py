"""A throw-away machine with a Debian kernel of its own and cgroup v2, for machines that have cgroup v1.

``python tests/machine/boot.py CACHE COMMAND`` runs a shell command there, in a copy of this repository, with composer's
and the tests' Python packages, and returns its exit status. The machine has a loopback network only. It is QEMU's
(with KVM where there is one, else emulated and several times slower), its root is made by mmdebstrap, once.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SUITE = "bookworm"
PYTHON = "3.11"
"""Of ``SUITE``."""
NAMES = {"x86_64": ("amd64", "qemu-system-x86_64"), "aarch64": ("arm64", "qemu-system-aarch64")}
PACKAGES = ("python3", "apparmor", "kmod", "iproute2", "procps", "util-linux")
TESTING = ("pytest", "pytest-trio", "hypothesis")
MODULES = (
    "overlay bridge veth br_netfilter nf_tables nft_chain_nat nft_nat nft_masq nft_ct nft_fib_inet nft_redir"
)
SKIPPED = (".git", ".venv", ".cache", ".hypothesis", "__pycache__", ".*_cache", "*.egg-info")
"""Of this repository; other tests may be writing there."""
COMPILED = ("composer", "runtime")
FIRST_WORD = {"kvm": 20.0, "tcg": 90.0}
"""Seconds until the console shows something; now and then an emulated machine never starts. Doubled with each try: it
may as well be slow."""
INIT = f"""#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM=dumb
echo "machine: up"
mountpoint -q /proc || mount -t proc proc /proc
mountpoint -q /sys || mount -t sysfs sysfs /sys
mountpoint -q /dev || mount -t devtmpfs dev /dev
mountpoint -q /run || mount -t tmpfs -o mode=0755 tmpfs /run
mkdir -p /dev/pts /dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t securityfs securityfs /sys/kernel/security
ln -sf pts/ptmx /dev/ptmx
ln -sfn /proc/self/fd /dev/fd
mount -t cgroup2 -o nsdelegate cgroup2 /sys/fs/cgroup
for name in $(cat /sys/fs/cgroup/cgroup.controllers); do echo "+$name" > /sys/fs/cgroup/cgroup.subtree_control; done
for name in {MODULES}; do modprobe -q "$name"; done
ip link set lo up
hostname machine
mount -t ext4 /dev/vdb /mnt
cd /mnt/src
sh /mnt/command < /dev/null
echo "machine: exit status $?"
sync
echo o > /proc/sysrq-trigger
sleep 60
"""


class MachineError(Exception):
    """The machine could not be made or did not start."""


def run(
    command: str, cache: Path, *, timeout: float = 3600, memory: int = 3072, given: Path | None = None
) -> tuple[int, str]:
    """Run a shell command on the machine: exit status and what the console showed. ``given``: a directory that is
    /mnt/given there. Raises MachineError."""
    disk, kernel, initrd = _system(cache)
    with tempfile.TemporaryDirectory(prefix="composer-machine-") as work:
        data = _data_disk(Path(work), command, _packages(cache), given)
        for number, accelerator in enumerate(_accelerators()):
            console = Path(work) / "console"
            patience = FIRST_WORD[accelerator[:3]] * 2**number
            if _boot(disk, data, kernel, initrd, console, accelerator, patience, timeout, memory):
                text = console.read_text(errors="replace").replace("\r", "")
                found = re.findall(r"^machine: exit status (\d+)$", text, re.MULTILINE)
                return (int(found[-1]) if found else 124), text
    raise MachineError("the machine did not start")


def _accelerators() -> list[str]:
    """What to try, in order: KVM may be there and not work (inside another virtual machine)."""
    has_kvm = os.access("/dev/kvm", os.R_OK | os.W_OK)
    return [*(["kvm"] if has_kvm else []), "tcg,thread=multi", "tcg,thread=multi", "tcg,thread=multi"]


def _boot(
    disk: Path,
    data: Path,
    kernel: Path,
    initrd: Path,
    console: Path,
    accelerator: str,
    patience: float,
    timeout: float,
    memory: int,
) -> bool:
    """True when it ran (to its end, or until ``timeout``); False when it showed nothing within ``patience``, or never
    came up: an emulated clock that nobody has the time to let tick is no reason for its kernel to give up."""
    name, program = NAMES[os.uname().machine]
    # Not all features of the processor can be had where KVM is itself on a virtual machine.
    processor = "max,-arch-capabilities" if name == "amd64" else "max"
    machine = ["-machine", "q35" if name == "amd64" else "virt", "-cpu", processor, "-accel", accelerator]
    tty = "ttyS0" if name == "amd64" else "ttyAMA0"
    console.write_text("")
    process = subprocess.Popen(
        [
            *(program, *machine, "-m", str(memory), "-smp", "2"),
            *(
                "-display",
                "none",
                "-monitor",
                "none",
                "-no-reboot",
                "-nic",
                "none",
                "-serial",
                f"file:{console}",
            ),
            *("-kernel", str(kernel), "-initrd", str(initrd)),
            *(
                "-append",
                f"console={tty} root=/dev/vda rw quiet loglevel=3 panic=-1 no_timer_check init=/sbin/machine-init",
            ),
            *("-drive", f"file={disk},format=raw,if=virtio,snapshot=on"),
            *("-drive", f"file={data},format=raw,if=virtio,cache=unsafe"),
        ],
        stdin=subprocess.DEVNULL,
    )
    started = time.monotonic()
    try:
        while process.poll() is None:
            passed = time.monotonic() - started
            if passed > timeout:
                return True
            if passed > patience and not console.stat().st_size:
                return False
            time.sleep(0.5)
        return "machine: up" in console.read_text(errors="replace")
    finally:
        process.kill()
        process.wait()


def _system(cache: Path) -> tuple[Path, Path, Path]:
    """The machine's root disk, kernel and initial RAM disk, made unless they are there."""
    key = hashlib.sha256(repr((INIT, PACKAGES, SUITE)).encode()).hexdigest()[:12]
    place = cache / f"system-{key}"
    if not place.exists():
        name, _ = NAMES[os.uname().machine]
        work = cache / "work"
        shutil.rmtree(work, ignore_errors=True)
        tree = work / "tree"
        tree.mkdir(parents=True)
        included = ",".join((f"linux-image-cloud-{name}", *PACKAGES))
        _execute(
            "mmdebstrap",
            "--quiet",
            "--variant=minbase",
            "--format=tar",
            f"--include={included}",
            SUITE,
            f"{work}/tar",
        )
        _execute("tar", "-C", str(tree), "-xf", f"{work}/tar")
        (tree / "sbin/machine-init").write_text(INIT)
        (tree / "sbin/machine-init").chmod(0o755)
        site = tree / f"usr/local/lib/python{PYTHON}/dist-packages"
        site.mkdir(parents=True, exist_ok=True)
        (site / "composer.pth").write_text("/mnt/site\n/mnt/src\n")
        made = work / "made"
        made.mkdir()
        for path in (tree / "boot").iterdir():
            if path.name.startswith(("vmlinuz-", "initrd.img-")):
                shutil.move(path, made / path.name.partition("-")[0])
        _execute("mke2fs", "-q", "-t", "ext4", "-d", str(tree), "-E", "root_owner=0:0", f"{made}/disk", "3G")
        os.rename(made, place)
        shutil.rmtree(work)
    return place / "disk", place / "vmlinuz", place / "initrd.img"


def _packages(cache: Path) -> Path:
    """A directory with the Python packages that composer and its tests need, for the machine's Python."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *TESTING]
    place = cache / f"site-{hashlib.sha256(repr(wanted).encode()).hexdigest()[:12]}"
    if not place.exists():
        work = cache / "work-site"
        shutil.rmtree(work, ignore_errors=True)
        pip = (sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-input")
        _execute(*pip, "--target", str(work), "--python-version", PYTHON, "--only-binary", ":all:", *wanted)
        os.rename(work, place)
    return place


def _data_disk(work: Path, command: str, packages: Path, given: Path | None) -> Path:
    """A disk with this repository, the Python packages, what is given and the command."""
    tree = work / "data"
    shutil.copytree(ROOT, tree / "src", ignore=shutil.ignore_patterns(*SKIPPED), symlinks=True)
    if sys.version.startswith(f"{PYTHON}."):  # what is emulated takes a minute for it
        _execute(sys.executable, "-m", "compileall", "-q", *(f"{tree}/src/{name}" for name in COMPILED))
    shutil.copytree(packages, tree / "site", symlinks=True)
    if given is not None:
        shutil.copytree(given, tree / "given", symlinks=True)
    (tree / "command").write_text(command + "\n")
    _execute("mke2fs", "-q", "-t", "ext4", "-d", str(tree), "-E", "root_owner=0:0", f"{work}/disk", "3G")
    shutil.rmtree(tree)
    return work / "disk"


def _execute(*command: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise MachineError(f"{command[0]} failed with status {done.returncode}:\n{done.stderr[-2000:]}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    status, shown = run(sys.argv[2], Path(sys.argv[1]).resolve())
    print(shown)
    sys.exit(status)
