"""``system df -v``: each image, container, volume and entry of the build cache, with its size."""

from __future__ import annotations

from composer.cli.arguments import UsageError
from composer.cli.management.image_list import image_rows
from composer.cli.management.system_df import own_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from composer.cli.session import Session

_TABLES = {
    "Images": ("Repository", "Tag", "ID", "CreatedSince", "Size", "SharedSize", "UniqueSize", "Containers"),
    "Containers": ("ID", "Image", "Command", "LocalVolumes", "Size", "RunningFor", "Status", "Names"),
    "Volumes": ("Name", "Links", "Size"),
    "BuildCache": ("ID", "CacheType", "Size", "CreatedSince", "LastUsedSince", "UsageCount", "Shared"),
}
_HEADINGS = {
    "Images": "Images space usage:",
    "Containers": "Containers space usage:",
    "Volumes": "Local Volumes space usage:",
}
_TITLES = {
    "Repository": "REPOSITORY", "Tag": "TAG", "ID": "CONTAINER ID", "CreatedSince": "CREATED", "Size": "SIZE",
    "SharedSize": "SHARED SIZE", "UniqueSize": "UNIQUE SIZE", "Containers": "CONTAINERS", "Image": "IMAGE",
    "Command": "COMMAND", "LocalVolumes": "LOCAL VOLUMES", "RunningFor": "CREATED", "Status": "STATUS",
    "Names": "NAMES", "Name": "VOLUME NAME", "Links": "LINKS", "CacheType": "CACHE TYPE", "LastUsedSince": "LAST USED",
    "UsageCount": "USAGE", "Shared": "SHARED",
}  # fmt: skip
_IDS = {"Images": "IMAGE ID", "BuildCache": "CACHE ID"}


def show_verbose(usage: dict[str, Any], session: Session, layout: str) -> None:
    """Tables, or as ``layout`` says one JSON object or a template over all. Raises InvalidArgument, UsageError."""
    is_table = layout in ("", "table")
    rows = verbose_rows(usage, session.started, full=not is_table)
    if is_table:
        session.write(_tables(rows, usage))
        return
    if layout.startswith("table "):
        raise UsageError("a table of one kind only: without --verbose")
    from composer.cli.terminals.terminal import for_stdout

    if layout == "json":
        from composer.api.plain_json import dumps

        named = {kind: [_named(row) for row in rows[kind]] for kind in rows}
        session.write(for_stdout(dumps(named).decode() + "\n"))
        return
    from composer.cli.output.templates import Template, TemplateError, refused, unescape

    try:
        session.write(for_stdout(Template(unescape(layout)).render(rows) + "\n"))
    except TemplateError as error:
        raise refused(error) from None


def verbose_rows(usage: dict[str, Any], now: float, *, full: bool) -> dict[str, list[dict[str, Any]]]:
    """The rows of each kind; ``now`` in seconds. Pure."""
    from composer.cli.management.container_views import container_row
    from composer.cli.management.volume import volume_row
    from composer.cli.output.units import human_size

    images = [row for image in usage["Images"] or [] for row in list(image_rows(image, now, full=full))[:1]]
    containers = [
        container_row(container, now, full=full) | {"Size": human_size(container.get("SizeRw", 0))}
        for container in usage["Containers"] or []
    ]
    volumes = [
        volume_row(volume)
        | {
            "Links": str(volume["UsageData"]["RefCount"]),
            "Size": human_size(max(0, volume["UsageData"]["Size"]), 4),
        }
        for volume in sorted(usage["Volumes"] or [], key=lambda volume: str(volume["Name"]))
    ]
    cache = [_cache_row(entry, now, full=full) for entry in usage.get("BuildCache") or ()]
    return {"Images": images, "Containers": containers, "Volumes": volumes, "BuildCache": cache}


def _cache_row(entry: dict[str, Any], now: float, *, full: bool) -> dict[str, str]:
    from composer.api.durations import human_duration
    from composer.cli.output.units import from_rfc3339, human_size

    def ago(text: str) -> str:
        return f"{human_duration(now - from_rfc3339(text) / 1e9)} ago"

    return {
        "ID": entry["ID"] if full else entry["ID"][:12],
        "Parent": "",
        "CacheType": entry["Type"],
        "Size": human_size(entry["Size"]),
        "CreatedAt": entry["CreatedAt"],
        "CreatedSince": ago(entry["CreatedAt"]),
        "LastUsedAt": entry["LastUsedAt"],
        "LastUsedSince": ago(entry["LastUsedAt"]),
        "UsageCount": str(entry["UsageCount"]),
        "InUse": str(entry["InUse"]).lower(),
        "Shared": str(entry["Shared"]).lower(),
        "Description": entry["Description"],
    }


def _tables(rows: dict[str, list[dict[str, Any]]], usage: dict[str, Any]) -> str:
    from composer.cli.output.tables import formatted
    from composer.cli.output.units import human_size

    parts = []
    for kind, fields in _TABLES.items():
        cache = human_size(sum(map(own_size, usage.get("BuildCache") or ())), 4)
        heading = _HEADINGS.get(kind, f"Build cache usage: {cache}")
        titles = _TITLES | {"ID": _IDS.get(kind, _TITLES["ID"])}
        parts.append(f"{heading}\n\n{formatted(rows[kind], titles, '', default=fields)}")
    return "\n".join(parts)


def _named(row: dict[str, Any]) -> dict[str, Any]:
    return dict(sorted((key, value) for key, value in row.items() if not callable(value)))
