"""``builder``: images from Dockerfiles, and what the build cache keeps."""

from __future__ import annotations

from composer.api.client import API
from composer.cli.arguments import Command, Flag, UsageError
from composer.cli.management.builder_unavailable import unavailable
from composer.cli.management.conventions import FILTER, FORCE, FORMAT, NO_TRUNC, QUIET
from composer.cli.management.image_build import build_command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from composer.cli.arguments import Arguments
    from composer.cli.session import Session

TITLES = {
    "ID": "ID", "Type": "TYPE", "Size": "SIZE", "LastUsedSince": "LAST USED", "Description": "DESCRIPTION",
    "CreatedSince": "CREATED", "UsageCount": "USAGE", "InUse": "IN USE", "Shared": "SHARED",
}  # fmt: skip
_SHOWN = 60
_SHORT = 12


def check_builder(arguments: Arguments) -> None:
    """Raises UsageError for another builder than there is."""
    if arguments.text("builder") not in ("", "default"):
        raise UsageError("--builder is not available in composer: there is one builder, the engine's")


def _entries(session: Session, arguments: Arguments) -> list[dict[str, Any]]:
    from composer.cli.management.conventions import parse_filters

    check_builder(arguments)
    filters = parse_filters(arguments.list("filter"))
    found: list[dict[str, Any]] = session.client.request(
        "GET", "/composer/v1/build/cache", {"filters": filters or None}
    ).json()
    return found


def run_ls(session: Session, arguments: Arguments) -> int:
    entries = _entries(session, arguments)
    if arguments.is_on("quiet"):
        full = arguments.is_on("no-trunc")
        session.write("".join(f"{entry['ID'] if full else entry['ID'][:_SHORT]}\n" for entry in entries))
        return 0
    _write_entries(session, arguments, entries, full=arguments.is_on("no-trunc"))
    return 0


def _write_entries(
    session: Session, arguments: Arguments, entries: list[dict[str, Any]], *, full: bool
) -> None:
    """As ``--format`` says."""
    from composer.api.durations import human_duration
    from composer.cli.output.tables import formatted
    from composer.cli.output.units import human_size, moment_of

    def since(text: str) -> str:
        moment = float(moment_of(text, int(session.started * 1e9), "time"))
        return f"{human_duration(session.started - moment)} ago"

    rows = [
        {
            "ID": entry["ID"] if full else entry["ID"][:_SHORT],
            "Type": entry["Type"],
            "Size": human_size(entry["Size"]),
            "LastUsedSince": since(entry["LastUsedAt"]),
            "CreatedSince": since(entry["CreatedAt"]),
            "Description": entry["Description"] if full else entry["Description"][:_SHOWN],
            "UsageCount": str(entry["UsageCount"]),
            "InUse": str(entry["InUse"]).lower(),
            "Shared": str(entry["Shared"]).lower(),
        }
        for entry in entries
    ]
    default = ("ID", "Type", "Size", "LastUsedSince", "Description")
    try:
        session.write(formatted(rows, TITLES, arguments.text("format"), default=default))
    except ValueError as error:
        raise UsageError(str(error)) from None


def _write_verbosely(entries: list[dict[str, Any]], session: Session) -> None:
    from composer.cli.output.units import human_size

    for entry in entries:
        fields = {**entry, "Size": human_size(entry["Size"])}
        session.write("".join(f"{key}:\t{value}\n" for key, value in fields.items() if value != []) + "\n")


def run_du(session: Session, arguments: Arguments) -> int:
    """Each kind of thing, then what all of it takes and what pruning would give back."""
    from composer.cli.output.tables import table
    from composer.cli.output.units import human_size

    entries = _entries(session, arguments)
    if arguments.text("format"):
        _write_entries(session, arguments, entries, full=True)
        return 0
    if arguments.is_on("verbose"):
        _write_verbosely(entries, session)
    else:
        kinds = sorted({entry["Type"] for entry in entries})
        rows = []
        for kind in kinds:
            of_kind = [entry for entry in entries if entry["Type"] == kind]
            rows.append((kind, str(len(of_kind)), human_size(sum(entry["Size"] for entry in of_kind))))
        session.write(table(("TYPE", "ENTRIES", "SIZE"), rows) + "\n")
    shared = sum(entry["Size"] for entry in entries if entry["Shared"])
    free = sum(entry["Size"] for entry in entries if not entry["Shared"] and not entry["InUse"])
    whole = sum(entry["Size"] for entry in entries)
    sums = (("Shared:", shared), ("Private:", whole - shared), ("Reclaimable:", free), ("Total:", whole))
    session.write("".join(f"{title:<13}{human_size(size)}\n" for title, size in sums))
    return 0


def run_prune(session: Session, arguments: Arguments) -> int:
    from composer.cli.management.conventions import confirm, parse_filters
    from composer.cli.output.units import human_size

    check_builder(arguments)
    everything = arguments.is_on("all")
    what = "all build cache" if everything else "the build cache that no image has, too"
    if not confirm(session, arguments, f"This will remove {what}."):
        return 0
    filters = parse_filters(arguments.list("filter"))
    query: dict[str, Any] = {"all": everything, "filters": filters or None}
    for name in ("keep-storage", "reserved-space", "max-used-space", "min-free-space"):
        if (size := arguments.number(name)) is not None:
            query[name] = str(size)
    known = (
        {entry["ID"]: entry for entry in _entries(session, arguments)} if arguments.is_on("verbose") else {}
    )
    answer = session.client.request("POST", f"{API}/build/prune", query).json()
    _write_verbosely([known[name] for name in answer["CachesDeleted"] or () if name in known], session)
    if deleted := answer["CachesDeleted"]:
        session.write("Deleted build cache objects:\n" + "".join(f"{entry}\n" for entry in deleted) + "\n")
    session.write(f"Total reclaimed space: {human_size(answer['SpaceReclaimed'])}\n")
    return 0


_KEEP = "Stop when no more than so much is left of what could be removed"
BUILDER = Flag("builder", kind="string", help="Set builder to use (there is one: default)", is_hidden=True)


def command(family: str, like: Command) -> Command:
    """A command of ``builder`` as a part of another family."""
    usage = f"{family} {like.usage.partition(' ')[2]}"
    return Command(usage, like.summary, like.run, like.flags, at_most=like.at_most)


DU = Command(
    "builder du [OPTIONS]",
    "Show how much the build cache takes",
    run_du,
    (BUILDER, FILTER, FORMAT, Flag("verbose", "v", help="Of each entry")),
    at_most=0,
)
PRUNE = Command(
    "builder prune [OPTIONS]",
    "Remove build cache",
    run_prune,
    (
        Flag("all", "a", help="Also what images have"),
        BUILDER,
        Flag(
            "filter",
            kind="filter",
            help="Only what meets a condition: until=24h, type=exec.cachemount ...",
        ),
        FORCE,
        Flag("keep-storage", kind="bytes", help=_KEEP),
        Flag("max-used-space", kind="bytes", help=_KEEP),
        Flag("min-free-space", kind="bytes", help="Stop when so much is free on the disk"),
        Flag("reserved-space", kind="bytes", help=_KEEP),
        Flag("verbose", help="Of each entry that is removed"),
    ),
    at_most=0,
)
COMMANDS = {
    "build": build_command("builder"),
    "du": DU,
    "ls": Command(
        "builder ls [OPTIONS]",
        "List what is in the build cache",
        run_ls,
        (BUILDER, FILTER, FORMAT, NO_TRUNC, QUIET),
        at_most=0,
    ),
    "prune": PRUNE,
    **unavailable("builder"),
}
