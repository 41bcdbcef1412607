"""``container exec``, apart: it is short, and imports nothing that it does not need."""

from __future__ import annotations

from composer.api.client import quote
from composer.cli.arguments import Command, Flag
from composer.cli.management.conventions import DETACH_KEYS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from composer.cli.arguments import Arguments
    from composer.cli.session import Session


def run_exec(session: Session, arguments: Arguments) -> int:
    from composer.cli.management.container_options import env_lines
    from composer.cli.project.attach import check_detach_keys
    from composer.cli.project.exec import check_terminal, resolve_env, run_in, start_failure
    from runtime.errors import ComposerError

    name, *words = arguments.words
    is_detached = arguments.is_on("detach")
    if not is_detached:
        check_terminal(tty=arguments.is_on("tty"), stdin=arguments.is_on("interactive"))
    if arguments.has("detach-keys"):
        check_detach_keys(arguments.text("detach-keys"))
    env = [
        entry for path in arguments.list("env-file") for entry in resolve_env(env_lines(path), session.env)
    ]
    config: dict[str, Any] = {
        "Cmd": words,
        "Tty": arguments.is_on("tty"),
        "AttachStdin": arguments.is_on("interactive"),
        "Env": env + resolve_env(arguments.list("env"), session.env),
        "User": arguments.text("user"),
        "WorkingDir": arguments.text("workdir"),
        "Privileged": arguments.is_on("privileged"),
        "DetachKeys": arguments.text("detach-keys"),
    }
    try:
        return run_in(session, quote(name), config, detach=is_detached)
    except ComposerError as error:
        error.exit_status = start_failure(error.exit_status, detach=is_detached)
        raise


COMMANDS = {
    "exec": Command(
        "container exec [OPTIONS] CONTAINER COMMAND [ARG...]",
        "Run a command in a running container",
        run_exec,
        (
            Flag("detach", "d", help="In the background"),
            DETACH_KEYS,
            Flag("env", "e", "list", "Environment variable"),
            Flag("env-file", kind="list", help="File of environment variables"),
            Flag("interactive", "i", help="Keep the standard input open"),
            Flag("privileged", help="With all capabilities"),
            Flag("tty", "t", help="With a terminal"),
            Flag("user", "u", "string", "Run as: NAME|UID[:GROUP]"),
            Flag("workdir", "w", "string", "Working directory"),
        ),
        at_least=2,
        is_interspersed=False,
    ),
}
