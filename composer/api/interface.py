"""What the API asks of an engine: the facade of ``composer.engine``, as protocols.

Everything that names a container, image or network takes an id, an unambiguous beginning of an id, or a
name, and raises ``NotFound`` with Docker's sentence when there is no such thing. Times are nanoseconds since
the epoch, durations seconds.
"""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Protocol

from composer.engine.builds.requests import ImageBuild
from composer.engine.model import (
    ContainerRecord,
    Endpoint,
    EngineEvent,
    ExecConfig,
    ExecState,
    MountPoint,
    NetworkAttachment,
    PublishedPort,
    Status,
    VolumeRecord,
)
from composer.engine.requests import (
    BuildRequest,
    DownRequest,
    Event,
    KillRequest,
    LogsRequest,
    ProjectRequest,
    PullRequest,
    RemoveRequest,
    ResultEvent,
    RunRequest,
    ScaleRequest,
    StartRequest,
    StopRequest,
    UpRequest,
)
from runtime.build.solver.pruning import CacheEntry, Limits
from runtime.container.config import (
    ContainerConfig,
    EndpointConfig,
    Healthcheck,
    ImageConfig,
    Resources,
    RestartPolicy,
)
from runtime.container.logs import LogEntry
from runtime.image.manifest import Descriptor
from runtime.image.model import Image
from runtime.image.registry.authentication import Credentials, CredentialSource
from runtime.network.model import Network

if TYPE_CHECKING:
    from runtime.image.registry.search import Found

Emit = Callable[[Event], Awaitable[None]]
"""Takes what a project request says while it runs; waits while the client is slow to read."""

Progress = Callable[[dict[str, Any]], Awaitable[None]]
"""Takes one message of Docker's progress streams: ``status``, ``id``, ``progressDetail``, ``stream``,
``aux``."""

Stream = Literal["stdout", "stderr"]


class AttachSession(Protocol):
    """The streams of a container's main process, or of an exec. With a terminal everything comes as
    ``stdout``."""

    async def receive(self) -> tuple[Stream, bytes] | None:
        """The next piece of output; None when the process has ended and all was read."""

    async def send(self, data: bytes) -> None:
        """Write to standard input; raises ``trio.BrokenResourceError`` when nobody reads it any more."""

    async def close_stdin(self) -> None: ...

    async def aclose(self) -> None:
        """Detach. What runs goes on."""


class Container(Protocol):
    """A container as the API reads it."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def created(self) -> int: ...
    @property
    def config(self) -> ContainerConfig: ...
    @property
    def image(self) -> ImageConfig:
        """What the container inherits from its image."""

    @property
    def image_id(self) -> str: ...
    @property
    def image_ref(self) -> str: ...
    @property
    def uptime(self) -> float:
        """Seconds since its last start, whatever was done to the clock; 0 when it does not run."""

    @property
    def command_line(self) -> str:
        """What runs, as one line for people."""

    @property
    def labels(self) -> Mapping[str, str]:
        """The image's and the container's own."""

    @property
    def healthcheck(self) -> Healthcheck | None: ...
    @property
    def state(self) -> Status: ...
    @property
    def endpoints(self) -> Mapping[str, Endpoint]:
        """By the network's name."""

    @property
    def ports(self) -> Sequence[PublishedPort]: ...
    @property
    def mounts(self) -> Sequence[MountPoint]: ...
    @property
    def apparmor_profile(self) -> str: ...
    @property
    def log_path(self) -> str: ...
    @property
    def files_path(self) -> str:
        """Directory of ``hosts``, ``hostname`` and ``resolv.conf``."""


