"""``search``: images that a registry finds for a word."""

from __future__ import annotations

from composer.api.client import API
from composer.cli.arguments import Command, Flag, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from composer.cli.arguments import Arguments
    from composer.cli.session import Session

_TITLES = {
    "Name": "NAME", "Description": "DESCRIPTION", "StarCount": "STARS", "IsOfficial": "OFFICIAL",
    "IsAutomated": "AUTOMATED",
}  # fmt: skip


def run_search(session: Session, arguments: Arguments) -> int:
    from composer.cli.management.conventions import parse_filters
    from composer.cli.management.image_transfer import identity
    from composer.cli.output.tables import formatted
    from composer.cli.project.containers import shortened

    term = arguments.words[0]
    query = {
        "term": term,
        "limit": arguments.number("limit"),
        "filters": parse_filters(arguments.list("filter")) or None,
    }
    domain = term.partition("/")[0] if "/" in term else ""
    headers = identity(session, f"{domain}/x" if domain else "x")
    found = session.client.request("GET", f"{API}/images/search", query, headers=headers).json()
    full = arguments.is_on("no-trunc")
    rows = []
    for item in found:
        description = item["description"].replace("\n", " ").replace("\r", " ")
        rows.append(
            {
                "Name": item["name"],
                "Description": description if full else shortened(description, 45),
                "StarCount": str(item["star_count"]),
                "IsOfficial": "[OK]" if item["is_official"] else "",
                "IsAutomated": "[OK]" if item["is_automated"] else "",
            }
        )
    try:
        session.write(
            formatted(
                rows,
                _TITLES,
                arguments.text("format"),
                default=("Name", "Description", "StarCount", "IsOfficial"),
            )
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    return 0


FLAGS = (
    Flag("filter", "f", "filter", "Only what is-official=true, or has stars=NUMBER at least"),
    Flag("format", kind="string", help='"table", "json" or a Go template'),
    Flag("limit", kind="int", help="How many at most (1 to 100)", default="25"),
    Flag("no-trunc", help="Don't shorten anything"),
)

COMMANDS = {
    "search": Command(
        "search [OPTIONS] TERM",
        "Search a registry for images",
        run_search,
        FLAGS,
        at_least=1,
        at_most=1,
        details="REGISTRY/TERM searches another registry than Docker Hub.",
    )
}
