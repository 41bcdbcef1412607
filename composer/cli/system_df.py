"""``system df``: what takes how much room on the disk, and what could be given back."""

from __future__ import annotations

from composer.api.client import API
from composer.cli.arguments import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from composer.cli.arguments import Arguments
    from composer.cli.session import Session

_TITLES = {
    "Type": "TYPE", "TotalCount": "TOTAL", "Active": "ACTIVE", "Size": "SIZE", "Reclaimable": "RECLAIMABLE",
}  # fmt: skip
_ALIVE = ("running", "paused", "restarting")


def run_df(session: Session, arguments: Arguments) -> int:
    layout = arguments.text("format")
    usage = session.client.request("GET", f"{API}/system/df").json()
    if arguments.is_on("verbose"):
        if layout not in ("", "table"):
            raise UsageError(
                "--format cannot be used with --verbose: `docker` clients can ask the API for JSON"
            )
        session.write(_verbose(usage, session))
        return 0
    from composer.cli.tables import formatted

    try:
        session.write(formatted(summary(usage), _TITLES, layout, default=list(_TITLES)))
    except ValueError as error:
        raise UsageError(str(error)) from None
    return 0


def summary(usage: dict[str, Any]) -> list[dict[str, str]]:
    """A row for each kind of thing. Pure."""
    images, containers, volumes = (usage[kind] or [] for kind in ("Images", "Containers", "Volumes"))
    return [
        _row(
            "Images",
            images,
            lambda image: bool(image.get("Containers")),
            usage.get("LayersSize", 0),
            usage.get("ImagesReclaimable", 0),
        ),
        _row_of("Containers", containers, lambda c: c["State"] in _ALIVE, lambda c: c.get("SizeRw", 0)),
        _row_of(
            "Local Volumes",
            volumes,
            lambda volume: bool(volume["UsageData"]["RefCount"]),
            lambda volume: max(0, volume["UsageData"]["Size"]),
        ),
        _row_of("Build Cache", usage.get("BuildCache") or [], lambda b: b["InUse"], lambda b: b["Size"]),
    ]


def _row_of(
    kind: str, every: list[Any], is_used: Callable[[Any], bool], size: Callable[[Any], int]
) -> dict[str, str]:
    free = sum(size(item) for item in every if not is_used(item))
    return _row(kind, every, is_used, sum(map(size, every)), free)


def _row(
    kind: str, every: Iterable[Any], is_used: Callable[[Any], bool], whole: int, free: int
) -> dict[str, str]:
    from composer.cli.units import human_size

    things = list(every)
    share = f" ({free * 100 // whole}%)" if whole else ""
    return {
        "Type": kind,
        "TotalCount": str(len(things)),
        "Active": str(sum(map(is_used, things))),
        "Size": human_size(whole, 4),
        "Reclaimable": human_size(free, 4) + share,
    }


def _verbose(usage: dict[str, Any], session: Session) -> str:
    from composer.cli.images import split_reference
    from composer.cli.tables import table
    from composer.cli.units import human_duration, human_size

    def age(item: dict[str, Any]) -> str:
        return f"{human_duration(session.started - item['Created'])} ago" if item["Created"] > 0 else "N/A"

    images = []
    for image in usage["Images"] or []:
        repository, tag = split_reference((image.get("RepoTags") or ["<none>:<none>"])[0])
        shared = max(0, image.get("SharedSize", 0))
        unique = human_size(image["Size"] - shared, 4)
        size = human_size(image["Size"])
        users = str(image.get("Containers", 0))
        images.append(
            (repository, tag, image["Id"][7:19], age(image), size, human_size(shared, 4), unique, users)
        )
    containers = [
        (
            c["Id"][:12],
            c["Image"],
            f'"{c["Command"]}"',
            str(sum(mount.get("Type") == "volume" for mount in c.get("Mounts") or ())),
            human_size(c.get("SizeRw", 0)),
            age(c),
            c["Status"],
            c["Names"][0].removeprefix("/"),
        )
        for c in usage["Containers"] or []
    ]
    volumes = [
        (v["Name"], str(v["UsageData"]["RefCount"]), human_size(max(0, v["UsageData"]["Size"])))
        for v in usage["Volumes"] or []
    ]
    parts = (
        (
            "Images",
            ("REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "SHARED SIZE", "UNIQUE SIZE", "CONTAINERS"),
            images,
        ),
        (
            "Containers",
            ("CONTAINER ID", "IMAGE", "COMMAND", "LOCAL VOLUMES", "SIZE", "CREATED", "STATUS", "NAMES"),
            containers,
        ),
        ("Local Volumes", ("VOLUME NAME", "LINKS", "SIZE"), sorted(volumes)),
    )
    return "\n".join(f"{title} space usage:\n\n{table(titles, rows)}" for title, titles, rows in parts)
