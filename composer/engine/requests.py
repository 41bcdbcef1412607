"""What the engine can be asked about projects, and what it says while it works: the types behind ``/composer/v1``.

Times are nanoseconds since the epoch, durations seconds unless a name says otherwise.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

PullPolicy = Literal["", "always", "missing", "never", "build", "if_not_present", "policy"]


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all requests: immutable, unknown fields refused."""


class ProjectSource(Request, frozen=True):
    """Which project a command is about: what the client's directory, flags and environment say."""

    cwd: str
    files: tuple[str, ...] = ()
    """``-f`` in order; empty: search ``cwd`` and its parents."""
    project_name: str = ""
    project_directory: str = ""
    profiles: tuple[str, ...] = ()
    env_files: tuple[str, ...] = ()
    env: dict[str, str] = {}
    stdin: str | None = None
    """What ``-f -`` reads."""
    compatibility: bool = False
    parallel: int = 0
    """At most so many containers, images and builds at once; 0 or less: without limit."""


class ProjectRequest(Request, frozen=True):
    """A verb that needs nothing but the project and perhaps some of its services."""

    project: ProjectSource
    services: tuple[str, ...] = ()


class UpRequest(ProjectRequest, frozen=True):
    """``up`` and ``create`` (``start`` false)."""

    start: bool = True
    dry_run: bool = False
    """Decide only: the result's data is ``{"Steps": [sentence, ...]}``."""
    scale: dict[str, int] = {}
    no_deps: bool = False
    always_recreate_deps: bool = False
    force_recreate: bool = False
    no_recreate: bool = False
    renew_anon_volumes: bool = False
    remove_orphans: bool = False
    address: str = ""
    """Where ports that name no host address are published: ``auto`` (the project's own) or one of 127.0.0.0/8."""
    pull: PullPolicy = ""
    build: bool = False
    build_auto: bool = False
    """Build where an input of an image has changed."""
    no_build: bool = False
    quiet_build: bool = False
    quiet_pull: bool = False
    wait: bool = False
    wait_timeout: float = 0
    timeout: float | None = None
    """Grace in seconds for containers that must be stopped to be recreated; None: their own."""
    attach: bool = False
    """Also emit ``LogEvent`` and ``ExitEvent`` of the services until the stream is closed."""
    logs_since: int | None = None
    """ns; None: from now on. Of ``attach``: what an earlier engine did not get to show."""
    attach_services: tuple[str, ...] = ()
    no_attach: tuple[str, ...] = ()
    attach_dependencies: bool = False
    abort_on_container_exit: bool = False
    abort_on_container_failure: bool = False
    exit_code_from: str = ""


class DownRequest(ProjectRequest, frozen=True):
    dry_run: bool = False
    """As in :class:`UpRequest`."""
    volumes: bool = False
    remove_orphans: bool = False
    rmi: Literal["", "local", "all"] = ""
    timeout: float | None = None


class StopRequest(ProjectRequest, frozen=True):
    """``stop`` and ``restart``. ``interrupts``: this is Ctrl-C of an attached ``up``, which goes no further."""

    timeout: float | None = None
    no_deps: bool = False
    interrupts: bool = False


class StartRequest(ProjectRequest, frozen=True):
    wait: bool = False
    wait_timeout: float = 0


class KillRequest(ProjectRequest, frozen=True):
    signal: str = "SIGKILL"
    remove_orphans: bool = False


class RemoveRequest(ProjectRequest, frozen=True):
    """``rm``: stopped containers (``stop``: stop them first), with their anonymous volumes if ``volumes``."""

    stop: bool = False
    volumes: bool = False


class ScaleRequest(ProjectRequest, frozen=True):
    dry_run: bool = False
    """As in :class:`UpRequest`."""
    scale: dict[str, int] = {}
    no_deps: bool = False


class PullRequest(ProjectRequest, frozen=True):
    ignore_pull_failures: bool = False
    ignore_buildable: bool = False
    include_deps: bool = False
    policy: Literal["", "missing", "always"] = ""
    quiet: bool = False


class BuildRequest(ProjectRequest, frozen=True):
    """``build``: of the services with a build section. ``args`` go before those of the file."""

    args: dict[str, str] = {}
    no_cache: bool = False
    pull: bool = False
    quiet: bool = False
    with_dependencies: bool = False
    check: bool = False
    """Only look at Dockerfiles."""
    debug: bool = False
    """The containers of steps that fail stay, to be looked at."""
    shows_failed: bool = False
    """As in ``ImageBuild``."""
    explain: bool = False
    """Say of each step why it was done or not."""
    push: bool = False
    ssh: tuple[str, ...] = ()
    """Agents, as ``--ssh`` takes them."""
    provenance: str = ""
    sbom: str = ""


