"""``volume``: volumes of this machine."""

from __future__ import annotations

from composer.api.client import API, quote
from composer.cli.arguments import Command, Flag, UsageError
from composer.cli.management.conventions import FILTER, FORCE, FORMAT, INSPECT_FORMAT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from composer.cli.arguments import Arguments
    from composer.cli.session import Session

_CLUSTER = tuple(
    Flag(name, kind=kind, help="Of a cluster volume", refusal="there are no cluster volumes", is_hidden=True)
    for name, kind in (
        ("availability", "string"),
        ("group", "string"),
        ("limit-bytes", "bytes"),
        ("required-bytes", "bytes"),
        ("scope", "string"),
        ("secret", "map"),
        ("sharing", "string"),
        ("topology-preferred", "list"),
        ("topology-required", "list"),
        ("type", "string"),
    )
)

TITLES = {
    "Driver": "DRIVER", "Name": "VOLUME NAME", "Labels": "LABELS", "Mountpoint": "MOUNTPOINT", "Scope": "SCOPE",
    "Availability": "AVAILABILITY", "Group": "GROUP", "Links": "LINKS", "Size": "SIZE", "Status": "STATUS",
}  # fmt: skip


def volume_row(volume: dict[str, Any]) -> dict[str, str]:
    """A volume as Docker's ``--format`` has it: labels in one text, N/A for what only clusters know."""
    row = dict.fromkeys(("Availability", "Group", "Links", "Size", "Status"), "N/A")
    labels = ",".join(f"{key}={value}" for key, value in sorted((volume["Labels"] or {}).items()))
    return row | {
        "Driver": volume["Driver"],
        "Labels": labels,
        "Mountpoint": volume["Mountpoint"],
        "Name": volume["Name"],
        "Scope": volume["Scope"],
    }


def write_volumes(session: Session, arguments: Arguments, found: list[dict[str, Any]]) -> int:
    """The engine's volumes as ``--quiet`` and ``--format`` want them; the exit status. Raises UsageError."""
    from composer.cli.output.tables import formatted

    rows = list(map(volume_row, found))
    if arguments.is_on("quiet"):
        session.write("".join(f"{row['Name']}\n" for row in rows))
        return 0
    try:
        session.write(formatted(rows, TITLES, arguments.text("format"), default=("Driver", "Name")))
    except ValueError as error:
        raise UsageError(str(error)) from None
    return 0


def run_ls(session: Session, arguments: Arguments) -> int:
    from composer.cli.management.conventions import parse_filters
    from composer.cli.output.tables import natural

    filters = parse_filters(arguments.list("filter"))
    found = (
        session.client.request("GET", f"{API}/volumes", {"filters": filters or None}).json()["Volumes"] or []
    )
    found.sort(key=lambda volume: natural(volume["Name"]))
    return write_volumes(session, arguments, found)


def run_create(session: Session, arguments: Arguments) -> int:
    from composer.cli.management.network import labels, pairs

    body = {
        "Name": arguments.words[0] if arguments.words else "",
        "Driver": arguments.text("driver"),
        "DriverOpts": pairs(arguments.list("opt")),
        "Labels": labels(arguments.list("label")),
    }
    session.write(session.client.request("POST", f"{API}/volumes/create", body=body).json()["Name"] + "\n")
    return 0


def run_rm(session: Session, arguments: Arguments) -> int:
    from composer.cli.management.network import remove_each

    return remove_each(session, arguments, "volumes")


def run_inspect(session: Session, arguments: Arguments) -> int:
    from composer.cli.management.conventions import inspect_each

    return inspect_each(session, arguments, lambda name: f"{API}/volumes/{quote(name)}", "volume")


def run_prune(session: Session, arguments: Arguments) -> int:
    from composer.cli.management.conventions import confirm, parse_filters, show_pruned

    kind = "local" if arguments.is_on("all") else "anonymous local"
    if not confirm(
        session, arguments, f"This will remove {kind} volumes not used by at least one container."
    ):
        return 0
    filters = parse_filters(arguments.list("filter"))
    if arguments.is_on("all"):
        filters["all"] = ["true"]
    answer = session.client.request("POST", f"{API}/volumes/prune", {"filters": filters or None}).json()
    return show_pruned(session, answer)


_LS = Command(
    "volume ls [OPTIONS]",
    "List volumes",
    run_ls,
    (
        Flag("cluster", help="Cluster volumes", refusal="there are no cluster volumes", is_hidden=True),
        FILTER,
        FORMAT,
        Flag("quiet", "q", help="Names only"),
    ),
    at_most=0,
)
_RM = Command(
    "volume rm [OPTIONS] VOLUME [VOLUME...]",
    "Remove volumes",
    run_rm,
    (Flag("force", "f", help="Do not complain about one that is not there"),),
    at_least=1,
)
COMMANDS = {
    "create": Command(
        "volume create [OPTIONS] [VOLUME]",
        "Make a volume",
        run_create,
        (
            Flag("driver", "d", "string", "local", "local"),
            Flag("label", kind="list", help="Label: KEY=value"),
            Flag("opt", "o", "map", "Option of the driver: KEY=value"),
            *_CLUSTER,
        ),
        at_most=1,
    ),
    "inspect": Command(
        "volume inspect [OPTIONS] VOLUME [VOLUME...]",
        "Show all about volumes",
        run_inspect,
        (INSPECT_FORMAT,),
        at_least=1,
    ),
    "ls": _LS,
    "list": _LS,
    "prune": Command(
        "volume prune [OPTIONS]",
        "Remove unused volumes",
        run_prune,
        (
            Flag("all", "a", help="Also those with a name"),
            Flag("filter", kind="filter", help="Only those with a property"),
            FORCE,
        ),
        at_most=0,
    ),
    "rm": _RM,
    "remove": _RM,
    "update": Command(
        "volume update [OPTIONS] VOLUME",
        "Update a cluster volume",
        None,
        refusal="there are no cluster volumes",
    ),
}
