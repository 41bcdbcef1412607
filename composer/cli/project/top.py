"""``top``: the processes of the project's containers."""

from __future__ import annotations

from composer.api.client import API
from composer.cli.arguments import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from composer.cli.arguments import Arguments
    from composer.cli.session import Session


def run_top(session: Session, arguments: Arguments) -> int:
    from composer.cli.output.tables import table
    from composer.cli.project.containers import plain_name

    titles: list[str] = []
    rows: list[list[str]] = []
    containers = [
        container
        for container in session.resolve(arguments.words)["Containers"]
        if container["State"] in ("running", "paused")
        and (not arguments.words or container["Service"] in arguments.words)
    ]
    for container in sorted(containers, key=plain_name):
        found = session.client.request("GET", f"{API}/containers/{container['Id']}/top").json()
        titles = ["SERVICE", "#", *found["Titles"]]
        rows += [[container["Service"], str(container["Number"]), *row] for row in found["Processes"]]
    if titles:
        session.write(table(titles, rows, narrowest=4, gap=2))
    return 0


COMMANDS = {"top": Command("top [SERVICES...]", "Show the processes in containers", run_top)}
