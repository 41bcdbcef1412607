"""Pulling and removing images, composer beside Docker, in one run, on this machine.

    python -m bench.images --docker-compose PATH [--composer PATH] [--rootfs TAR] [--runs N]
        [--file-system ext4|tmpfs]

Needs root, ``dockerd``, ``docker``, ``docker-registry`` and, without ``--rootfs``, ``mmdebstrap`` with a Debian
mirror. It starts a dockerd of its own (no bridge, no firewall): both peers keep their images on equal file systems
made for the run, ext4 with a journal in a file in memory (or a tmpfs), and pull from one registry on loopback whose
files are in memory too. What is measured is the client, not a disk. Before each pull the kernel's caches are dropped.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import hashlib
import http.client
import io
import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.compare import Row
from bench.measure import ENVIRONMENT, Tool, processes

IMAGES = 10
_DISK = 4 << 30
_START = 60.0
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"


@dataclass(frozen=True)
class Layer:
    """A layer as registries have it."""

    blob: bytes
    diff_id: str
    size: int
    """Bytes of the tar."""


@dataclass
class Taken:
    """What one kind of measurement took, run by run."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


class ImageComparison:
    """All measurements, in the order of the table; both tools by turns."""

    def __init__(self, tools: Sequence[Tool], engines: Sequence[Callable[[], list[int]]], runs: int) -> None:
        self.tools = tools
        self.engines = engines
        self.runs = runs

    def run(self, address: str, room: Path, megabytes: dict[str, float]) -> None:
        print("| what | Docker | composer | ratio | budget | |\n|---|---|---|---|---|---|")
        single = f"{address}/debian"
        taken = {what: [Taken(), Taken()] for what in ("pull", "again", "remove", "pull ten", "remove ten")}
        names = [f"{address}/app{number}" for number in range(IMAGES)]
        write_project(room, names)
        for number in range(self.runs):
            for side in (0, 1) if number % 2 else (1, 0):
                tool = self.tools[side]
                self._timed(taken["pull"][side], side, ("pull", "-q", single))
                self._timed(taken["again"][side], side, ("pull", "-q", single), is_cold=False)
                self._timed(taken["remove"][side], side, ("rm", single), is_cold=False)
                self._tidy(tool)
                self._timed(taken["pull ten"][side], side, (), cwd=room)
                self._timed(taken["remove ten"][side], side, ("rm", *names), is_cold=False)
                self._tidy(tool)
        self._add(f"pull, Debian of {megabytes['one']:.0f} MB, cold", taken["pull"], 1 / 1.5)
        self._add_cpu(f"pull, Debian of {megabytes['one']:.0f} MB", taken["pull"], megabytes["one"])
        self._add(f"`compose pull`, {IMAGES} images of {megabytes['ten']:.0f} MB", taken["pull ten"], 1 / 2)
        self._add_cpu(f"`compose pull`, {IMAGES} images", taken["pull ten"], megabytes["ten"])
        self._add("pull, unchanged", taken["again"], None)
        self._add("`image rm`, one", taken["remove"], None)
        self._add(f"`image rm`, {IMAGES}", taken["remove ten"], None)

    def _timed(
        self,
        taken: Taken,
        side: int,
        words: Sequence[str],
        *,
        is_cold: bool = True,
        cwd: Path | None = None,
    ) -> None:
        tool = self.tools[side]
        if is_cold:
            os.sync()
            Path("/proc/sys/vm/drop_caches").write_text("3", encoding="ascii")
            tool.call(tool.container, "ls")  # the tool's own files are warm, as between two commands
        before = cpu_seconds(self.engines[side]())
        if cwd is None:
            taken.seconds.append(tool.call(tool.container, *words))
        else:
            taken.seconds.append(tool.call(tool.compose, "pull", "-q", cwd=cwd))
        taken.cpu.append(cpu_seconds(self.engines[side]()) - before)

    def _tidy(self, tool: Tool) -> None:
        """What was removed is gone from the disk before the next measurement."""
        tool.call(tool.container, "prune", "-f")

    def _add(self, what: str, taken: Sequence[Taken], budget: float | None) -> None:
        theirs, ours = (statistics.median(one.seconds) for one in taken)
        show(Row(what, "s", theirs, ours, budget))

    def _add_cpu(self, what: str, taken: Sequence[Taken], megabytes: float) -> None:
        theirs, ours = (statistics.median(one.cpu) * 1000 / megabytes for one in taken)
        show(Row(f"{what}, CPU of the engine for each unpacked MB", "ms", theirs, ours, 1.0))


