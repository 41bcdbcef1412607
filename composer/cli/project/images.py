"""``images``: the images of the project's containers."""

from __future__ import annotations

from composer.api.client import API
from composer.cli.arguments import Command, Flag, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from composer.cli.arguments import Arguments
    from composer.cli.session import Session

TITLES = ("CONTAINER", "REPOSITORY", "TAG", "PLATFORM", "IMAGE ID", "SIZE", "CREATED")


def run_images(session: Session, arguments: Arguments) -> int:
    from composer.cli.project.containers import plain_name

    containers = [
        container
        for container in session.resolve(arguments.words)["Containers"]
        if not arguments.words or container["Service"] in arguments.words
    ]
    containers.sort(key=plain_name)
    if arguments.is_on("quiet"):
        ids = dict.fromkeys(container["ImageID"].removeprefix("sha256:") for container in containers)
        session.write("".join(f"{image}\n" for image in ids))
        return 0
    known: dict[str, dict[str, Any]] = {}
    rows = [_row(session, container, known) for container in containers]
    layout = arguments.text("format")
    if layout == "json":
        from composer.api.plain_json import dumps

        session.write(dumps(rows).decode() + "\n")
        return 0
    if layout not in ("", "table"):
        raise UsageError(f'unsupported format "{layout}"', hint="table or json")
    from composer.api.durations import human_duration
    from composer.cli.output.tables import table
    from composer.cli.output.units import from_rfc3339, human_size

    cells = []
    for row in rows:
        made = from_rfc3339(row["Created"])
        age = f"{human_duration(session.started - made / 1e9)} ago" if made else "N/A"
        image = row["ID"].removeprefix("sha256:")[:12]
        cells.append(
            (
                row["ContainerName"],
                row["Repository"],
                row["Tag"],
                row["Platform"],
                image,
                human_size(row["Size"]),
                age,
            )
        )
    session.write(table(TITLES, cells, narrowest=20))
    return 0


def _row(session: Session, container: dict[str, Any], known: dict[str, dict[str, Any]]) -> dict[str, Any]:
    from composer.cli.project.containers import plain_name

    image_id = container["ImageID"]
    if image_id not in known:
        known[image_id] = session.client.request("GET", f"{API}/images/{image_id}/json").json()
    image = known[image_id]
    repository, tag = split_reference(container["Image"])
    platform = "/".join(filter(None, (image["Os"], image["Architecture"], image.get("Variant"))))
    return {
        "ID": image_id,
        "ContainerName": plain_name(container),
        "Repository": repository,
        "Tag": tag,
        "Platform": platform,
        "Size": image["Size"],
        "Created": image["Created"],
    }


def split_reference(text: str) -> tuple[str, str]:
    """Name and tag of a reference; ``<none>`` where there is none."""
    if "@" in text:
        return text.partition("@")[0], "<none>"
    name, colon, tag = text.rpartition(":")
    if not colon or "/" in tag:
        return text, "latest"
    return name, tag


COMMANDS = {
    "images": Command(
        "images [OPTIONS] [SERVICE...]",
        "List the images that the project's containers use",
        run_images,
        (
            Flag("format", kind="string", help='"table" or "json"', default="table"),
            Flag("quiet", "q", help="Ids only"),
        ),
    )
}
