"""``wait``: until a service's container ends."""

from __future__ import annotations

from composer.api.client import API
from composer.cli.arguments import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from composer.api.client import EngineClient
    from composer.cli.arguments import Arguments
    from composer.cli.session import Session


def run_wait(session: Session, arguments: Arguments) -> int:
    """The exit status is that of the first container to end; ``--down-project`` takes all down then."""
    from runtime.errors import ComposerError

    containers = [
        container
        for container in session.resolve(arguments.words)["Containers"]
        if container["Service"] in arguments.words
        and container["State"] in ("running", "paused", "restarting")
    ]
    if not containers:
        raise ComposerError(f'no containers for project "{_project(session)}"')
    ended, status = _first_exit(session, [container["Id"] for container in containers])
    session.write(f'container "{ended}" exited with status code {status}\n')
    if arguments.is_on("down-project"):
        session.perform("down", {})
    return status


def _project(session: Session) -> str:
    return str(session.resolve()["Name"])


def _first_exit(session: Session, ids: list[str]) -> tuple[str, int]:
    """Wait for all, a connection each; Docker Compose returns with the first that ends."""
    if len(ids) == 1:
        return ids[0], exit_status(session.client, ids[0])
    from queue import SimpleQueue
    from threading import Thread

    ended: SimpleQueue[tuple[str, int]] = SimpleQueue()
    for container in ids:
        client = session.connect()
        Thread(target=lambda c=client, i=container: ended.put((i, exit_status(c, i))), daemon=True).start()
    return ended.get()


def exit_status(client: EngineClient, container: str, condition: str = "not-running") -> int:
    """Wait for one container."""
    answer = client.request("POST", f"{API}/containers/{container}/wait", {"condition": condition}).json()
    return int(answer["StatusCode"])


COMMANDS = {
    "wait": Command(
        "wait SERVICE [SERVICE...] [OPTIONS]",
        "Wait until containers of services stop",
        run_wait,
        (Flag("down-project", help="Take the project down when the first container stops"),),
        at_least=1,
    )
}
