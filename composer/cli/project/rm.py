"""``rm``: remove stopped containers."""

from __future__ import annotations

from composer.cli.arguments import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from composer.cli.arguments import Arguments
    from composer.cli.session import Session


def run_rm(session: Session, arguments: Arguments) -> int:
    """Ask first when somebody is there to answer, unless ``--force``."""
    services = set(arguments.words)
    project = session.resolve(arguments.words)
    alive = () if arguments.is_on("stop") else ("running", "paused", "restarting")
    chosen = sorted(
        c["Name"].removeprefix("/")
        for c in project["Containers"]
        if (not services or c["Service"] in services) and c["State"] not in alive and not c["OneOff"]
    )
    if not chosen:
        session.write_status("No stopped containers\n")
        return 0
    if arguments.is_on("force"):
        session.write(f"Going to remove {', '.join(chosen)}\n")
    else:
        session.write(f"? Going to remove {', '.join(chosen)} (y/N) ")
        try:
            answer = input().strip().lower()
        except EOFError:
            answer = ""
            session.write("\n")
        if answer not in ("y", "yes"):
            return 0
    body = {
        "services": arguments.words,
        "stop": arguments.is_on("stop"),
        "volumes": arguments.is_on("volumes"),
    }
    return session.perform("rm", body, title="Removing")


COMMANDS = {
    "rm": Command(
        "rm [OPTIONS] [SERVICE...]",
        "Remove stopped service containers",
        run_rm,
        (
            Flag("force", "f", help="Don't ask"),
            Flag("stop", "s", help="Stop the containers first"),
            Flag("volumes", "v", help="Remove their anonymous volumes, too"),
        ),
        details="Anonymous volumes stay unless -v is given; named ones always stay.",
    )
}
