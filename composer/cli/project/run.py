"""``run``: one command in a new container of a service."""

from __future__ import annotations

import os

from composer.api.client import API
from composer.cli.arguments import Command, Flag, UsageError
from composer.cli.project.up import PULL
from runtime.errors import ComposerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from composer.cli.arguments import Arguments
    from composer.cli.session import Session


def run_run(session: Session, arguments: Arguments) -> int:
    service, *command = arguments.words
    detach = arguments.is_on("detach")
    if detach and arguments.is_on("interactive") and arguments.has("interactive"):
        raise UsageError("--detach and --interactive are incompatible")
    if arguments.is_on("service-ports") and arguments.list("publish"):
        raise UsageError("--service-ports and --publish are incompatible")
    pull = arguments.text("pull")
    if pull and pull not in PULL:
        raise UsageError(f'invalid --pull option "{pull}"', hint="always, missing, never, build or policy")
    tty = (
        not (detach or arguments.is_on("no-TTY") or arguments.is_on("no-tty"))
        and os.isatty(0)
        and os.isatty(1)
    )
    from composer.cli.terminals.terminal import window

    labels = _labels(arguments.list("label"))
    body: dict[str, Any] = {
        "service": service,
        "command": command,
        "env": _environment(arguments.list("env"), session),
        "env_from_file": read_env_files(arguments.list("env-from-file"), session.env),
        "labels": labels,
        "name": arguments.text("name"),
        "user": arguments.text("user"),
        "working_dir": arguments.text("workdir"),
        "volumes": arguments.list("volume"),
        "publish": arguments.list("publish"),
        "service_ports": arguments.is_on("service-ports"),
        "use_aliases": arguments.is_on("use-aliases"),
        "no_deps": arguments.is_on("no-deps"),
        "remove": arguments.is_on("rm"),
        "tty": tty,
        "console_size": window(tty),
        "interactive": arguments.is_on("interactive") and not detach,
        "detach": detach,
        "cap_add": arguments.list("cap-add"),
        "cap_drop": arguments.list("cap-drop"),
        "quiet_pull": arguments.is_on("quiet-pull"),
        "build": arguments.is_on("build"),
        "quiet_build": arguments.is_on("quiet-build"),
        "remove_orphans": arguments.is_on("remove-orphans"),
    }
    if arguments.has("entrypoint"):
        body["entrypoint"] = arguments.text("entrypoint")
    if pull:
        body["pull"] = pull
    status, data = session.perform_for("run", body, quiet=arguments.is_on("quiet"), live=not tty)
    if status or not data:
        return status
    container = data["Id"]
    try:
        if detach:
            session.client.request("POST", f"{API}/containers/{container}/start")
            session.write(f"{container}\n")
            return 0
        from composer.cli.project.attach import converse_with

        return converse_with(session, container, stdin=body["interactive"], start=True)
    except ComposerError as error:
        error.exit_status = 1  # 125 to 127 are for `container run`
        raise


def _environment(entries: list[str], session: Session) -> list[str]:
    from composer.cli.project.exec import resolve_env

    return resolve_env(entries, session.env)


def read_env_files(paths: list[str], env: Mapping[str, str]) -> list[str]:
    """``NAME=value`` of the files in order, later ones win. Raises OSError, and ComposerError with the line."""
    if not paths:
        return []
    from composer.compose.dotenv import parse_dotenv
    from composer.compose.problem import Problem

    found: dict[str, str] = {}
    for path in paths:
        with open(path, "rb") as file:
            data = file.read()
        try:
            found |= parse_dotenv(data, path, env.get, found)
        except Problem as problem:
            line = f":{problem.at.line}" if problem.at else ""
            raise ComposerError(f"{path}{line}: {problem.message}", hint=problem.hint) from None
    return [f"{name}={value}" for name, value in found.items()]


def _labels(entries: list[str]) -> dict[str, str]:
    if any("=" not in entry for entry in entries):
        raise UsageError("label must be set as KEY=VALUE")
    return {key: value for key, _, value in (entry.partition("=") for entry in entries)}


COMMANDS = {
    "run": Command(
        "run [OPTIONS] SERVICE [COMMAND] [ARGS...]",
        "Run a one-off command of a service",
        run_run,
        (
            Flag("build", help="Build the image first"),
            Flag("cap-add", kind="list", help="Add a capability"),
            Flag("cap-drop", kind="list", help="Drop a capability"),
            Flag("detach", "d", help="Run in the background and print the container's id"),
            Flag("entrypoint", kind="string", help="Another entrypoint"),
            Flag(
                "env", "e", "stringArray", "Set an environment variable: NAME=value, or NAME for this shell's"
            ),
            Flag("env-from-file", kind="stringArray", help="Set the variables of a file"),
            Flag("interactive", "i", help="Keep the standard input open", default="true"),
            Flag("label", "l", "stringArray", "Add a label: KEY=value"),
            Flag("name", kind="string", help="Name of the container"),
            Flag("no-TTY", "T", help="Without a terminal (default: with one when this is one)"),
            Flag("no-tty", help="Same as --no-TTY", is_hidden=True),
            Flag("no-deps", help="Don't start what the service depends on"),
            Flag("publish", "p", "stringArray", "Publish a port"),
            Flag("pull", kind="string", help='Pull the image first ("always"|"missing"|"never")'),
            Flag("quiet", "q", help="No progress"),
            Flag("quiet-build", help="Build without output"),
            Flag("quiet-pull", help="Pull without progress"),
            Flag("remove-orphans", help="Remove containers of services that the file does not have"),
            Flag("rm", help="Remove the container when it ends"),
            Flag("service-ports", "P", help="Publish the service's ports"),
            Flag("tty", "t", help="With a terminal", default="true", is_hidden=True),
            Flag("use-aliases", help="Answer to the service's names on its networks"),
            Flag("user", "u", "string", "Run as a user: name or uid, with :group"),
            Flag("volume", "v", "stringArray", "Mount a volume or directory"),
            Flag("workdir", "w", "string", "Working directory"),
        ),
        at_least=1,
        is_interspersed=False,
    )
}
