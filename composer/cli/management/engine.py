"""``engine``: the process behind all commands."""

from __future__ import annotations

import os

from composer.cli.arguments import Command, Flag, UsageError
from composer.cli.management.doctor import run_doctor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from composer.cli.arguments import Arguments
    from composer.cli.session import Session


def run_status(session: Session, arguments: Arguments) -> int:
    """What runs and where; 3 when nothing does."""
    session.takes_any_engine = True
    from composer.api.durations import human_duration
    from composer.cli.output.units import human_size

    if not is_running(session):
        session.write("The engine is not running; the next command starts it.\n")
        return 3
    status = session.client.request("GET", "/composer/v1/engine").json()
    if arguments.text("format") == "json":
        from composer.api.plain_json import dumps

        session.write(dumps(status).decode() + "\n")
        return 0
    containers = ", ".join(f"{count} {state}" for state, count in status["Containers"].items()) or "none"
    lines = {
        "Version": status["Version"],
        "Running for": human_duration(status.get("Uptime", session.started - status["StartedAt"] / 1e9)),
        "Core": f"pid {status['Pid']}, {human_size(status['Rss'])} of memory",
        "Keeper": f"pid {status['KeeperPid']}",
        "Containers": containers,
        "State": status["Root"],
        "Socket": status["Socket"],
        "Log": status["Log"],
        "cgroups": f"version {status['CgroupVersion']}",
    }
    session.write("".join(f"{name + ':':<13}{value}\n" for name, value in lines.items()))
    for wait in status.get("Waiting", ()):
        since = f", for {human_duration(wait['Seconds'])}" if wait["Seconds"] else ""
        session.write(f"Waiting:     {wait['Name']} waits for {wait['For']}{since}\n")
    for warning in status["Warnings"]:
        session.write(f"Warning: {warning}\n")
    return 0


def is_running(session: Session) -> bool:
    """Whether an engine listens, without starting one."""
    import socket

    from composer.cli.session import socket_path

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(socket_path(session.env, os.geteuid()))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True


def run_start(session: Session, arguments: Arguments) -> int:
    """Commands start it anyway; this is for after a reboot, so that restart policies take effect."""
    session.client.request("GET", "/composer/v1/engine")
    return 0


def run_stop(session: Session, arguments: Arguments) -> int:
    """Containers go on unless ``--all``."""
    session.takes_any_engine = True
    if not is_running(session):
        return 0
    if arguments.is_on("all"):
        from composer.api.client import API

        for container in session.client.request("GET", f"{API}/containers/json").json():
            session.client.request("POST", f"{API}/containers/{container['Id']}/stop")
            session.write_status(f"{container['Names'][0].removeprefix('/')} stopped\n")
    session.client.request("POST", "/composer/v1/engine/stop")
    from time import monotonic, sleep

    deadline = monotonic() + 20
    while is_running(session):
        if monotonic() > deadline:
            raise UsageError("the engine does not end", hint="`composer engine logs` may tell why")
        sleep(0.01)
    return 0


def run_logs(session: Session, arguments: Arguments) -> int:
    """The engine's own log, also when it does not run."""
    from runtime.storage.paths import Paths

    path = Paths.from_environment(session.env, os.geteuid()).engine_log
    try:
        with open(path, "rb") as file:
            lines = (_before(f"{path}.old") + file.read()).splitlines(keepends=True)
            tail = arguments.text("tail")
            if tail != "all":
                if not tail.isdecimal():
                    raise UsageError(f'invalid value for --tail: "{tail}"', hint="a number of lines, or all")
                lines = lines[-int(tail) :] if int(tail) else []
            session.write(b"".join(lines).decode("utf-8", "replace"))
            if arguments.is_on("follow"):
                from time import sleep

                while True:
                    if os.fstat(file.fileno()).st_size < file.tell():
                        file.seek(0)  # it was full and begins anew
                    if new := file.read():
                        session.write(new.decode("utf-8", "replace"))
                    sleep(0.2)
    except FileNotFoundError:
        raise UsageError(f"there is no log yet: {path}") from None
    return 0


def _before(path: str) -> bytes:
    """What the log had before it began anew; nothing when it has not."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def run_dump(session: Session, arguments: Arguments) -> int:
    """Everything the engine knows, as JSON, for a bug report."""
    session.takes_any_engine = True
    import json

    session.write(
        json.dumps(session.client.request("GET", "/composer/v1/engine/dump").json(), indent=2) + "\n"
    )
    return 0


_LOGS = Command(
    "engine logs [OPTIONS]",
    "Show the engine's own log",
    run_logs,
    (
        Flag("follow", "f", help="Go on with what is written from now on"),
        Flag("tail", "n", "string", "Lines from the end", "all"),
    ),
    at_most=0,
    needs_root=False,
)
COMMANDS = {
    "doctor": Command(
        "engine doctor [OPTIONS]",
        "Show what this machine lacks for the engine, and how to mend it",
        run_doctor,
        (Flag("format", kind="string", help='"json", or text without it'),),
        at_most=0,
        needs_root=False,
    ),
    "dump": Command("engine dump", "Show all that the engine knows, for bug reports", run_dump, at_most=0),
    "logs": _LOGS,
    "log": _LOGS,
    "start": Command(
        "engine start", "Start the engine, and what restart policies ask for", run_start, at_most=0
    ),
    "status": Command(
        "engine status [OPTIONS]",
        "Show whether and how the engine runs",
        run_status,
        (Flag("format", kind="string", help='"json", or text without it'),),
        at_most=0,
    ),
    "stop": Command(
        "engine stop [OPTIONS]",
        "End the engine; containers go on, without names of each other, probes and restarts until the next command",
        run_stop,
        (Flag("all", "a", help="Stop all containers first"),),
        at_most=0,
    ),
}