class RunRequest(Request, frozen=True):
    """``run``: makes (does not start) a one-off container; the client attaches, then starts it by its id."""

    project: ProjectSource
    service: str
    command: tuple[str, ...] = ()
    entrypoint: str | None = None
    env: tuple[str, ...] = ()
    env_from_file: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    name: str = ""
    user: str = ""
    working_dir: str = ""
    volumes: tuple[str, ...] = ()
    publish: tuple[str, ...] = ()
    service_ports: bool = False
    use_aliases: bool = False
    no_deps: bool = False
    remove: bool = False
    tty: bool = False
    console_size: tuple[int, int] = (0, 0)
    """Rows and columns of the terminal at first."""
    interactive: bool = True
    detach: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    pull: PullPolicy = ""
    build: bool = False
    quiet_build: bool = False
    quiet_pull: bool = False
    remove_orphans: bool = False


class LogsRequest(ProjectRequest, frozen=True):
    follow: bool = False
    tail: int | None = None
    since: int | None = None
    until: int | None = None
    index: int = 0


# What comes back: one JSON object a line (application/x-ndjson), told apart by "type".


class StepEvent(msgspec.Struct, frozen=True, kw_only=True, tag="step", omit_defaults=True):
    """Progress of one thing. ``status`` is what Docker Compose shows (Creating, Created, Starting, Started, Waiting,
    Healthy, Exited, Running, Recreate, Recreated, Stopping, Stopped, Removing, Removed, Killing, Killed, Pausing,
    Paused, Unpausing, Unpaused, Restarting, Pulling, Pulled, Building, Built, Cached, Skipped, Warning, Error)."""

    kind: Literal["Container", "Network", "Volume", "Image", "Build", "Config", "Secret"]
    name: str
    status: str
    text: str = ""
    """What is being waited for, the reason of a recreate, a layer's id ..."""
    time: int = 0
    current: int = 0
    total: int = 0
    """Bytes, while an image is pulled."""
    parent: str = ""
    service: str = ""
    """Of a step of a build while several images are built: whose it is."""


class LogEvent(msgspec.Struct, frozen=True, kw_only=True, tag="log", omit_defaults=True):
    """Lines of one stream that are there together: sent alone, each would cost more than all that is done for it."""

    service: str
    container: str
    number: int
    stream: Literal["stdout", "stderr"]
    times: list[int]
    """Of each line, ns."""
    text: str = ""
    """The lines, with their ends between them and none behind the last."""
    text64: str = ""
    """Instead of ``text`` when the bytes are not UTF-8: base64."""
    partial: bool = False
    """Of the last line no end was written (yet)."""


class ExitEvent(msgspec.Struct, frozen=True, kw_only=True, tag="exit", omit_defaults=True):
    service: str
    container: str
    number: int
    exit_code: int
    oom_killed: bool = False
    restarting: bool = False


class HookEvent(msgspec.Struct, frozen=True, kw_only=True, tag="hook", omit_defaults=True):
    """Lines that a post_start hook has written, as a LogEvent has them. They are in no log."""

    service: str
    container: str
    number: int
    stream: Literal["stdout"] = "stdout"
    times: list[int]
    text: str


class AttachedEvent(msgspec.Struct, frozen=True, kw_only=True, tag="attached"):
    """What was asked for stands, and logs follow: of these containers (service, container, number)."""

    containers: tuple[dict[str, Any], ...]


class StartedEvent(msgspec.Struct, frozen=True, kw_only=True, tag="started"):
    """All that an attached ``up`` was to bring up is up; what follows is only shown."""


class AbortingEvent(msgspec.Struct, frozen=True, kw_only=True, tag="aborting"):
    """A container's exit ends an attached ``up``."""

    container: str


class WarningEvent(msgspec.Struct, frozen=True, kw_only=True, tag="warning"):
    message: str


class FailedStepEvent(msgspec.Struct, frozen=True, kw_only=True, tag="failed-step", omit_defaults=True):
    """A step of a build has failed and is not over until its container is removed. Until then all that it was given
    (mounts, secrets) is there, and a start of the container starts a shell in it."""

    container: str
    """Its name."""
    place: str
    """File and line."""
    command: str
    """The instruction, on one line."""
    script: str = ""
    """What was to be done, when it is more than that line."""
    message: str
    """What the build is going to end with."""
    shell: tuple[str, ...] = ()
    """What starts; (): there is no shell in it."""


class ResultEvent(msgspec.Struct, frozen=True, kw_only=True, tag="result", omit_defaults=True):
    """The last line of a request that went well (which may still ask for a non-zero exit status)."""

    exit_status: int = 0
    data: Any = None


class ErrorEvent(msgspec.Struct, frozen=True, kw_only=True, tag="error", omit_defaults=True):
    """The last line of a request that failed."""

    message: str
    hint: str = ""
    locations: tuple[dict[str, Any], ...] = ()
    """Fields of ``runtime.errors.Location``, innermost first."""
    exit_status: int = 1
    errors: tuple[dict[str, Any], ...] = ()
    """The fields of each, when it is more than one thing that is wrong."""


Event = (
    StepEvent
    | LogEvent
    | ExitEvent
    | HookEvent
    | AttachedEvent
    | StartedEvent
    | AbortingEvent
    | WarningEvent
    | FailedStepEvent
    | ResultEvent
    | ErrorEvent
)
