"""``image ls``: the images of this machine as a table, a tree, JSON or in a template's words."""

from __future__ import annotations

from composer.api.client import API
from composer.cli.arguments import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from composer.cli.arguments import Arguments
    from composer.cli.session import Session

TITLES = {
    "Repository": "REPOSITORY", "Tag": "TAG", "Digest": "DIGEST", "ID": "IMAGE ID", "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT", "Size": "SIZE", "Containers": "CONTAINERS",
    "SharedSize": "SHARED SIZE", "UniqueSize": "UNIQUE SIZE", "VirtualSize": "SIZE",
}  # fmt: skip
_NONE = "<none>"
_RAW = (
    ("repository", "Repository"), ("tag", "Tag"), ("digest", "Digest"), ("image_id", "ID"), ("created_at", "CreatedAt"),
    ("virtual_size", "Size"),
)  # fmt: skip
_TREE_TITLES = ("IMAGE", "ID", "DISK USAGE", "CONTENT SIZE", "EXTRA")
_IN_USE = "U"


def run_ls(session: Session, arguments: Arguments) -> int:
    from composer.cli.management.conventions import parse_filters
    from composer.cli.output.tables import formatted

    filters = parse_filters(arguments.list("filter"))
    if arguments.words:
        filters.setdefault("reference", []).append(arguments.words[0])
    if arguments.is_on("tree"):
        return _show_tree(session, arguments, filters)
    images = session.client.request("GET", f"{API}/images/json", {"filters": filters or None}).json()
    full, layout = arguments.is_on("no-trunc"), arguments.text("format")
    has_digests = arguments.is_on("digests") or "{{.Digest}}" in layout
    rows = [
        row for image in images for row in image_rows(image, session.started, full=full, digests=has_digests)
    ]
    if arguments.is_on("quiet") and layout in ("", "table"):
        session.write("".join(f"{row['ID']}\n" for row in rows))
        return 0
    if layout == "raw":
        session.write(_raw(rows, quiet=arguments.is_on("quiet"), digests=arguments.is_on("digests")))
        return 0
    default = ["Repository", "Tag", "ID", "CreatedSince", "Size"]
    if arguments.is_on("digests"):
        default.insert(2, "Digest")
    try:
        session.write(formatted(rows, TITLES, layout, default=default))
    except ValueError as error:
        raise UsageError(str(error)) from None
    return 0


def image_rows(
    image: dict[str, Any], now: float, *, full: bool, digests: bool = False
) -> Iterator[dict[str, Any]]:
    """A row for each name of an image, with ``digests`` for each digest of a name; ``now`` in seconds. Pure."""
    from composer.api.durations import human_duration
    from composer.cli.output.units import human_size, local_time

    created, unknown = image["Created"], "N/A"
    shared = image.get("SharedSize", -1)
    common = {
        "Containers": str(image["Containers"]) if image.get("Containers", -1) >= 0 else unknown,
        "CreatedAt": local_time(created),
        "CreatedSince": f"{human_duration(now - created)} ago" if created > 0 else unknown,
        "ID": image["Id"] if full else short_id(image["Id"]),
        "SharedSize": human_size(shared, 4) if shared >= 0 else unknown,
        "Size": human_size(image["Size"]),
        "UniqueSize": human_size(image["Size"] - shared, 4) if shared >= 0 else unknown,
        "VirtualSize": human_size(image["Size"], 4),
    }
    for repository, tag, digest in _names(image, digests=digests):
        yield common | {"Repository": repository, "Tag": tag, "Digest": digest}


def _names(image: dict[str, Any], *, digests: bool) -> Iterator[tuple[str, str, str]]:
    """Repository, tag and digest of each row that an image has."""
    from composer.cli.project.images import split_reference

    known: dict[str, list[str]] = {}
    for text in image.get("RepoDigests") or ():
        repository, _, digest = text.partition("@")
        known.setdefault(repository, []).append(digest)
    tags = [split_reference(text) for text in image.get("RepoTags") or ()]
    for repository, tag in tags:
        for digest in (known.get(repository) if digests else None) or [_NONE]:
            yield repository, tag, digest
    for repository in known.keys() - {repository for repository, _ in tags}:
        for digest in known[repository] if digests else [_NONE]:
            yield repository, _NONE, digest
    if not tags and not known:
        yield _NONE, _NONE, _NONE


def short_id(image: str) -> str:
    return image.removeprefix("sha256:")[:12]


def _raw(rows: Iterable[dict[str, Any]], *, quiet: bool, digests: bool) -> str:
    if quiet:
        return "".join(f"image_id: {row['ID']}\n" for row in rows)
    fields = [(name, key) for name, key in _RAW if digests or key != "Digest"]
    return "".join("".join(f"{name}: {row[key]}\n" for name, key in fields) + "\n" for row in rows)


def _show_tree(session: Session, arguments: Arguments, filters: dict[str, list[str]]) -> int:
    from composer.cli.terminals.terminal import is_terminal, paint

    for flag, name in (
        ("quiet", "quiet"), ("no-trunc", "no-trunc"), ("digests", "show-digest"), ("format", "format"),
    ):  # fmt: skip
        if arguments.text(flag) if flag == "format" else arguments.is_on(flag):
            raise UsageError(f"--{name} is not yet supported with --tree")
    query = {"filters": filters or None, "manifests": True}
    images = session.client.request("GET", f"{API}/images/json", query).json()
    lines = tree(images, everything=arguments.is_on("all") or "dangling" in filters)
    bold = "1" if is_terminal(1) and session.colours(1) else ""
    heading, *rest = lines
    session.write(f"{paint(heading, bold)}\n" + "".join(f"{line}\n" for line in rest))
    return 0


def tree(images: Sequence[dict[str, Any]], *, everything: bool) -> list[str]:
    """Lines: each image with its names, and below it what it has for which platform; those without a name only when
    ``everything`` is wanted. Pure."""
    from composer.cli.output.units import human_size

    rows: list[tuple[str, ...]] = []
    shown = [image for image in images if everything or image.get("RepoTags")]
    has_children = any(image.get("Manifests") for image in shown)
    for number, image in enumerate(shown):
        if number and has_children:
            rows.append(("", "", "", "", ""))
        names = sorted(image.get("RepoTags") or ()) or ["<untagged>"]
        manifests = [one for one in image.get("Manifests") or () if one.get("Kind", "image") == "image"]
        content = human_size(sum(one["Size"]["Content"] for one in manifests))
        total = human_size(sum(one["Size"]["Total"] for one in manifests) or image["Size"])
        used = _IN_USE if image.get("Containers", 0) > 0 else ""
        rows += [(name, "", "", "", "") for name in names[:-1]]
        rows.append((names[-1], short_id(image["Id"]), total, content, used))
        for position, one in enumerate(manifests, 1):
            platform = one["ImageData"]["Platform"]
            words = (platform["os"], platform["architecture"], platform.get("variant", ""))
            branch = "└─ " if position == len(manifests) else "├─ "
            rows.append(
                (
                    branch + "/".join(filter(None, words)),
                    short_id(one["ID"]),
                    human_size(one["Size"]["Total"]),
                    human_size(one["Size"]["Content"]),
                    _IN_USE if one["ImageData"]["Containers"] else "",
                )
            )
    widths = [max(len(row[column]) for row in (_TREE_TITLES, *rows)) for column in range(5)]
    return [
        "   ".join(
            text.rjust(width) if column in (2, 3) and row is not _TREE_TITLES else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (_TREE_TITLES, *rows)
    ]
