"""What the families of commands have in common: flags, filters, questions, and how several things are told of."""

from __future__ import annotations

import sys

from composer.cli.arguments import Flag, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from composer.cli.arguments import Arguments
    from composer.cli.session import Session

FORMAT = Flag("format", kind="string", help='"table", "json", "table TEMPLATE" or a Go template')
INSPECT_FORMAT = Flag("format", "f", "string", '"json" or a Go template')
DETACH_KEYS = Flag("detach-keys", kind="string", help="Keys that leave the container running")
SIG_PROXY = Flag("sig-proxy", help="Pass signals on to the process", default="true")
FORCE = Flag("force", "f", help="Don't ask")
QUIET = Flag("quiet", "q", help="Ids only")
NO_TRUNC = Flag("no-trunc", help="Don't shorten anything")
FILTER = Flag("filter", "f", "filter", "Only those with a property: KEY=VALUE")


def parse_filters(conditions: Iterable[str]) -> dict[str, list[str]]:
    """``key=value`` conditions as the API takes them. Raises UsageError."""
    found: dict[str, list[str]] = {}
    for condition in conditions:
        key, equals, value = condition.partition("=")
        if not equals:
            raise UsageError(f"invalid filter {condition!r}", hint="--filter KEY=VALUE")
        found.setdefault(key, []).append(value)
    return found


def report_failures(session: Session, failures: list[Any]) -> int:
    """Say what went wrong for some of several; 1 when anything did."""
    from composer.cli.faults import describe

    for failure in failures:
        sys.stderr.write(describe(failure) + "\n")
    return 1 if failures else 0


def inspect_each(
    session: Session, arguments: Arguments, path: Any, what: str, query: dict[str, Any] | None = None
) -> int:
    """``inspect`` of several things: a JSON list, or a template a thing."""
    from composer.cli.terminals.terminal import for_stdout
    from runtime.errors import ComposerError

    found: list[Any] = []
    failures: list[ComposerError] = []
    for name in arguments.words:
        try:
            found.append(session.client.request("GET", path(name), query).json())
        except ComposerError as error:
            failures.append(error)
    layout = arguments.text("format")
    if layout and layout != "json":
        from composer.cli.output.templates import Template, TemplateError, refused

        try:
            template = Template(layout)
            for item in found:
                session.write(for_stdout(template.render(item) + "\n"))
        except TemplateError as error:
            raise refused(error) from None
    else:
        from composer.api.plain_json import dumps, indented

        document = dumps(found).decode() if layout == "json" else indented(found, 4)
        session.write(for_stdout(document + "\n"))
    return report_failures(session, failures)


def confirm(session: Session, arguments: Arguments, warning: str) -> bool:
    """Ask, unless ``--force`` was given."""
    if arguments.is_on("force"):
        return True
    session.write(f"WARNING! {warning}\nAre you sure you want to continue? [y/N] ")
    try:
        return input().strip().lower() in ("y", "yes")
    except EOFError:
        session.write("\n")
        return False


def show_pruned(session: Session, answer: dict[str, Any]) -> int:
    from composer.cli.output.units import human_size

    for key in ("ImagesDeleted", "ContainersDeleted", "NetworksDeleted", "VolumesDeleted", "CachesDeleted"):
        if deleted := answer.get(key):
            session.write(f"Deleted {key.removesuffix('Deleted')}:\n")
            for item in deleted:
                lines = [f"{k.lower()}: {v}" for k, v in item.items()] if isinstance(item, dict) else [item]
                session.write("".join(f"{line}\n" for line in lines))
            session.write("\n")
    if "SpaceReclaimed" in answer:
        session.write(f"Total reclaimed space: {human_size(answer['SpaceReclaimed'] or 0)}\n")
    return 0
