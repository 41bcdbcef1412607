"""``logs``: what containers have written, in the order of time over all of them."""

from __future__ import annotations

from composer.cli.arguments import Command, Flag, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from composer.cli.arguments import Arguments
    from composer.cli.session import Session


def run_logs(session: Session, arguments: Arguments) -> int:
    from composer.cli.output.units import time_of
    from composer.cli.project.log_lines import LogPrinter, shown_name, writer_of
    from composer.cli.session import error_of

    if arguments.number("index") and len(arguments.words) != 1:
        raise UsageError("--index requires one service to be selected")
    body: dict[str, Any] = {"services": arguments.words, "follow": arguments.is_on("follow")}
    if (tail := parse_tail(arguments.text("tail"))) is not None:
        body["tail"] = tail
    for field in ("since", "until"):
        if text := arguments.text(field):
            body[field] = time_of(text, int(session.started * 1e9), field)
    if arguments.number("index"):
        body["index"] = arguments.number("index")
    printer = LogPrinter(
        writer_of(1),
        colour=session.colours(1) and not arguments.is_on("no-color"),
        prefix=not arguments.is_on("no-log-prefix"),
        timestamps=arguments.is_on("timestamps"),
    )
    for container in _expected(session, arguments.words):
        printer.register(
            shown_name(
                {
                    "service": container["Service"],
                    "number": container["Number"],
                    "container": container["Name"].removeprefix("/"),
                }
            )
        )
    for event in _events(session, body):
        match event["type"]:
            case "log":
                printer.log(event)
            case "exit":
                printer.exit(event)
            case "warning":
                if not session.ignores(event["message"]):
                    printer.end_line()
                    session.warn(event["message"])
            case "error":
                raise error_of(event)
            case "result":
                break
    return 0


def _events(session: Session, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What the engine says; followed beyond its end when it was not ended on purpose: the next one is asked for the
    rest."""
    from time import time_ns

    from composer.cli.project.resuming import Shown, resumed

    def rest() -> tuple[str, dict[str, Any]] | None:
        if not body["follow"]:
            return None
        return "logs", {k: v for k, v in body.items() if k not in ("tail", "since")}

    return resumed(session, "logs", body, Shown(body.get("since"), time_ns(), has_tail="tail" in body), rest)


def parse_tail(text: str) -> int | None:
    """A number of lines; None, which is all of them, for ``all`` and negative numbers. Raises UsageError."""
    if text == "all" or (text.startswith("-") and text[1:].isdecimal()):
        return None
    if not text.isdecimal():
        raise UsageError(f'invalid value for --tail: "{text}"', hint="a number of lines, or all")
    return int(text)


def _expected(session: Session, services: list[str]) -> list[dict[str, Any]]:
    containers: list[dict[str, Any]] = session.resolve(services)["Containers"]
    chosen = [c for c in containers if not services or c["Service"] in services]
    return sorted(chosen, key=lambda c: (c["Service"], c["Number"]))


COMMANDS = {
    "logs": Command(
        "logs [OPTIONS] [SERVICE...]",
        "Show what containers have written",
        run_logs,
        (
            Flag("follow", "f", help="Go on with what is written from now on"),
            Flag("index", kind="int", help="Number of the container, if the service has several"),
            Flag("no-color", help="Without colours"),
            Flag("no-log-prefix", help="Don't print a prefix in front of lines"),
            Flag("since", kind="string", help="From a time (2013-01-02T13:23:37Z) or so long ago (42m)"),
            Flag("tail", "n", "string", "Number of lines from the end of each container's log", "all"),
            Flag("timestamps", "t", help="Show when lines were written"),
            Flag("until", kind="string", help="Up to a time (2013-01-02T13:23:37Z) or so long ago (42m)"),
        ),
    )
}
