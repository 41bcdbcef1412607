"""``events``: what happens to the project's containers, as it happens."""

from __future__ import annotations

from composer.api.client import API
from composer.cli.arguments import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from composer.cli.arguments import Arguments
    from composer.cli.session import Session


def run_events(session: Session, arguments: Arguments) -> int:
    from composer.api.plain_json import dumps
    from composer.cli.output.units import moment_of, rfc3339

    name = session.resolve(arguments.words)["Name"]
    query: dict[str, Any] = {
        "filters": dumps({"label": [f"com.docker.compose.project={name}"], "type": ["container"]}).decode()
    }
    for field in ("since", "until"):
        if text := arguments.text(field):
            query[field] = moment_of(text, int(session.started * 1e9), field)
    for event in session.client.stream("GET", f"{API}/events", query):
        attributes = dict(event["Actor"]["Attributes"])
        service = attributes.get("com.docker.compose.service", "")
        if arguments.words and service not in arguments.words:
            continue
        own = {k: v for k, v in sorted(attributes.items()) if not k.startswith("com.docker.compose.")}
        moment = event["timeNano"]
        if arguments.is_on("json"):
            line = dumps(
                {
                    "action": event["Action"],
                    "attributes": own,
                    "id": event["Actor"]["ID"],
                    "service": service,
                    "time": rfc3339(moment),
                    "type": event["Type"],
                }
            ).decode()
        else:
            shown = ", ".join(f"{key}={value}" for key, value in own.items())
            line = f"{_local(moment)} container {event['Action']} {event['Actor']['ID']} ({shown})"
        session.write(line + "\n")
    return 0


def _local(nanoseconds: int) -> str:
    from time import localtime, strftime

    seconds, rest = divmod(nanoseconds, 10**9)
    return f"{strftime('%Y-%m-%d %H:%M:%S', localtime(seconds))}.{rest // 1000:06d}"


COMMANDS = {
    "events": Command(
        "events [OPTIONS] [SERVICE...]",
        "Show what happens to the project's containers as it happens",
        run_events,
        (
            Flag("json", help="One JSON object a line"),
            Flag("since", kind="string", help="Also what happened since a time or so long ago"),
            Flag("until", kind="string", help="End at a time"),
        ),
    )
}
