"""``down``: stop and remove what ``up`` made."""

from __future__ import annotations

from composer.cli.arguments import Command, Flag, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from composer.cli.arguments import Arguments
    from composer.cli.session import Session


def run_down(session: Session, arguments: Arguments) -> int:
    rmi = arguments.text("rmi")
    if rmi not in ("", "all", "local"):
        raise UsageError(f"invalid value for --rmi: {rmi!r}", hint="all or local")
    body: dict[str, Any] = {
        "services": arguments.words,
        "volumes": arguments.is_on("volumes"),
        "remove_orphans": arguments.is_on("remove-orphans"),
        "rmi": rmi,
    }
    if arguments.number("timeout") is not None:
        body["timeout"] = arguments.number("timeout")
    return session.rehearse("down", body) if session.is_dry_run else session.perform("down", body)


COMMANDS = {
    "down": Command(
        "down [OPTIONS] [SERVICES]",
        "Stop and remove containers and networks",
        run_down,
        (
            Flag("remove-orphans", help="Remove containers of services that the file does not have"),
            Flag(
                "rmi",
                kind="string",
                help='Remove images of services, too: "all", or "local" for those without a name of their own',
            ),
            Flag("timeout", "t", "int", "Seconds until a container that does not stop is killed"),
            Flag(
                "volumes",
                "v",
                help="Remove the named volumes of the file and the anonymous ones of its containers",
            ),
        ),
    )
}
