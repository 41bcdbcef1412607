"""``debug``: a shell, or a command, with this machine's programs inside a container whose image has none."""

from __future__ import annotations

import os

from composer.api.client import API, quote
from composer.cli.arguments import Command, Flag
from runtime.errors import ComposerError, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from composer.cli.arguments import Arguments
    from composer.cli.session import Session

_KEPT = ("TERM", "LANG", "LC_ALL", "COLORTERM")
"""Variables of this terminal that go along."""


def run_debug(session: Session, arguments: Arguments) -> int:
    """Find the container, open it, and converse with what was started; its exit status."""
    from composer.cli.project.exec import resolve_env, run_exec_in, start_failure

    name, *words = arguments.words
    if arguments.has("command"):
        # The words after it are its $0, $1 ... as those of sh -c.
        words = ["-c", arguments.text("command"), *words]
        if shell := arguments.text("shell"):
            words.insert(0, shell)
    elif not words and (shell := arguments.text("shell")):
        words = [shell]
    container, shown = _find(session, name, arguments.number("index") or 0)
    tty = not (arguments.is_on("no-tty") or arguments.is_on("no-TTY")) and os.isatty(0) and os.isatty(1)
    from composer.cli.terminals.terminal import window

    prompt = rf"PS1=\[\e[1m\]{shown}\[\e[0m\]:\w\$ "
    env = [f"{key}={session.env[key]}" for key in _KEPT if key in session.env]
    body: dict[str, Any] = {
        "Cmd": words,
        "Env": [*env, prompt, *resolve_env(arguments.list("env"), session.env)],
        "User": arguments.text("user"),
        "WorkingDir": arguments.text("workdir"),
        "Privileged": arguments.is_on("privileged"),
        "Tty": tty,
        "ConsoleSize": window(tty),
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
    }
    opened = session.client.request(
        "POST", f"/composer/v1/containers/{quote(container)}/debug", body=body
    ).json()
    try:
        if "Exec" in opened:
            if tty:
                session.write_status(
                    f"{shown} runs; its own /usr is in /container/usr, the programs are this machine's.\n"
                )
            return run_exec_in(session, opened["Exec"], tty=tty, stdin=True)
        from composer.cli.project.attach import converse_with

        if tty:
            session.write_status(
                f"{shown} does not run: these are its files, and changes are kept in volumes and binds only.\n"
            )
        return converse_with(session, opened["Container"], stdin=True, start=True)
    except ComposerError as error:
        error.exit_status = start_failure(error.exit_status, detach=False)
        raise


def _find(session: Session, name: str, index: int) -> tuple[str, str]:
    """Id and name of the project's service's container (one that runs, if any does), or else of the container of that
    name. Raises ComposerError."""
    try:
        project = session.resolve()
    except ComposerError as error:
        if session.options.list("file"):
            raise
        unresolved: ComposerError | None = error
    else:
        unresolved = None
        found = [c for c in project["Containers"] if c["Service"] == name and not c["OneOff"]]
        found = [c for c in found if c["Number"] == index] if index else found
        found.sort(key=lambda c: (c["State"] not in ("running", "paused"), c["Number"]))
        if found:
            return found[0]["Id"], found[0]["Name"]
        if name in {s["Name"] for s in project["Services"]}:
            which = f" container #{index}" if index else " container"
            raise NotFound(f'service "{name}" has no{which}', hint=f"composer create {name} makes it")
    try:
        container = session.client.request("GET", f"{API}/containers/{quote(name)}/json").json()
    except NotFound as error:
        if unresolved is not None:
            raise NotFound(error.message, hint=f"nor is there a project here: {unresolved.message}") from None
        raise
    return container["Id"], container["Name"].removeprefix("/")


COMMANDS = {
    "debug": Command(
        "debug [OPTIONS] SERVICE|CONTAINER [COMMAND] [ARGS...]",
        "Look into a container with the programs of this machine",
        run_debug,
        (
            Flag("command", "c", "string", "Run this line of shell; the words after it are its arguments"),
            Flag("env", "e", "stringArray", "Set environment variables"),
            Flag("index", kind="int", help="Which container, when the service has several"),
            Flag(
                "no-tty",
                "T",
                help="No pseudo-terminal; the default is one when stdin and stdout are terminals",
            ),
            Flag("no-TTY", help="Same as --no-tty", is_hidden=True),
            Flag("privileged", help="With all capabilities and without a seccomp filter"),
            Flag("shell", kind="string", help="Shell (default: bash where this machine has it, else sh)"),
            Flag("user", "u", "string", "Run as this user of the container's (default: root)"),
            Flag("workdir", "w", "string", "Directory in which it starts"),
        ),
        at_least=1,
        is_interspersed=False,
    )
}