def show(row: Row) -> None:
    """One line of the table."""
    budget = "" if row.budget is None else f"{row.budget:.3g}"
    print(
        f"| {row.what} | {row.docker:.4g} {row.unit} | {row.composer:.4g} {row.unit} "
        f"| {row.ratio:.3f} | {budget} | {row.verdict} |",
        flush=True,
    )


def cpu_seconds(pids: Sequence[int]) -> float:
    """User and system time of processes and of the children that they have waited for (proc_pid_stat(5))."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
            total += sum(map(int, fields[11:15]))
    return total / os.sysconf("SC_CLK_TCK")


# What is pulled


def layer_of(tar: bytes) -> Layer:
    """A layer of a tar, compressed as most are."""
    return Layer(gzip.compress(tar, 6, mtime=0), digest(tar), len(tar))


def written_layer(name: str, files: int, size: int) -> Layer:
    """A layer of small files that look like the sources of a program."""
    chance = random.Random(name)
    words = ["".join(chance.choices("etaoinshrdlu", k=chance.randint(2, 9))) for _ in range(800)]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for number in range(files):
            if number % 50 == 0:
                entry = tarfile.TarInfo(f"opt/{name}/part{number // 50}")
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(entry)
            data = " ".join(chance.choices(words, k=chance.randint(1, 2 * size // 6))).encode()
            entry = tarfile.TarInfo(f"opt/{name}/part{number // 50}/module{number}.py")
            entry.size, entry.mode, entry.mtime = len(data), 0o644, 1_700_000_000
            tar.addfile(entry, io.BytesIO(data))
    return layer_of(buffer.getvalue())


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def put_image(address: str, repository: str, layers: Sequence[Layer]) -> None:
    """Write an image into the registry, as ``latest``."""
    config = json.dumps(
        {
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine],
            "os": "linux",
            "config": {"Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        }
    ).encode()
    for blob in (config, *(layer.blob for layer in layers)):
        _request(address, "POST", f"/v2/{repository}/blobs/uploads/", b"", blob)

    def described(media_type: str, data: bytes) -> dict[str, object]:
        return {"mediaType": media_type, "digest": digest(data), "size": len(data)}

    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": described(_CONFIG, config),
        "layers": [described(_LAYER, layer.blob) for layer in layers],
    }
    data = json.dumps(manifest).encode()
    _request(address, "PUT", f"/v2/{repository}/manifests/latest", data, None, _MANIFEST)


def _request(
    address: str, method: str, path: str, body: bytes, blob: bytes | None, media_type: str = ""
) -> None:
    """A request; with ``blob`` also the second one, which brings it to where the first answer says."""
    connection = http.client.HTTPConnection(address, timeout=60)
    try:
        connection.request(method, path, body, {"Content-Type": media_type} if media_type else {})
        answer = connection.getresponse()
        answer.read()
        if answer.status not in (201, 202):
            raise RuntimeError(f"{method} {path}: {answer.status}")
        if blob is not None:
            where = answer.headers["Location"]
            target = where[where.index("/v2/") :] + ("&" if "?" in where else "?") + f"digest={digest(blob)}"
            connection.request("PUT", target, blob, {"Content-Type": "application/octet-stream"})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 201:
                raise RuntimeError(f"PUT {target}: {answer.status}")
    finally:
        connection.close()


def write_project(room: Path, names: Sequence[str]) -> None:
    """A Compose file with a service for each image."""
    services = {f"app{number}": {"image": name} for number, name in enumerate(names)}
    (room / "compose.yaml").write_text(json.dumps({"services": services}), encoding="utf-8")


def fill(address: str, rootfs: bytes) -> dict[str, float]:
    """Write all images; megabytes (unpacked, each layer once) of the one and of the ten."""
    base = layer_of(rootfs)
    shared = [written_layer(f"runtime{number}", 2000, 12_000) for number in range(2)]
    own = [written_layer(f"app{number}", 300, 15_000) for number in range(IMAGES)]
    put_image(address, "debian", [base])
    for number, last in enumerate(own):
        put_image(address, f"app{number}", [base, shared[number % 2], last])
    return {
        "one": base.size / 1e6,
        "ten": (base.size + sum(layer.size for layer in (*shared, *own))) / 1e6,
    }


# The peers


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextlib.contextmanager
def mounted(room: Path, name: str, kind: str) -> Iterator[Path]:
    """A new ext4 with a journal, in a file below ``room``, or a tmpfs."""
    disk, target = room / f"{name}.img", room / name
    target.mkdir()
    if kind == "tmpfs":
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_DISK}", "tmpfs", str(target)], check=True)
    else:
        with open(disk, "wb") as file:
            file.truncate(_DISK)
        subprocess.run(["mkfs.ext4", "-q", "-E", "lazy_itable_init=0", str(disk)], check=True)
        subprocess.run(["mount", "-o", "loop", str(disk), str(target)], check=True)
    try:
        yield target
    finally:
        subprocess.run(["umount", "-l", str(target)], check=True)
        disk.unlink(missing_ok=True)


@contextlib.contextmanager
def started(words: Sequence[str], log: Path, is_ready: Callable[[], bool]) -> Iterator[int]:
    """A process that is ready; its id."""
    with open(log, "wb") as output:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=ENVIRONMENT
        )
    try:
        deadline = time.monotonic() + _START
        while not is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{words[0]} does not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@contextlib.contextmanager
def registry(directory: Path) -> Iterator[str]:
    """An empty registry; its address."""
    address = f"127.0.0.1:{free_port()}"
    directory.mkdir()
    configuration = directory / "registry.yml"
    configuration.write_text(
        "version: 0.1\nlog: { level: warn }\n"
        f"storage: {{ filesystem: {{ rootdirectory: {directory}/data }} }}\n"
        f'http: {{ addr: "{address}" }}\n',
        encoding="utf-8",
    )

    def is_ready() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(address.split(":"), timeout=5):  # type: ignore[arg-type]
            return True
        return False

    with started(["docker-registry", "serve", str(configuration)], directory / "log", is_ready):
        yield address


@contextlib.contextmanager
def docker(room: Path, disk: Path, compose: str) -> Iterator[tuple[Tool, Callable[[], list[int]]]]:
    """A dockerd of the bench's own."""
    url = f"unix://{room}/docker.sock"
    environment = {"DOCKER_HOST": url, "DOCKER_CONFIG": str(room / "docker-config")}
    tool = Tool("docker", (compose,), ("docker", "image"), environment)

    def is_ready() -> bool:
        return not subprocess.run(
            ["docker", "version"], env={**ENVIRONMENT, **environment}, capture_output=True, check=False
        ).returncode

    words = ["dockerd", "-H", url, "--data-root", f"{disk}/docker", "--exec-root", f"{room}/docker-exec"]
    words += ["-p", f"{room}/docker.pid", "--bridge", "none", "--iptables=false", "--ip6tables=false"]
    with started(words, room / "dockerd.log", is_ready) as pid:

        def engine() -> list[int]:
            return [pid, *processes(lambda line: line.startswith("containerd ") and str(room) in line)]

        yield tool, engine