class Containers(Protocol):
    async def create(
        self, config: ContainerConfig, name: str = "", container_id: str = ""
    ) -> ContainerRecord: ...
    async def start(self, ref: str) -> None: ...
    async def stop(self, ref: str, timeout: float | None = None, signal: str = "") -> None: ...
    async def restart(self, ref: str, timeout: float | None = None, signal: str = "") -> None: ...
    async def kill(self, ref: str, signal: str = "SIGKILL") -> None: ...
    async def pause(self, ref: str) -> None: ...
    async def unpause(self, ref: str) -> None: ...
    async def remove(self, ref: str, *, force: bool = False, volumes: bool = False) -> None: ...
    async def rename(self, ref: str, name: str) -> None: ...
    async def wait(
        self, ref: str, condition: Literal["not-running", "next-exit", "removed"] = "not-running"
    ) -> int:
        """The exit status."""

    def get(self, ref: str) -> Container: ...
    def list(self, all: bool = False) -> Iterable[Container]:
        """Newest first; those without a process only with ``all``."""

    def logs(
        self,
        ref: str,
        *,
        follow: bool = False,
        stdout: bool = True,
        stderr: bool = True,
        since: int | None = None,
        until: int | None = None,
        tail: int | None = None,
    ) -> AsyncIterator[Sequence[LogEntry]]:
        """Lines that are there together come together."""

    async def attach(
        self, ref: str, *, stdin: bool, stdout: bool, stderr: bool, logs: bool = False
    ) -> AttachSession:
        """``logs``: also what was written before."""

    async def resize(self, ref: str, rows: int, cols: int) -> None: ...
    async def top(self, ref: str, ps_args: str = "") -> tuple[Sequence[str], Sequence[Sequence[str]]]: ...
    def stats(self, ref: str, stream: bool = True, one_shot: bool = False) -> AsyncIterator[dict[str, Any]]:
        """Docker's statistics documents: one a second, or a single one."""

    async def update(self, ref: str, resources: Resources, restart: RestartPolicy | None) -> None: ...
    async def changes(self, ref: str) -> builtins.list[tuple[int, str]]:
        """(0 changed, 1 added, 2 deleted; path)."""

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
        """The id of the image that is made of a container."""

    async def archive_stat(self, ref: str, path: str) -> dict[str, Any]:
        """Docker's ``X-Docker-Container-Path-Stat``: name, size, mode (Go's ``os.FileMode``), mtime,
        linkTarget."""

    async def archive_get(self, ref: str, path: str, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Send a tar of the path, piece by piece."""

    async def archive_put(
        self, ref: str, path: str, archive: Path, *, no_overwrite_dir_non_dir: bool = False
    ) -> None:
        """Unpack a (possibly compressed) tar at ``path``."""

    async def export(self, ref: str, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Send a tar of the whole root file system, piece by piece."""


class Execs(Protocol):
    async def create(self, ref: str, config: ExecConfig, exec_id: str = "") -> str: ...
    async def start(
        self, exec_id: str, *, detach: bool = False, tty: bool | None = None, rows: int = 0, cols: int = 0
    ) -> AttachSession | None: ...
    async def inspect(self, exec_id: str) -> ExecState: ...
    def has_left(self, exec_id: str) -> bool: ...
    async def again(self, exec_id: str) -> AttachSession: ...
    def of(self, ref: str) -> Sequence[str]:
        """Ids of a container's execs that run or are yet to run."""

    async def resize(self, exec_id: str, rows: int, cols: int) -> None: ...


class Debugging(Protocol):
    async def open(self, ref: str, config: ExecConfig) -> tuple[Literal["Exec", "Container"], str]:
        """A look into a container with this machine's programs: what is to be started and attached to, and its id."""


class Images(Protocol):
    async def pull(
        self, reference: str, platform: str, emit: Progress, credentials: CredentialSource | None = None
    ) -> object: ...
    async def pull_all_tags(
        self, name: str, platform: str, emit: Progress, credentials: CredentialSource | None = None
    ) -> None: ...
    async def search(
        self,
        term: str,
        limit: int,
        filters: Mapping[str, Sequence[str]],
        credentials: CredentialSource | None = None,
    ) -> Sequence[Found]: ...
    async def login(self, server: str, credentials: Credentials) -> None:
        """Whether a registry accepts credentials; raises when not."""

    async def push(
        self,
        name: str,
        tag: str,
        emit: Progress,
        credentials: CredentialSource | None = None,
        platform: str = "",
    ) -> None:
        """One tag of a repository, or all of them when ``tag`` is ""; ``platform``: only what is for it."""

    def list(self) -> Iterable[Image]: ...
    def together(self, image: Image) -> Sequence[Image]:
        """An image of ``list`` and those for other platforms that are listed with it."""

    def index(self, image: Image) -> bytes:
        """The index that it came with, or b""."""

    def get(self, ref: str, platform: str = "") -> Image: ...
    def describe(self, image: Image) -> Descriptor | None:
        """Its manifest's; None for the embedded image."""

    async def remove(
        self, ref: str, force: bool = False, prune: bool = True, platforms: Sequence[str] = ()
    ) -> builtins.list[dict[str, str]]:
        """Docker's answer: ``{"Untagged": ...}`` and ``{"Deleted": ...}`` in order."""

    async def tag(self, ref: str, target: str) -> None: ...
    async def load(
        self, archive: Path, emit: Progress, platform: str = "", *, quiet: bool = False
    ) -> object: ...
    async def import_(
        self,
        archive: Path,
        reference: str,
        changes: Sequence[str],
        message: str = "",
        platform: str = "",
        *,
        origin: str = "-",
    ) -> str:
        """The new image's id."""

    async def download(self, url: str, file: BinaryIO, emit: Progress) -> None:
        """Put what is at ``url`` into ``file``."""

    def save(self, refs: Sequence[str], platform: str = "") -> AsyncIterator[bytes]:
        """A docker-archive (tar) of the images."""

    async def check(self, emit: Progress, *, repair: bool = False) -> None:
        """``fsck``: messages with ``progressDetail``, ``problem``, and at last ``result``."""

    async def prune(
        self, *, everything: bool = False, only: Callable[[Image], bool] = ...
    ) -> tuple[builtins.list[dict[str, str]], int]:
        """Remove what no container uses (untagged images only unless ``everything``; of these ``only`` some): as
        ``remove``, and the bytes that were given back."""


class Networks(Protocol):
    async def create(
        self,
        name: str,
        driver: str = "bridge",
        *,
        options: Mapping[str, str],
        labels: Mapping[str, str],
        internal: bool = False,
        attachable: bool = False,
        enable_ipv4: bool = True,
        enable_ipv6: bool = False,
        pools: Sequence[Mapping[str, Any]] = (),
        ipam_driver: str = "",
        ipam_options: Mapping[str, str] | None = None,
        config_only: bool = False,
        config_from: str = "",
    ) -> Network:
        """``pools``: ``subnet``, ``ip_range``, ``gateway`` and ``aux_addresses`` of each."""

    def list(self) -> Iterable[Network]: ...
    def get(self, ref: str) -> Network: ...
    def attachments(self, ref: str) -> Iterable[NetworkAttachment]:
        """The running containers on it."""

    async def remove(self, ref: str) -> None: ...
    async def connect(self, ref: str, container: str, endpoint: EndpointConfig) -> None: ...
    async def disconnect(self, ref: str, container: str, force: bool = False) -> None: ...


class Volumes(Protocol):
    def create(
        self,
        name: str = "",
        driver: str = "local",
        driver_opts: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> VolumeRecord: ...
    def list(self) -> Iterable[VolumeRecord]: ...
    def get(self, name: str) -> VolumeRecord: ...
    def mountpoint(self, name: str) -> str: ...
    async def remove(self, name: str, force: bool = False) -> None: ...
    async def prune(self, *, everything: bool = False) -> tuple[builtins.list[str], int]: ...


class Events(Protocol):
    def subscribe(
        self,
        since: int | None = None,
        until: int | None = None,
        filters: Mapping[str, Sequence[str]] | None = None,
    ) -> AsyncIterator[EngineEvent]: ...


class Projects(Protocol):
    """Each request either returns its last event or raises; what it says meanwhile goes to ``emit``.
    Cancelling it ends the work in an orderly way."""

    async def up(self, request: UpRequest, emit: Emit) -> ResultEvent: ...
    async def down(self, request: DownRequest, emit: Emit) -> ResultEvent: ...
    async def start(self, request: StartRequest, emit: Emit) -> ResultEvent: ...
    async def stop(self, request: StopRequest, emit: Emit) -> ResultEvent: ...
    async def restart(self, request: StopRequest, emit: Emit) -> ResultEvent: ...
    async def kill(self, request: KillRequest, emit: Emit) -> ResultEvent: ...
    async def rm(self, request: RemoveRequest, emit: Emit) -> ResultEvent: ...
    async def scale(self, request: ScaleRequest, emit: Emit) -> ResultEvent: ...
    async def pause(self, request: ProjectRequest, emit: Emit) -> ResultEvent: ...
    async def unpause(self, request: ProjectRequest, emit: Emit) -> ResultEvent: ...
    async def build(self, request: BuildRequest, emit: Emit) -> ResultEvent: ...
    async def pull(self, request: PullRequest, emit: Emit) -> ResultEvent: ...
    async def run(self, request: RunRequest, emit: Emit) -> ResultEvent: ...
    async def logs(self, request: LogsRequest, emit: Emit) -> ResultEvent: ...
    async def resolve(self, request: ProjectRequest) -> dict[str, Any]: ...
    def list_projects(self, all: bool = False) -> builtins.list[dict[str, Any]]: ...


class Builds(Protocol):
    """As :class:`Projects`."""

    async def run(self, request: ImageBuild, emit: Emit) -> ResultEvent: ...


class System(Protocol):
    """Answers in the documents' final form."""

    def info(self) -> dict[str, Any]:
        """Docker's ``/info``."""

    def version(self) -> dict[str, Any]:
        """Docker's ``/version``; the API adds its own versions."""

    async def df(self) -> dict[str, Any]:
        """Sizes by id: ``containers`` (writable layer), ``volumes``, ``shared`` (of images, with others);
        ``layers`` in all, and ``reclaimable`` of these."""

    def dump(self) -> dict[str, Any]: ...
    def status(self) -> dict[str, Any]: ...
    async def stop(self) -> None:
        """End the engine on purpose; containers go on."""


class BuildCache(Protocol):
    async def usage(self, filters: Mapping[str, Sequence[str]] | None = None) -> Sequence[CacheEntry]:
        """What it keeps, what was used last first."""

    async def prune(
        self,
        filters: Mapping[str, Sequence[str]] | None = None,
        *,
        everything: bool = False,
        limits: Limits = ...,
    ) -> tuple[builtins.list[str], int]:
        """Ids of what was removed, and the bytes given back."""


class Engine(Protocol):
    @property
    def build_cache(self) -> BuildCache: ...
    @property
    def spool(self) -> Path:
        """A directory for uploads while they arrive, on the file system that images are on."""

    @property
    def containers(self) -> Containers: ...
    @property
    def execs(self) -> Execs: ...
    @property
    def debugging(self) -> Debugging: ...
    @property
    def images(self) -> Images: ...
    @property
    def networks(self) -> Networks: ...
    @property
    def volumes(self) -> Volumes: ...
    @property
    def events(self) -> Events: ...
    @property
    def projects(self) -> Projects: ...
    @property
    def builds(self) -> Builds: ...
    @property
    def system(self) -> System: ...
