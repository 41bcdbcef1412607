"""One run of the command: global options, environment, output, and the way to the engine."""

from __future__ import annotations

import os
import sys
from time import monotonic, time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from composer.api.client import EngineClient
    from composer.cli.arguments import Arguments
    from composer.cli.output.progress import Renderer
    from runtime.errors import ComposerError

PROJECTS = "/composer/v1/projects"


class Session:
    """What every command has at hand. ``options`` are the global ones, ``started`` is when the command was given, in
    seconds since the epoch, ``began`` the same on a clock that nobody sets."""

    def __init__(self, options: Arguments, env: Mapping[str, str], started: float) -> None:
        self.options = options
        self.env = env
        self.started = started
        self.began = monotonic() - max(0.0, time() - started)
        self.is_debug = options.is_on("debug")
        self.is_dry_run = False
        self.takes_any_engine = False
        """An engine of an older version is not replaced: the command is about the engine as it is."""
        self.makes_room = True
        """An engine of an older version knows how to be replaced, as far as is known."""
        self.progress = options.text("progress")
        self.ansi = options.text("ansi") or env.get("COMPOSE_ANSI") or "auto"
        self._client: EngineClient | None = None
        self._warnings: set[str] = set()
        self.on_failed_step: Callable[[dict[str, Any]], None] | None = None
        """What is done about a FailedStepEvent."""

    # Output

    def write(self, text: str) -> None:
        """To stdout, at once."""
        sys.stdout.write(text)
        sys.stdout.flush()

    def write_line(self, text: str) -> None:
        """A line to stdout, at once; what a stranger wrote cannot steer a terminal."""
        from composer.cli.terminals.terminal import for_stdout

        self.write(for_stdout(f"{text}\n"))

    def write_status(self, text: str) -> None:
        """Progress: to stderr, or to stdout with COMPOSE_STATUS_STDOUT."""
        stream = sys.stdout if self._status_fd == 1 else sys.stderr
        stream.write(text)
        stream.flush()

    @property
    def _status_fd(self) -> int:
        return 1 if is_set(self.env, "COMPOSE_STATUS_STDOUT") else 2

    def colours(self, fd: int) -> bool:
        """Whether what goes to ``fd`` is coloured."""
        from composer.cli.terminals.terminal import wants_colour

        return wants_colour(fd, self.ansi, self.env)

    def warn(self, message: str) -> None:
        from composer.cli.output.progress import warning_line

        self.write_status(warning_line(message, colour=self.colours(self._status_fd), began=self.began))

    def progress_mode(self, *, quiet: bool = False, mode: str = "") -> str:
        """How steps are shown: ``mode``, ``--progress`` or COMPOSE_PROGRESS, else what fits the other end."""
        from composer.cli.terminals.terminal import is_terminal

        mode = mode or self.progress or self.env.get("COMPOSE_PROGRESS") or "auto"
        if quiet or mode == "quiet":
            return "quiet"
        if mode != "auto":
            return mode
        can_redraw = self.ansi != "never" and self.env.get("TERM") != "dumb"
        is_live = can_redraw and (self.ansi == "always" or is_terminal(self._status_fd))
        return "tty" if is_live else "plain"

    def shows_sentences(self, *, quiet: bool) -> bool:
        """Whether what is said of a whole can go to stdout while steps go elsewhere: not between the lines of a list
        that is redrawn on the same terminal."""
        from composer.cli.terminals.terminal import is_terminal

        mode = self.progress_mode(quiet=quiet)
        return mode == "plain" or (mode == "tty" and not is_terminal(1))

    def renderer(
        self, title: str = "Running", *, quiet: bool = False, live: bool = True, mode: str = ""
    ) -> Renderer:
        """What shows the steps of a request, as ``mode``, ``--progress`` or COMPOSE_PROGRESS says. ``live`` false:
        lines that can stand between other output."""
        from composer.cli.output import progress
        from composer.cli.terminals.terminal import size

        fd = self._status_fd
        mode = self.progress_mode(quiet=quiet, mode=mode)
        colour = self.colours(fd)
        if mode == "json":
            return progress.JsonRenderer(self.write_status)
        if mode == "rawjson":
            from composer.cli.output.raw_progress import RawJsonRenderer

            return RawJsonRenderer(self.write_status)
        if mode == "quiet":
            return progress.Renderer(self.write_status, colour=colour, began=self.began)
        if mode == "plain" or not live:
            is_coloured = colour and not live
            return progress.PlainRenderer(self.write_status, colour=is_coloured, began=self.began)
        if mode != "tty":
            from composer.cli.arguments import UsageError

            raise UsageError(f'unsupported --progress value "{mode}"', hint="auto, tty, plain, json or quiet")
        from composer.cli.output.live import LiveRenderer

        return LiveRenderer(self.write_status, lambda: size(fd), title=title, colour=colour, began=self.began)

    def trace(self, text: str) -> None:
        """``--debug``: one line with the milliseconds since the start."""
        if self.is_debug:
            sys.stderr.write(f"[{(monotonic() - self.began) * 1000:9.2f} ms] {text}\n")
            sys.stderr.flush()

    # The engine

    @property
    def client(self) -> EngineClient:
        """The connection to the engine, which is started when nobody listens."""
        if self._client is None:
            self._client = self.connect()
        return self._client

    def connect(self) -> EngineClient:
        """Another connection, for what happens at the same time."""
        from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_STREAM, socket

        from composer.api.client import EngineClient

        path = socket_path(self.env, os.geteuid())
        connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
        try:
            connection.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            self.trace("starting the engine")
            connection = self._start_engine()
        self.trace(f"connected to {path}")
        if not self.takes_any_engine and (version := self._older_version(path)):
            connection = self._replace_engine(path, connection, version)
        if self.is_debug:
            from composer.cli.tracing import TracedClient

            return TracedClient(path, connection, self.trace)
        return EngineClient(path, connection=connection)

    def _older_version(self, path: str) -> str:
        """The version of the engine that listens at ``path`` when it is older than this command, else ""."""
        from composer import __version__

        try:
            fd = os.open(_version_path(path), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return ""
        try:
            version = os.read(fd, 64).decode("ascii", "replace")
        finally:
            os.close(fd)
        if not version or version == __version__:
            return ""
        from composer.program import is_older

        return version if is_older(version, __version__) else ""

    def _replace_engine(self, path: str, connection: Any, version: str) -> Any:
        """Have one of this command's version take the place of an older engine; a connection to what is there then."""
        from composer.cli.succession import replace_engine

        self.takes_any_engine = True
        return replace_engine(self, path, connection, version)

    def compare_versions(self) -> None:
        """Say when the engine that answered is of another version than this command, and what to do."""
        if version := self.other_engine():
            from composer import __version__
            from composer.cli.succession import other_version

            self.warn(other_version(version, __version__, makes_room=self.makes_room))

    def other_engine(self) -> str:
        """The version of the engine that answered, when it is another one than this command's, else ""."""
        from composer import __version__

        name, _, rest = (self._client.server if self._client is not None else "").partition("/")
        version = rest.partition(" ")[0]
        return version if name == "composer" and version != __version__ else ""

    def is_engine_wanted(self) -> bool:
        """Whether an engine that is gone has died: one that ends on purpose takes its version away."""
        return os.path.exists(_version_path(socket_path(self.env, os.geteuid())))

    def engine_log(self) -> str:
        """The file."""
        from runtime.storage.paths import Paths

        return str(Paths.from_environment(self.env, os.geteuid()).engine_log)

    def forget_connection(self) -> EngineClient | None:
        """It belongs to somebody else: after a fork, or while it tells of something that goes on. Returns it."""
        forgotten, self._client = self._client, None
        return forgotten

    def _start_engine(self) -> Any:
        from composer.program import core_argv
        from runtime.container.bootstrap import ensure_engine
        from runtime.storage.paths import Paths

        paths = Paths.from_environment(self.env, os.geteuid())
        return ensure_engine(paths, core_argv(), self._tell_slow_start)

    def _tell_slow_start(self) -> None:
        """To people; others have no use for it."""
        if os.isatty(2):
            sys.stderr.write("Starting the engine ...\n")
            sys.stderr.flush()

    # The project

    def source(self) -> dict[str, Any]:
        """``ProjectSource``: which project the command is about."""
        options = self.options
        files = options.list("file")
        source: dict[str, Any] = {"cwd": os.getcwd(), "env": dict(self.env)}
        if files:
            source["files"] = files
        if "-" in files:
            source["stdin"] = sys.stdin.read()
        for field, value in (
            ("project_name", options.text("project-name")),
            ("project_directory", options.text("project-directory")),
            ("profiles", options.list("profile")),
            ("env_files", options.list("env-file")),
            ("parallel", self._parallel()),
            ("compatibility", options.is_on("compatibility") or is_set(self.env, "COMPOSE_COMPATIBILITY")),
        ):
            if value:
                source[field] = value
        return source

    def _parallel(self) -> int:
        """At most so many at once, 0 for no limit: ``--parallel``, else COMPOSE_PARALLEL_LIMIT."""
        if self.options.has("parallel"):
            return max(0, self.options.number("parallel") or 0)
        text = self.env.get("COMPOSE_PARALLEL_LIMIT", "")
        try:
            return max(0, int(text or 0))
        except ValueError:
            from runtime.errors import InvalidArgument

            raise InvalidArgument(
                f'COMPOSE_PARALLEL_LIMIT must be an integer (found: "{text}")', hint="-1 is no limit"
            ) from None

    def events(
        self, verb: str, body: dict[str, Any], client: EngineClient | None = None
    ) -> Iterator[dict[str, Any]]:
        """Post a request about the project (``project`` is filled in), and return what the engine says."""
        body.setdefault("project", self.source())
        return (client or self.client).stream("POST", f"{PROJECTS}/{verb}", body=body)

    def resolve(self, services: list[str] | tuple[str, ...] = ()) -> dict[str, Any]:
        """The project's name, services and containers."""
        body = {"project": self.source(), "services": list(services)}
        answer: dict[str, Any] = self.client.request("POST", f"{PROJECTS}/resolve", body=body).json()
        for warning in answer["Warnings"]:
            if not self.ignores(warning):
                self.warn(warning)
        return answer

    def perform(
        self,
        verb: str,
        body: dict[str, Any],
        *,
        title: str = "Running",
        quiet: bool = False,
        live: bool = True,
    ) -> int:
        """Post a request, render its steps, and return the exit status that it ends with. Raises
        ComposerError when it fails."""
        status, _ = self.perform_for(verb, body, title=title, quiet=quiet, live=live)
        return status

    def perform_for(
        self,
        verb: str,
        body: dict[str, Any],
        *,
        title: str = "Running",
        quiet: bool = False,
        live: bool = True,
    ) -> tuple[int, Any]:
        """As :meth:`perform`, with the data of the result."""
        from composer.cli.endurance import REPEATABLE, lasting_events

        renderer = self.renderer(title, quiet=quiet, live=live)
        news = f"the engine has died: the next one goes on with `composer {verb}`"
        try:
            for event in lasting_events(
                self,
                verb,
                body,
                lambda: (verb, body) if verb in REPEATABLE else None,
                short=60.0,
                on_next=lambda: renderer.warning(news),
            ):
                kind = event["type"]
                if kind == "step":
                    renderer.step(event)
                elif kind == "warning":
                    if not self.ignores(event["message"]):
                        renderer.warning(event["message"])
                elif kind == "failed-step" and self.on_failed_step is not None:
                    renderer.pause()
                    self.on_failed_step(event)
                elif kind == "result":
                    return event.get("exit_status", 0), event.get("data")
                elif kind == "error":
                    raise error_of(event)
        finally:
            renderer.close()
        raise _unfinished()

    def rehearse(self, verb: str, body: dict[str, Any]) -> int:
        """Post a request with ``dry_run`` and print the steps that it would take."""
        status, data = self.perform_for(verb, body | {"dry_run": True})
        self.write("".join(f"{step}\n" for step in data["Steps"]) or "nothing to do\n")
        return status

    def ignores(self, warning: str) -> bool:
        """What was said already, and orphans with COMPOSE_IGNORE_ORPHANS."""
        if warning in self._warnings:
            return True
        self._warnings.add(warning)
        return "orphan" in warning and is_set(self.env, "COMPOSE_IGNORE_ORPHANS")


def is_set(env: Mapping[str, str], name: str) -> bool:
    """A variable that switches something on (1, true, yes ...)."""
    return env.get(name, "").lower() in ("1", "t", "true", "y", "yes", "on")


def socket_path(env: Mapping[str, str], uid: int) -> str:
    """Where the engine listens: what ``runtime.storage.paths.Paths`` says, without its imports."""
    if root := env.get("COMPOSER_ROOT"):
        return os.path.join(os.path.abspath(root), "run", "engine.sock")
    if uid == 0:
        return "/run/composer/engine.sock"
    return os.path.join(env.get("XDG_RUNTIME_DIR") or f"/run/user/{uid}", "composer", "engine.sock")


def _version_path(socket: str) -> str:
    return f"{socket.removesuffix('.sock')}.version"


def error_of(event: dict[str, Any]) -> ComposerError:
    """The ComposerError of an ErrorEvent."""
    from runtime.errors import ComposerError, Location

    error = ComposerError(
        event["message"],
        hint=event.get("hint", ""),
        exit_status=event.get("exit_status", 1),
        locations=tuple(Location(**fields) for fields in event.get("locations", ())),
    )
    error.errors = tuple(error_of(one) for one in event.get("errors", ()))
    return error


def _unfinished() -> Exception:
    from runtime.errors import ComposerError

    return ComposerError(
        "the engine ended the request without a result", hint="`composer engine logs` tells what happened"
    )
