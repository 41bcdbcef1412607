"""``exec``: a command in a running container of a service."""

from __future__ import annotations

import os

from composer.api.client import API
from composer.cli.arguments import Arguments, Command, Flag, UsageError
from runtime.errors import ComposerError, InvalidArgument, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from typing import Any

    from composer.cli.session import Session


def run_exec(session: Session, arguments: Arguments) -> int:
    """Find the service's container, and run the command in it."""
    service, *words = arguments.words
    container = running_container(session, service, arguments.number("index") or 0)
    wants_tty = (
        not (arguments.is_on("no-tty") or arguments.is_on("no-TTY"))
        and arguments.is_on("tty")
        and os.isatty(0)
        and os.isatty(1)
    )
    config: dict[str, Any] = {
        "Cmd": words,
        "Tty": wants_tty and not arguments.is_on("detach"),
        "AttachStdin": not arguments.is_on("detach") and arguments.is_on("interactive"),
    }
    for field, value in (
        ("Env", resolve_env(arguments.list("env"), session.env)),
        ("User", arguments.text("user")),
        ("WorkingDir", arguments.text("workdir")),
        ("Privileged", arguments.is_on("privileged")),
    ):
        if value:
            config[field] = value
    try:
        return run_in(session, container["Id"], config, detach=arguments.is_on("detach"))
    except ComposerError as error:
        error.exit_status = start_failure(error.exit_status, detach=arguments.is_on("detach"))
        raise


def check_terminal(*, tty: bool, stdin: bool) -> None:
    """With a terminal in the container, what is typed has to come from one. Raises InvalidArgument."""
    if tty and stdin and not os.isatty(0):
        raise InvalidArgument("the input device is not a TTY")


def start_failure(status: int, *, detach: bool) -> int:
    """The status of ``exec`` for a command that could not be started: 125 is for ``container exec``."""
    if detach:
        return 1
    return 126 if status == 125 else status


def running_container(session: Session, service: str, index: int) -> dict[str, Any]:
    """The service's container with that number (0: its first that runs). Raises ComposerError when none runs."""
    # Naming the service would refuse it when it is not in the file; its containers are what matters here.
    project = session.resolve()
    containers = [c for c in project["Containers"] if c["Service"] == service and not c["OneOff"]]
    containers.sort(key=lambda c: c["Number"])
    alive = [c for c in containers if c["State"] in ("running", "paused", "restarting")]
    chosen = [c for c in alive if c["Number"] == index] if index else alive
    if chosen:
        found: dict[str, Any] = chosen[0]
        return found
    from runtime.nearest import nearest

    known = sorted({s["Name"] for s in project["Services"]} | {c["Service"] for c in project["Containers"]})
    profiles = project.get("Profiles", {}).get(service)
    if service not in known and profiles:
        raise NotFound(f'service "{service}" is not running', hint=inactive(service, profiles))
    if service not in known:
        close = nearest(service, known)
        hint = f"did you mean {close}?" if close else f"services: {', '.join(known)}" if known else ""
        raise NotFound(f'service "{service}" is not running', hint=hint)
    which = f" container #{index}" if index else ""
    hint = f"composer up -d {service} starts it"
    if alive:
        hint = f"these run: {', '.join(str(c['Number']) for c in alive)}"
    raise NotFound(f'service "{service}" is not running{which}', hint=hint)


def inactive(service: str, profiles: list[str]) -> str:
    """What to do about a service that no profile enables.

    >>> inactive("tool", ["debug"])
    'tool belongs to the profile debug: composer --profile debug up -d tool starts it'
    """
    return (
        f"{service} belongs to the profile {' or '.join(profiles)}: "
        f"composer --profile {profiles[0]} up -d {service} starts it"
    )


def resolve_env(entries: list[str], env: Any) -> list[str]:
    """``NAME=value`` as it is; ``NAME`` alone takes this command's variable, and nothing when there is none.
    Raises UsageError."""
    found = []
    for entry in entries:
        if not entry or entry[0] == "=":
            raise UsageError(
                f'invalid argument "{entry}" for "-e, --env" flag: invalid environment variable: {entry}',
                is_flag=True,
            )
        if "=" in entry:
            found.append(entry)
        elif entry in env:
            found.append(f"{entry}={env[entry]}")
    return found


