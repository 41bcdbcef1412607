"""An engine in memory behind the real server on a real unix socket.

The engine's facade is our own interface; this one keeps containers as values and lets tests say what their
processes do.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio
from msgspec.structs import replace

from composer.api.server import serve
from composer.engine.events import Events
from composer.engine.model import (
    ContainerRecord,
    Endpoint,
    ExecState,
    Health,
    MountPoint,
    NetworkAttachment,
    PublishedPort,
    Status,
    VolumeRecord,
)
from composer.engine.requests import ResultEvent, StepEvent
from runtime.build.solver.pruning import NO_LIMITS, CacheEntry, Limits
from runtime.container.config import ImageConfig
from runtime.container.logs import LogEntry
from runtime.errors import Conflict, NotFound
from runtime.image.model import HistoryEntry, Image
from runtime.network.model import Network, Pool

BUSYBOX = Image(
    id="sha256:" + "ab" * 32,
    config=ImageConfig(
        env=("PATH=/bin", "A=image"), cmd=("sh",), labels={"from": "image"}, exposed_ports=("80/tcp",)
    ),
    layers=(Path("/nonexistent"),),
    tags=("busybox:latest",),
    created=1_700_000_000_000_000_000,
    size=1_985_472,
    architecture="amd64",
    diff_ids=("sha256:" + "cd" * 32,),
    history=(
        HistoryEntry(
            created=1_700_000_000_000_000_000, created_by="COPY", comment="", size=5, empty_layer=False
        ),
        HistoryEntry(
            created=1_700_000_001_000_000_000, created_by="CMD", comment="", size=0, empty_layer=True
        ),
    ),
)


@dataclass
class FakeContainer:
    id: str
    name: str
    config: Any
    created: int = field(default_factory=time.time_ns)
    uptime: float = 0.0
    image: ImageConfig = BUSYBOX.config
    image_id: str = BUSYBOX.id
    state: Status = field(default_factory=Status)
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    ports: tuple[PublishedPort, ...] = ()
    mounts: tuple[MountPoint, ...] = ()
    log_path: str = "/logs/0.log"
    files_path: str = "/run/0"
    apparmor_profile: str = ""
    lines: list[LogEntry] = field(default_factory=list)
    changed: trio.Event = field(default_factory=trio.Event)

    @property
    def image_ref(self) -> str:
        return self.config.image

    @property
    def command_line(self) -> str:
        words = [*(self.config.entrypoint or self.image.entrypoint), *(self.config.command or self.image.cmd)]
        return " ".join(f"'{word}'" if " " in word else word for word in words)

    @property
    def labels(self) -> dict[str, str]:
        return {**self.image.labels, **self.config.labels}

    @property
    def healthcheck(self) -> Any:
        return self.config.healthcheck

    def become(self, **changes: Any) -> None:
        self.state = replace(self.state, **changes)
        self.changed.set()
        self.changed = trio.Event()


class FakeSession:
    """A process that upper-cases its input on standard output and ends with it."""

    def __init__(
        self,
        on_end: Callable[[int], None],
        *,
        tty: bool,
        greeting: bytes = b"",
        stdin: bool,
        has_started: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._has_started = has_started
        self._send, self._receive = trio.open_memory_channel[tuple[str, bytes] | None](100)
        self._on_end = on_end
        self.tty = tty
        self.is_closed = False
        if greeting:
            self._send.send_nowait(("stdout", greeting))
            if not tty:
                self._send.send_nowait(("stderr", b"to stderr\n"))
        if not stdin:
            self._end()

    def _end(self) -> None:
        self._send.send_nowait(None)

    async def receive(self) -> tuple[str, bytes] | None:
        if self._has_started is not None:
            await self._has_started()
        piece = await self._receive.receive()
        if piece is None:
            self._on_end(3)
        return piece

    async def send(self, data: bytes) -> None:
        await self._send.send(("stdout", data.upper()))

    async def close_stdin(self) -> None:
        self._end()

    async def aclose(self) -> None:
        self.is_closed = True


class FakeContainers:
    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine
        self._all: dict[str, FakeContainer] = {}
        self.sessions: list[FakeSession] = []
        self.puts: list[tuple[str, str, bytes]] = []

    async def create(self, config: Any, name: str = "", container_id: str = "") -> ContainerRecord:
        image = self._engine.images.get(config.image)
        if any(c.name == name for c in self._all.values()):
            raise Conflict(f'Conflict. The container name "/{name}" is already in use', hint="another name")
        new = FakeContainer(container_id or secrets.token_hex(32), name or "quiet-name", config)
        for asked in config.endpoints:
            network = self._engine.networks.get(asked.network)
            new.endpoints[network.name] = Endpoint(
                network_id=network.id,
                ipv4="172.20.0.2",
                prefix=16,
                gateway="172.20.0.1",
                mac="02:42:ac:14:00:02",
                aliases=asked.aliases,
            )
        new.ports = tuple(
            PublishedPort(
                container_port=p.container_port,
                protocol=p.protocol,
                host_ip=p.host_ip,
                host_port=p.host_port or 32768,
            )
            for p in config.ports
        )
        new.mounts = tuple(
            MountPoint(
                type=m.type, source=m.source, target=m.target, name=m.source if m.type == "volume" else ""
            )
            for m in config.mounts
        )
        self._all[new.id] = new
        self._engine.events.publish("container", "create", new.id, {"name": new.name, "image": config.image})
        return ContainerRecord(
            id=new.id,
            name=new.name,
            created=new.created,
            config=config,
            image_id=image.id,
            image_ref=config.image,
        )

    def get(self, ref: str) -> FakeContainer:
        for c in self._all.values():
            if ref in (c.id, c.name) or (len(ref) >= 4 and c.id.startswith(ref)):
                return c
        raise NotFound(f"No such container: {ref}")

    def list(self, all: bool = False) -> list[FakeContainer]:
        chosen = [c for c in self._all.values() if all or c.state.is_alive]
        return sorted(chosen, key=lambda c: c.created, reverse=True)

    async def start(self, ref: str) -> None:
        c = self.get(ref)
        if c.state.is_alive:
            from composer.engine.lifecycle import AlreadyStarted

            raise AlreadyStarted("already running")
        c.become(status="running", pid=4242, started_at=time.time_ns())
        self._engine.events.publish("container", "start", c.id, {"name": c.name})

    def end(self, c: FakeContainer, code: int) -> None:
        c.become(status="exited", pid=0, exit_code=code, finished_at=time.time_ns())
        self._engine.events.publish("container", "die", c.id, {"name": c.name, "exitCode": str(code)})
        if c.config.auto_remove:
            c.become(status="removing")
            del self._all[c.id]

    async def stop(self, ref: str, timeout: float | None = None, signal: str = "") -> None:
        self.end(self.get(ref), 143)

    async def restart(self, ref: str, timeout: float | None = None, signal: str = "") -> None:
        await self.stop(ref)
        await self.start(ref)

    async def kill(self, ref: str, signal: str = "SIGKILL") -> None:
        c = self.get(ref)
        if not c.state.is_alive:
            raise Conflict(f"cannot kill container: {ref}: container {c.id} is not running")
        self.end(c, 137)

    async def pause(self, ref: str) -> None:
        self.get(ref).become(status="paused")

    async def unpause(self, ref: str) -> None:
        self.get(ref).become(status="running")

    async def remove(self, ref: str, *, force: bool = False, volumes: bool = False) -> None:
        c = self.get(ref)
        if c.state.is_alive and not force:
            raise Conflict(f"cannot remove container {c.name}: container is running")
        del self._all[c.id]
        c.become(status="removing")

    async def rename(self, ref: str, name: str) -> None:
        self.get(ref).name = name

    async def wait(self, ref: str, condition: str = "not-running") -> int:
        c = self.get(ref)
        before = c.state.finished_at
        while (
            (condition == "not-running" and c.state.is_alive)
            or (condition == "next-exit" and c.state.finished_at == before)
            or (condition == "removed" and c.id in self._all)
        ):
            await c.changed.wait()
        return c.state.exit_code

    async def logs(
        self, ref: str, *, follow: bool = False, tail: int | None = None, **_: Any
    ) -> AsyncIterator[list[LogEntry]]:
        c = self.get(ref)
        yield c.lines[-tail:] if tail else c.lines
        while follow and c.state.is_alive:
            await c.changed.wait()

    async def attach(
        self, ref: str, *, stdin: bool, stdout: bool, stderr: bool, logs: bool = False
    ) -> FakeSession:
        c = self.get(ref)

        async def has_started() -> None:
            while c.state.status == "created":
                await c.changed.wait()

        session = FakeSession(
            lambda code: self.end(c, code), tty=c.config.tty, stdin=stdin, has_started=has_started
        )
        self.sessions.append(session)
        return session

    async def resize(self, ref: str, rows: int, cols: int) -> None:
        pass

    async def top(self, ref: str, ps_args: str = "") -> tuple[list[str], list[list[str]]]:
        return ["PID", "CMD"], [["1", "sh"]]

    async def stats(
        self, ref: str, stream: bool = True, one_shot: bool = False
    ) -> AsyncIterator[dict[str, Any]]:
        cpu = {"cpu_usage": {"total_usage": 1000}, "system_cpu_usage": 100000, "online_cpus": 2}
        document = {
            "read": "2026-01-01T00:00:00Z",
            "id": self.get(ref).id,
            "name": f"/{self.get(ref).name}",
            "cpu_stats": cpu,
            "precpu_stats": cpu,
            "memory_stats": {"usage": 1 << 20, "limit": 1 << 30, "stats": {}},
            "pids_stats": {"current": 1},
            "networks": {"eth0": {"rx_bytes": 10, "tx_bytes": 20}},
        }
        yield document
        while stream:
            await trio.sleep(0.05)
            yield document

    async def update(self, ref: str, resources: Any, restart: Any) -> None:
        c = self.get(ref)
        c.config = replace(c.config, resources=resources, restart=restart or c.config.restart)

    async def changes(self, ref: str) -> list[tuple[int, str]]:
        return [(0, "/etc"), (1, "/etc/new")]

    async def commit(
        self,
        ref: str,
        name: str,
        *,
        author: str = "",
        comment: str = "",
        changes: Sequence[str] = (),
        pause: bool = True,
    ) -> str:
        return "sha256:" + "c" * 64

    async def archive_stat(self, ref: str, path: str) -> dict[str, Any]:
        if path == "/missing":
            raise NotFound(f"Could not find the file {path} in container {ref}")
        return {"name": "f", "size": 5, "mode": 0o644, "mtime": "2026-01-01T00:00:00Z", "linkTarget": ""}

    async def archive_get(self, ref: str, path: str, send: Callable[[bytes], Awaitable[None]]) -> None:
        import io
        import tarfile

        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            info = tarfile.TarInfo("f")
            info.size = 5
            tar.addfile(info, io.BytesIO(b"hello"))
        await send(out.getvalue())

    async def archive_put(
        self, ref: str, path: str, archive: Path, *, no_overwrite_dir_non_dir: bool = False
    ) -> None:
        self.puts.append((ref, path, archive.read_bytes()))

    async def export(self, ref: str, send: Callable[[bytes], Awaitable[None]]) -> None:
        await send(b"tar")


class FakeExecs:
    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine
        self.all: dict[str, ExecState] = {}
        self.sessions: list[FakeSession] = []

    async def create(self, ref: str, config: Any, exec_id: str = "") -> str:
        c = self._engine.containers.get(ref)
        if not c.state.is_alive:
            raise Conflict(f"container {c.id} is not running")
        state = ExecState(id=exec_id or secrets.token_hex(32), container_id=c.id, config=config)
        self.all[state.id] = state
        return state.id

    async def again(self, exec_id: str) -> FakeSession:
        raise Conflict(f"exec {exec_id} is somebody else's")

    def has_left(self, exec_id: str) -> bool:
        return False

    async def inspect(self, exec_id: str) -> ExecState:
        try:
            return self.all[exec_id]
        except KeyError:
            raise NotFound(f"No such exec instance: {exec_id}") from None

    def of(self, ref: str) -> list[str]:
        return []

    async def start(self, exec_id: str, *, detach: bool = False, **_: Any) -> FakeSession | None:
        state = await self.inspect(exec_id)
        state.running, state.pid = True, 77

        def end(code: int) -> None:
            state.running, state.exit_code = False, code

        if detach:
            end(0)
            return None
        config = state.config
        greeting = " ".join(config.cmd).encode() + b"\n"
        session = FakeSession(end, tty=config.tty, greeting=greeting, stdin=config.attach_stdin)
        self.sessions.append(session)
        return session

    async def resize(self, exec_id: str, rows: int, cols: int) -> None:
        pass


class FakeImages:
    def __init__(self) -> None:
        self.all = {BUSYBOX.id: BUSYBOX}
        self.loaded: list[bytes] = []

    def list(self) -> list[Image]:
        return list(self.all.values())

    def together(self, image: Image) -> list[Image]:
        return [image]

    def index(self, image: Image) -> bytes:
        return b""

    def get(self, ref: str, platform: str = "") -> Image:
        for image in self.all.values():
            if (
                ref in image.tags
                or f"{ref}:latest" in image.tags
                or image.id.removeprefix("sha256:").startswith(ref)
            ):
                return image
            if ref == image.id:
                return image
        raise NotFound(f"No such image: {ref}")

    async def pull(self, reference: str, platform: str, emit: Any, credentials: Any = None) -> None:
        if "missing" in reference:
            raise NotFound(f"manifest for {reference} not found")
        await emit({"status": "Pulling from library/busybox", "id": "latest"})
        if "broken" in reference:
            raise Conflict("the registry broke off", hint="again")
        await emit({"status": "Status: Image is up to date for busybox:latest"})

    async def remove(
        self, ref: str, force: bool = False, prune: bool = True, platforms: Any = ()
    ) -> list[dict[str, str]]:
        image = self.get(ref)
        del self.all[image.id]
        return [{"Untagged": "busybox:latest"}, {"Deleted": image.id}]

    async def tag(self, ref: str, target: str) -> None:
        from dataclasses import replace as with_changes

        image = self.get(ref)
        self.all[image.id] = with_changes(image, tags=(*image.tags, target))

    async def load(self, archive: Path, emit: Any, platform: str = "", *, quiet: bool = False) -> None:
        self.loaded.append(archive.read_bytes())
        await emit({"stream": "Loaded image: busybox:latest\n"})

    async def import_(
        self, archive: Path, reference: str, changes: Any, message: str = "", platform: str = ""
    ) -> str:
        self.loaded.append(archive.read_bytes())
        return BUSYBOX.id

    async def save(self, refs: Any, platform: str = "") -> AsyncIterator[bytes]:
        yield b"tar"

    async def prune(self, *, everything: bool = False, only: Any = None) -> tuple[list[dict[str, str]], int]:
        return [], 0


class FakeNetworks:
    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine
        self.all = {
            name: Network(id=secrets.token_hex(32), name=name, driver=name, created=time.time_ns())
            for name in ("bridge", "host", "none")
        }

    async def create(self, name: str, driver: str = "bridge", *, pools: Any = (), **fields: Any) -> Network:
        del fields["enable_ipv4"], fields["ipam_driver"]
        asked = tuple(Pool(**pool) for pool in pools) or (Pool(subnet="172.20.0.0/16", gateway="172.20.0.1"),)
        network = Network(
            id=secrets.token_hex(32), name=name, driver=driver, pools=asked, created=time.time_ns(), **fields
        )
        self.all[name] = network
        return network

    def list(self) -> list[Network]:
        return list(self.all.values())

    def get(self, ref: str) -> Network:
        for network in self.all.values():
            if ref in (network.name, network.id) or network.id.startswith(ref):
                return network
        raise NotFound(f"network {ref} not found")

    def attachments(self, ref: str) -> Iterator[NetworkAttachment]:
        name = self.get(ref).name
        for c in self._engine.containers.list():
            if name in c.endpoints:
                yield NetworkAttachment(container_id=c.id, name=c.name, endpoint=c.endpoints[name])

    async def remove(self, ref: str) -> None:
        del self.all[self.get(ref).name]

    async def connect(self, ref: str, container: str, endpoint: Any) -> None:
        network = self.get(ref)
        self._engine.containers.get(container).endpoints[network.name] = Endpoint(
            network_id=network.id, ipv4=endpoint.ipv4_address or "172.20.0.9", aliases=endpoint.aliases
        )

    async def disconnect(self, ref: str, container: str, force: bool = False) -> None:
        del self._engine.containers.get(container).endpoints[self.get(ref).name]


class FakeBuildCache:
    async def usage(self, filters: Any = None) -> list[CacheEntry]:
        return [
            CacheEntry(id="ab12", type="regular", description="RUN x", size=5, created=time.time_ns(), used=1)
        ]

    async def prune(
        self, filters: Any = None, *, everything: bool = False, limits: Limits = NO_LIMITS
    ) -> tuple[list[str], int]:
        return ["ab12"], 5


class FakeVolumes:
    def __init__(self) -> None:
        self.all: dict[str, VolumeRecord] = {}

    def create(
        self, name: str = "", driver: str = "local", driver_opts: Any = None, labels: Any = None
    ) -> VolumeRecord:
        name = name or secrets.token_hex(32)
        record = VolumeRecord(
            name=name, created=time.time_ns(), driver_opts=dict(driver_opts or {}), labels=dict(labels or {})
        )
        return self.all.setdefault(name, record)

    def list(self) -> list[VolumeRecord]:
        return list(self.all.values())

    def get(self, name: str) -> VolumeRecord:
        if name not in self.all:
            raise NotFound(f"get {name}: no such volume")
        return self.all[name]

    def mountpoint(self, name: str) -> str:
        return f"/volumes/{name}/_data"

    async def remove(self, name: str, force: bool = False) -> None:
        del self.all[self.get(name).name]


class FakeProjects:
    """``up`` says one step and then does what ``outcome`` says; a cancelled one sets ``cancelled``."""

    def __init__(self) -> None:
        self.cancelled = trio.Event()
        self.outcome: Any = ResultEvent(exit_status=0, data={"x": 1})
        self.asked: list[Any] = []

    async def up(self, request: Any, emit: Any) -> ResultEvent:
        self.asked.append(request)
        await emit(StepEvent(kind="Container", name="shop-web-1", status="Creating"))
        if self.outcome == "hang":
            try:
                await trio.sleep_forever()
            finally:
                self.cancelled.set()
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    build = down = start = stop = restart = kill = rm = scale = pause = unpause = pull = run = logs = up

    async def resolve(self, request: Any) -> dict[str, Any]:
        return {"name": "shop", "services": [], "containers": []}

    def list_projects(self, all: bool = False) -> list[dict[str, Any]]:
        return [{"Name": "shop", "Status": "running(1)", "All": all}]


class FakeSystem:
    def info(self) -> dict[str, Any]:
        return {
            "ID": "x",
            "Containers": 0,
            "Name": "here",
            "ServerVersion": "0.1.0",
            "NCPU": 2,
            "OSType": "linux",
        }

    def version(self) -> dict[str, Any]:
        return {
            "Version": "0.1.0",
            "Os": "linux",
            "Arch": "amd64",
            "KernelVersion": "6.18",
            "GitCommit": "",
            "GoVersion": "",
            "Platform": {"Name": "composer"},
            "Components": [{"Name": "Engine", "Version": "0.1.0", "Details": {"Os": "linux"}}],
        }

    async def df(self) -> dict[str, Any]:
        return {"images": {}, "containers": {}, "volumes": {}, "layers": 5}

    def dump(self) -> dict[str, Any]:
        return {"containers": []}

    def status(self) -> dict[str, Any]:
        return {"pid": 1}

    async def stop(self) -> None:
        raise RuntimeError("a secret detail")


class FakeBuilds:
    async def run(self, request: Any, emit: Any) -> ResultEvent:
        await emit(StepEvent(kind="Image", name=request.tags[0], status="Built"))
        return ResultEvent(data={"Id": "sha256:1"})


class FakeEngine:
    def __init__(self, spool: Path) -> None:
        self.spool = spool
        self.events = Events()
        self.images = FakeImages()
        self.networks = FakeNetworks(self)
        self.containers = FakeContainers(self)
        self.execs = FakeExecs(self)
        self.volumes = FakeVolumes()
        self.projects = FakeProjects()
        self.builds = FakeBuilds()
        self.system = FakeSystem()
        self.build_cache = FakeBuildCache()

    async def run_container(self, name: str, *, health: str = "", **fields: Any) -> FakeContainer:
        """A running container, for tests that are about something else."""
        from runtime.container.config import ContainerConfig

        record = await self.containers.create(ContainerConfig(image="busybox", **fields), name)
        await self.containers.start(record.id)
        c = self.containers.get(record.id)
        if health:
            c.become(health=Health(status=health))
        return c


@pytest.fixture
def engine(tmp_path: Path) -> FakeEngine:
    return FakeEngine(tmp_path / "spool")


@pytest.fixture
async def address(engine: FakeEngine, tmp_path: Path, nursery: trio.Nursery) -> str:
    """Path of a socket on which the API serves ``engine``."""
    path = str(tmp_path / "engine.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    await nursery.start(lambda task_status: serve(engine, listener, task_status=task_status))
    return path
