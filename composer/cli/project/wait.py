"""``wait``: until the containers of services have ended."""

from __future__ import annotations

from composer.api.client import API
from composer.cli.arguments import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from composer.api.client import EngineClient
    from composer.cli.arguments import Arguments
    from composer.cli.session import Session


def run_wait(session: Session, arguments: Arguments) -> int:
    """Until all have ended; the exit status is that of the last. ``--down-project`` takes all down then."""
    from runtime.errors import ComposerError

    named = [c for c in session.resolve(arguments.words)["Containers"] if c["Service"] in arguments.words]
    containers = [c for c in named if c["State"] in ("running", "paused", "restarting")]
    if not containers:
        ended = [c for c in named if c["State"] in ("exited", "dead")]
        raise ComposerError(
            f'no containers for project "{_project(session)}"',
            hint="\n".join(f"{c['Name']} has ended already, with status {c['ExitCode']}" for c in ended),
        )
    status = 0
    for container, status in _exits(session, [container["Id"] for container in containers]):
        session.write(f'container "{container}" exited with status code {status}\n')
    if arguments.is_on("down-project"):
        session.perform("down", {})
    return status


def _project(session: Session) -> str:
    return str(session.resolve()["Name"])


def _exits(session: Session, ids: list[str]) -> Iterator[tuple[str, int]]:
    """Containers and their statuses as they end. Waits for all at once, with a connection each."""
    from queue import SimpleQueue
    from threading import Thread

    ended: SimpleQueue[tuple[str, int] | Exception] = SimpleQueue()

    def wait(client: EngineClient, container: str) -> None:
        try:
            ended.put((container, exit_status(client, container)))
        except Exception as error:
            ended.put(error)

    for container in ids:
        Thread(target=wait, args=(session.connect(), container), daemon=True).start()
    for _ in ids:
        found = ended.get()
        if isinstance(found, Exception):
            raise found
        yield found


def exit_status(client: EngineClient, container: str, condition: str = "not-running") -> int:
    """Wait for one container."""
    answer = client.request("POST", f"{API}/containers/{container}/wait", {"condition": condition}).json()
    return int(answer["StatusCode"])


COMMANDS = {
    "wait": Command(
        "wait SERVICE [SERVICE...] [OPTIONS]",
        "Wait until containers of services stop",
        run_wait,
        (Flag("down-project", help="Take the project down when they have stopped"),),
        at_least=1,
    )
}