@contextlib.contextmanager
def composer(room: Path, disk: Path, program: str) -> Iterator[tuple[Tool, Callable[[], list[int]]]]:
    """An engine of the bench's own."""
    root = disk / "composer"
    (root / "run").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(root / "run")], check=True)
    tool = Tool("composer", (program,), (program, "image"), {"COMPOSER_ROOT": str(root)})

    def engine() -> list[int]:
        return processes(
            lambda line: line.startswith(("composer-core", "composer-keeper")), f"COMPOSER_ROOT={root}"
        )

    # An engine that nobody is connected to and that runs nothing ends by itself: both stay.
    watcher = subprocess.Popen(
        [program, "system", "events"],
        env={**ENVIRONMENT, **tool.environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        tool.call((program, "image", "ls"))
        yield tool, engine
    finally:
        watcher.terminate()
        watcher.wait()
        tool.call((program, "engine", "stop"))
        subprocess.run(["umount", "-l", str(root / "run")], check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--docker-compose", required=True, help="the docker-compose program to compare with")
    parser.add_argument(
        "--composer", default=shutil.which("composer") or f"{Path(sys.executable).parent}/composer"
    )
    parser.add_argument("--rootfs", type=Path, help="the tar of a Debian root file system")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument(
        "--file-system", choices=("ext4", "tmpfs"), default="ext4", help="for both peers' images"
    )
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        room = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="composer-bench-")))
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(room)], check=True)
        stack.callback(subprocess.run, ["umount", "-l", str(room)], check=True)
        if given.rootfs is None:
            made = room / "debian.tar"
            subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", "stable", str(made)], check=True)
            rootfs = made.read_bytes()
        else:
            rootfs = given.rootfs.read_bytes()
        address = stack.enter_context(registry(room / "registry"))
        megabytes = fill(address, rootfs)
        kind = given.file_system
        disks = [stack.enter_context(mounted(room, name, kind)) for name in ("disk-docker", "disk-composer")]
        theirs = stack.enter_context(docker(room, disks[0], given.docker_compose))
        ours = stack.enter_context(composer(room, disks[1], given.composer))
        cpus, memory = os.cpu_count(), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        print(f"{cpus} CPUs, {memory:.0f} GiB, Linux {os.uname().release}, Python {sys.version.split()[0]}\n")
        ImageComparison((theirs[0], ours[0]), (theirs[1], ours[1]), given.runs).run(address, room, megabytes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