def run_in(session: Session, container: str, config: dict[str, Any], *, detach: bool) -> int:
    """Make an exec (Docker's ExecConfig) in a container, converse with it, and return its exit status."""
    config |= {"AttachStdout": not detach, "AttachStderr": not detach}
    if config["Tty"] and config["AttachStdin"] and not config.get("DetachKeys"):
        from composer.cli.project.attach import usual_detach_keys

        config["DetachKeys"] = usual_detach_keys(session)
    client = session.client
    if detach:
        exec_id = _make(session, container, config)
        client.request("POST", f"{API}/exec/{exec_id}/start", body={"Detach": True})
        return 0
    tty, stdin, detach_keys = config["Tty"], config["AttachStdin"], config.get("DetachKeys", "")
    exec_id = os.urandom(32).hex()
    path = f"/composer/v1/containers/{container}/exec"
    body = config | ({"ConsoleSize": _window()} if tty else {})
    try:
        conversation = client.hijack("POST", path, {"id": exec_id}, body)
    except NotFound as error:
        if error.message != "page not found":
            raise
        # An engine of an older version that is at work for others.
        exec_id = _make(session, container, config)
        return run_exec_in(session, exec_id, tty=tty, stdin=stdin, detach_keys=detach_keys)
    return _converse(session, exec_id, *conversation, tty=tty, stdin=stdin, detach_keys=detach_keys)


def _make(session: Session, container: str, config: dict[str, Any]) -> str:
    made = session.client.request("POST", f"{API}/containers/{container}/exec", body=config).json()
    return str(made["Id"])


def run_exec_in(session: Session, exec_id: str, *, tty: bool, stdin: bool, detach_keys: str = "") -> int:
    """Start an exec that was made, converse with it, and return its exit status. Raises Detached when it is left."""
    start: dict[str, Any] = {"Detach": False, "Tty": tty}
    if tty:
        start["ConsoleSize"] = _window()
    conversation = session.client.hijack("POST", f"{API}/exec/{exec_id}/start", {"refuses": True}, start)
    return _converse(session, exec_id, *conversation, tty=tty, stdin=stdin, detach_keys=detach_keys)


def _window() -> list[int]:
    from composer.cli.terminals.terminal import size

    columns, rows = size(0)
    return [rows, columns]


def _converse(
    session: Session,
    exec_id: str,
    connection: socket,
    received: bytes,
    *,
    tty: bool,
    stdin: bool,
    detach_keys: str,
) -> int:
    """With an exec that runs, to its end, whatever becomes of the engine: its exit status. Raises Detached when it is
    left."""
    from composer.cli.terminals.streams import Account, Detached, converse

    def resize(rows: int, columns: int) -> None:
        session.client.request("POST", f"{API}/exec/{exec_id}/resize", {"h": rows, "w": columns})

    is_cut, account = False, Account()
    while True:
        try:
            is_detached = converse(
                connection,
                received,
                tty=tty,
                stdin=stdin and not is_cut,
                resize=resize if tty else None,
                detach_keys=detach_keys,
                account=account,
            )
        finally:
            connection.close()
        if is_detached:
            raise Detached
        if account.status:
            return int(account.status)
        state = _state_of(session, exec_id)
        if not state["Running"] and not state.get("OutputLeft"):
            status = int(state["ExitCode"] or 0)
            if is_cut and account.has_input():
                raise ComposerError(
                    f"the engine was killed while the command read its input, which may have been cut short; "
                    f"the command ended with {status}",
                    exit_status=status or 1,
                )
            return status
        # The engine was killed under it. What was given and is not a terminal's has ended with it.
        is_cut = stdin and not tty
        connection, received = session.client.hijack("POST", f"/composer/v1/exec/{exec_id}/again")


def _state_of(session: Session, exec_id: str) -> dict[str, Any]:
    """What became of an exec whose streams have ended, from this engine or the one that takes its place."""
    from runtime.errors import ConnectionLost

    path = f"{API}/exec/{exec_id}/json"
    try:
        found: dict[str, Any] = session.client.request("GET", path).json()
        return found
    except (OSError, ConnectionLost):
        if not session.is_engine_wanted():
            raise
    except NotFound:
        raise _unknown() from None
    from composer.cli.endurance import lasting_request

    session.forget_connection()
    try:
        found = lasting_request(session, "GET", path).json()
        return found
    except NotFound:
        raise _unknown() from None


def _unknown() -> ComposerError:
    return ComposerError(
        "how the command ended is not known: the engine was killed while it ran, and the container has ended",
        exit_status=137,
    )


COMMANDS = {
    "exec": Command(
        "exec [OPTIONS] SERVICE COMMAND [ARGS...]",
        "Execute a command in a running container",
        run_exec,
        (
            Flag("detach", "d", help="Run the command in the background"),
            Flag("env", "e", "stringArray", "Set environment variables"),
            Flag("index", kind="int", help="Which container, when the service has several"),
            Flag("interactive", "i", help="Keep standard input open", default="true", is_hidden=True),
            Flag(
                "no-tty",
                "T",
                help="No pseudo-terminal; the default is one when stdin and stdout are terminals",
            ),
            Flag("no-TTY", help="Same as --no-tty", is_hidden=True),
            Flag("privileged", help="Give the process all privileges"),
            Flag("tty", "t", help="A pseudo-terminal", default="true", is_hidden=True),
            Flag("user", "u", "string", "Run the command as this user"),
            Flag("workdir", "w", "string", "Directory in which the command runs"),
        ),
        at_least=2,
        is_interspersed=False,
    )
}
