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
        from composer.cli.management.system_df_verbose import show_verbose

        show_verbose(usage, session, layout)
        return 0
    from composer.cli.output.tables import formatted

    try:
        session.write(formatted(summary(usage), _TITLES, layout, default=list(_TITLES)))
    except ValueError as error:
        raise UsageError(str(error)) from None
    return 0


def summary(usage: dict[str, Any]) -> list[dict[str, str]]:
    """A row for each kind of thing. What images and the build cache share counts as the images'. Pure."""
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
        _row_of("Build Cache", usage.get("BuildCache") or [], lambda b: b["InUse"], own_size),
    ]


def own_size(entry: dict[str, Any]) -> int:
    """Bytes of an entry of the build cache that no image has."""
    return 0 if entry["Shared"] else int(entry["Size"])


def _row_of(
    kind: str, every: list[Any], is_used: Callable[[Any], bool], size: Callable[[Any], int]
) -> dict[str, str]:
    free = sum(size(item) for item in every if not is_used(item))
    return _row(kind, every, is_used, sum(map(size, every)), free)


def _row(
    kind: str, every: Iterable[Any], is_used: Callable[[Any], bool], whole: int, free: int
) -> dict[str, str]:
    from composer.cli.output.units import human_size

    things = list(every)
    share = f" ({free * 100 // whole}%)" if whole else ""
    return {
        "Type": kind,
        "TotalCount": str(len(things)),
        "Active": str(sum(map(is_used, things))),
        "Size": human_size(whole, 4),
        "Reclaimable": human_size(free, 4) + share,
    }
