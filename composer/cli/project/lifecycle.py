"""``start``, ``stop``, ``restart``, ``kill``, ``pause`` and ``unpause``."""

from __future__ import annotations

from composer.cli.arguments import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from composer.cli.arguments import Arguments
    from composer.cli.session import Session

_TIMEOUT = Flag("timeout", "t", "int", "Seconds until a container that does not stop is killed")


def _body(arguments: Arguments) -> dict[str, Any]:
    body: dict[str, Any] = {"services": arguments.words}
    if arguments.knows("timeout") and arguments.number("timeout") is not None:
        body["timeout"] = arguments.number("timeout")
    return body


def run_start(session: Session, arguments: Arguments) -> int:
    body = _body(arguments)
    if arguments.is_on("wait"):
        body |= {"wait": True, "wait_timeout": arguments.number("wait-timeout") or 0}
    return session.perform("start", body)


def run_stop(session: Session, arguments: Arguments) -> int:
    return session.perform("stop", _body(arguments), title="Stopping")


def run_restart(session: Session, arguments: Arguments) -> int:
    body = _body(arguments) | {"no_deps": arguments.is_on("no-deps")}
    return session.perform("restart", body, title="Restarting")


def run_kill(session: Session, arguments: Arguments) -> int:
    status, data = session.perform_for(
        "kill",
        _body(arguments)
        | {"signal": arguments.text("signal"), "remove_orphans": arguments.is_on("remove-orphans")},
        title="Killing",
    )
    if data and not data["Killed"]:
        session.write_status("no container to kill\n")
    return status


def run_pause(session: Session, arguments: Arguments) -> int:
    return session.perform("pause", _body(arguments), title="Pausing")


def run_unpause(session: Session, arguments: Arguments) -> int:
    return session.perform("unpause", _body(arguments), title="Unpausing")


COMMANDS = {
    "kill": Command(
        "kill [OPTIONS] [SERVICE...]",
        "Force services to stop",
        run_kill,
        (
            Flag("remove-orphans", help="Remove containers of services that the file does not have"),
            Flag("signal", "s", "string", "Signal to send", "SIGKILL"),
        ),
    ),
    "pause": Command("pause [SERVICE...]", "Freeze services", run_pause),
    "restart": Command(
        "restart [OPTIONS] [SERVICE...]",
        "Restart services",
        run_restart,
        (Flag("no-deps", help="Don't restart services that depend on them"), _TIMEOUT),
    ),
    "start": Command(
        "start [SERVICE...]",
        "Start services",
        run_start,
        (
            Flag("wait", help="Wait until services run or are healthy"),
            Flag("wait-timeout", kind="int", help="Seconds to wait at most"),
        ),
    ),
    "stop": Command("stop [OPTIONS] [SERVICE...]", "Stop services", run_stop, (_TIMEOUT,)),
    "unpause": Command("unpause [SERVICE...]", "Let frozen services go on", run_unpause),
}
