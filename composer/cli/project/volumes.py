"""``volumes``: the project's volumes."""

from __future__ import annotations

from composer.api.client import API
from composer.cli.arguments import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from composer.cli.arguments import Arguments
    from composer.cli.session import Session


def run_volumes(session: Session, arguments: Arguments) -> int:
    from composer.api.plain_json import dumps
    from composer.cli.management.volume import write_volumes

    project = session.resolve(arguments.words)
    filters = dumps({"label": [f"com.docker.compose.project={project['Name']}"]}).decode()
    found = session.client.request("GET", f"{API}/volumes", {"filters": filters}).json()["Volumes"] or []
    if arguments.words:
        used = {m for c in project["Containers"] if c["Service"] in arguments.words for m in c["Mounts"]}
        found = [volume for volume in found if volume["Name"] in used]
    found.sort(key=lambda volume: volume["Name"])
    return write_volumes(session, arguments, found)


COMMANDS = {
    "volumes": Command(
        "volumes [OPTIONS] [SERVICE...]",
        "List the project's volumes",
        run_volumes,
        (
            Flag(
                "format",
                kind="string",
                help='"table", "json", "table TEMPLATE" or a Go template',
                default="table",
            ),
            Flag("quiet", "q", help="Names only"),
        ),
    )
}
