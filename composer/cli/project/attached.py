"""Attached ``up``: progress, then the logs of all services together, until they end or Ctrl-C stops them."""

from __future__ import annotations

import os

from composer.cli.project.log_lines import LogPrinter, shown_name, writer_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType
    from typing import Any

    from composer.cli.arguments import Arguments
    from composer.cli.session import Session

INTERRUPTED = 130
SIGNALS = (2, 15)
"""SIGINT and SIGTERM (signal(7)): both stop what is shown."""
HOOK = "{} ->"
"""What the output of a container's hooks is called."""
QUIET_STEPS = frozenset({"Starting", "Started"})
"""What is not worth a line where logs follow."""


class _Interrupts:
    """Counts Ctrl-C: the first stops the project in a process of its own, the second kills it.

    SIGTERM stops it, too, but never kills: ``timeout`` and others send it twice at once, to the process and its group.
    """

    def __init__(self, session: Session, body: dict[str, Any], printer: LogPrinter) -> None:
        self.session = session
        self.body = body
        self.printer = printer
        self.count = 0
        self.stopper = 0
        self.shown: set[str] = set()
        """Services whose logs are shown: they stop, too, if only some are named."""
        self.is_all_up = False
        """All has been started; what follows is only shown."""

    def __call__(self, number: int, frame: FrameType | None) -> None:
        import signal

        if number == signal.SIGTERM and self.count:
            return
        self.count += 1
        self.printer.end_line()
        if self.count == 1:
            self.session.write_status("Gracefully Stopping... press Ctrl+C again to force\n")
            more = {"timeout": self.body["timeout"]} if "timeout" in self.body else {}
            self._fork("stop", more | {"interrupts": True})
        elif self.count == 2:
            self._fork("kill", {})

    @property
    def services(self) -> list[str]:
        """What is to stop; empty for all."""
        named = self.body["services"]
        return sorted({*named, *self.shown}) if named else []

    def _fork(self, verb: str, more: dict[str, Any]) -> None:
        """In a child, since this process goes on reading the logs: until all has ended, or the child has failed. What
        was not stopped runs on then, so the logs would have no end."""
        import signal

        from composer.cli.faults import describe
        from runtime.errors import ComposerError

        child = os.fork()
        if child:
            self.stopper = child
            return
        status, logs = 1, None
        try:
            for ignored in SIGNALS:
                signal.signal(ignored, signal.SIG_IGN)
            logs = self.session.forget_connection()
            body = {"project": self.body["project"], "services": self.services, **more}
            status = self.session.perform(verb, body, live=False)
        except ComposerError as error:
            self.session.write_status(f"{describe(error)}\n")
        except Exception as error:
            self.session.write_status(f"{error}\n")
        finally:
            if status and logs is not None:
                logs.cut()
            os._exit(status)

    def wait(self) -> None:
        """Until the stop that was begun has ended."""
        if self.stopper:
            try:
                os.waitpid(self.stopper, 0)
            except ChildProcessError:
                pass


def _events(session: Session, body: dict[str, Any], interrupts: _Interrupts) -> Iterator[dict[str, Any]]:
    """What the engine says. When it has died, the next one brings up the rest, or goes on with what is only shown; what
    is being stopped is over with it."""
    from time import time_ns

    from composer.cli.project.resuming import Shown, resumed
    from runtime.errors import ConnectionLost

    decides = body["abort_on_container_exit"] or body["abort_on_container_failure"] or body["exit_code_from"]

    def rest() -> tuple[str, dict[str, Any]] | None:
        if interrupts.count or (interrupts.shown and decides):
            return None
        if not interrupts.is_all_up:
            return "up", dict(body)
        services = sorted(interrupts.shown)
        return "logs", {"project": body["project"], "services": services, "follow": True}

    try:
        yield from resumed(session, "up", body, Shown(time_ns(), 0, has_tail=False), rest, short=60.0)
    except ConnectionLost:
        if not interrupts.count:
            raise


def _pass_over(number: int, frame: FrameType | None) -> None:
    """Not SIG_IGN: of a signal that comes just while that is set, the interpreter tells."""


def run_attached(session: Session, arguments: Arguments, body: dict[str, Any]) -> int:
    """Returns the exit status: of the service that was asked for, 130 after Ctrl-C."""
    import signal

    from composer.cli.session import error_of

    body.setdefault("project", session.source())
    colour = session.colours(1) and not arguments.is_on("no-color")
    printer = LogPrinter(
        writer_of(1),
        write_errors=writer_of(2),
        colour=colour,
        prefix=not arguments.is_on("no-log-prefix"),
        timestamps=arguments.is_on("timestamps"),
    )
    renderer = session.renderer("Running")
    interrupts = _Interrupts(session, body, printer)
    is_following = False
    before: dict[int, Any] = {}
    early: list[dict[str, Any]] = []
    """What hooks have written before anything is followed."""
    try:
        for event in _events(session, body, interrupts):
            kind = event["type"]
            if kind == "log":
                printer.log(event)
            elif kind == "hook":
                if is_following:
                    printer.log(event, HOOK)
                else:
                    early.append(event)
            elif kind == "exit":
                printer.exit(event)
            elif kind == "step":
                if event["status"] not in QUIET_STEPS:
                    printer.end_line()
                    renderer.step(event)
            elif kind == "warning":
                if not session.ignores(event["message"]):
                    renderer.warning(event["message"])
            elif kind == "attached":
                renderer.close()
                renderer = session.renderer("Running", live=False)
                names = [shown_name(container) for container in event["containers"]]
                for name in names:
                    printer.register(name)
                interrupts.shown = {container["service"] for container in event["containers"]}
                for number in SIGNALS:
                    before.setdefault(number, signal.signal(number, interrupts))
                # Who reads it may interrupt at once.
                if not is_following:
                    is_following = True
                    session.write(f"Attaching to {', '.join(names)}\n")
                    for hooked in early:
                        printer.log(hooked, HOOK)
            elif kind == "started":
                interrupts.is_all_up = True
            elif kind == "aborting":
                printer.end_line()
                session.write_status("Aborting on container exit...\n")
            elif kind == "result":
                interrupts.wait()
                return INTERRUPTED if interrupts.count else int(event.get("exit_status", 0))
            elif kind == "error":
                raise error_of(event)
        interrupts.wait()
        return INTERRUPTED if interrupts.count else 1
    except KeyboardInterrupt:
        if is_following:
            raise
        renderer.close()
        session.write_status("canceled\n")
        return INTERRUPTED
    finally:
        renderer.close()
        # What was interrupted has its exit status: more of the same, while it ends, does not take it away.
        for number, handler in before.items():
            signal.signal(number, _pass_over if interrupts.count else handler)
