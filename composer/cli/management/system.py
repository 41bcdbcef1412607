"""``system``: what the engine keeps, and tidying it."""

from __future__ import annotations

from composer.api.client import API
from composer.cli.arguments import Command, Flag, UsageError
from composer.cli.management.conventions import FILTER, FORCE, FORMAT, INSPECT_FORMAT
from composer.cli.management.system_df import run_df

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from composer.cli.arguments import Arguments
    from composer.cli.session import Session


def run_fsck(session: Session, arguments: Arguments) -> int:
    """Problems to stdout; status 1 when some are left."""
    renderer = session.renderer("Checking")
    query = {"repair": arguments.is_on("repair")}
    problems: list[dict[str, Any]] = []
    left = 0
    try:
        for message in session.client.stream("POST", "/composer/v1/images/check", query):
            if "result" in message:
                left = message["result"]["problems"] - message["result"]["mended"]
                continue
            detail = message["progressDetail"]
            is_done = detail["current"] == detail["total"]
            renderer.step(
                {
                    "type": "step",
                    "kind": "Images",
                    "name": "",
                    "status": "Checked" if is_done else "Checking",
                    **detail,
                }
            )
            if "problem" in message:
                problems.append(message["problem"])
    finally:
        renderer.close()
    for problem in problems:
        state = " (mended)" if problem["is_mended"] else ""
        images = ", ".join(problem["images"])
        session.write(f"{problem['kind']} {problem['id']} {problem['what']}{state}: {images}\n")
        if problem["advice"]:
            session.write(f"  {problem['advice']}\n")
    if not problems:
        session.write("No problems found.\n")
    return 1 if left else 0


def run_info(session: Session, arguments: Arguments) -> int:
    from composer.api.plain_json import dumps, indented
    from composer.cli.output.templates import Template, TemplateError, refused

    found = session.client.request("GET", f"{API}/info").json()
    layout = arguments.text("format")
    if layout and layout != "json":
        try:
            session.write(Template(layout).render(found) + "\n")
        except TemplateError as error:
            raise refused(error) from None
    else:
        session.write((dumps(found).decode() if layout else indented(found, 2)) + "\n")
    return 0


def run_events(session: Session, arguments: Arguments) -> int:
    """What happens to anything that the engine looks after, until interrupted (or ``--until``)."""
    import json

    from composer.cli.management.conventions import parse_filters
    from composer.cli.output.templates import Template, TemplateError, refused
    from composer.cli.output.units import moment_of, rfc3339
    from composer.cli.terminals.terminal import for_stdout

    query: dict[str, Any] = {}
    if filters := parse_filters(arguments.list("filter")):
        query["filters"] = filters
    for field in ("since", "until"):
        if text := arguments.text(field):
            query[field] = moment_of(text, int(session.started * 1e9), field)
    layout = arguments.text("format")
    try:
        template = Template(layout) if layout and layout != "json" else None
        for event in session.client.stream("GET", f"{API}/events", query):
            if template is not None:
                line = template.render(event)
            elif layout:
                line = json.dumps(event, separators=(",", ":"), ensure_ascii=False)
            else:
                actor = event["Actor"]
                told = ", ".join(f"{key}={value}" for key, value in sorted(actor["Attributes"].items()))
                line = f"{rfc3339(event['timeNano'])} {event['Type']} {event['Action']} {actor['ID']}"
                line += f" ({told})" if told else ""
            session.write(for_stdout(line + "\n"))
    except TemplateError as error:
        raise refused(error) from None
    return 0


def run_prune(session: Session, arguments: Arguments) -> int:
    from composer.cli.management.conventions import confirm, parse_filters, show_pruned

    given = parse_filters(arguments.list("filter"))
    if "until" in given and arguments.is_on("volumes"):
        raise UsageError('The "until" filter is not supported with "--volumes"')
    everything = arguments.is_on("all")
    parts = ["all stopped containers", "all networks not used by at least one container"]
    parts.append(
        "all images without at least one container associated to them"
        if everything
        else "all dangling images"
    )
    if arguments.is_on("volumes"):
        parts.insert(2, "all anonymous volumes not used by at least one container")
    parts.append("all build cache" if everything else "unused build cache")
    question = "This will remove:\n  - " + "\n  - ".join(parts)
    if given:
        shown = [f"{key}={value}" for key, values in given.items() for value in values]
        question += "\n\n  Items to be pruned will be filtered with:\n  - " + "\n  - ".join(shown)
    if not confirm(session, arguments, question + "\n"):
        return 0
    kinds = ["containers", "networks", *(["volumes"] if arguments.is_on("volumes") else []), "images"]
    total = 0
    for kind in kinds:
        filters = dict(given)
        if kind == "images":
            filters["dangling"] = ["false" if everything else "true"]
        answer = session.client.request("POST", f"{API}/{kind}/prune", {"filters": filters or None}).json()
        total += answer.pop("SpaceReclaimed", 0) or 0
        show_pruned(session, answer)
    if not any(key.startswith("label") for key in given):  # which it has none of
        query = {"all": everything, "filters": given or None}
        answer = session.client.request("POST", f"{API}/build/prune", query).json()
        total += answer.pop("SpaceReclaimed", 0) or 0
        show_pruned(session, answer)
    return show_pruned(session, {"SpaceReclaimed": total})


COMMANDS = {
    "df": Command(
        "system df [OPTIONS]",
        "Show disk usage",
        run_df,
        (FORMAT, Flag("verbose", "v", help="Of each thing")),
        at_most=0,
    ),
    "fsck": Command(
        "system fsck [OPTIONS]",
        "Verify that all images are on the disk as they came",
        run_fsck,
        (Flag("repair", help="Unpack damaged layers again, forget damaged downloads"),),
        at_most=0,
    ),
    "events": Command(
        "system events [OPTIONS]",
        "Show what happens to all that the engine looks after",
        run_events,
        (
            FILTER,
            Flag("format", kind="string", help='"json" or a Go template'),
            Flag("since", kind="string", help="Also what happened since a time or so long ago"),
            Flag("until", kind="string", help="End at a time"),
        ),
        at_most=0,
    ),
    "info": Command(
        "system info [OPTIONS]",
        "Show facts about the machine and the engine",
        run_info,
        (INSPECT_FORMAT,),
        at_most=0,
    ),
    "prune": Command(
        "system prune [OPTIONS]",
        "Remove what is not used",
        run_prune,
        (
            Flag("all", "a", help="All unused images, not only those without a name"),
            Flag(
                "filter", kind="filter", help="Only those with a property: label=KEY, label!=KEY, until=TIME"
            ),
            FORCE,
            Flag("volumes", help="Anonymous volumes, too"),
        ),
        at_most=0,
    ),
}
