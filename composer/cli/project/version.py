"""``version``: works without root and without an engine."""

from __future__ import annotations

from composer import __version__
from composer.cli.arguments import Arguments, Command, Flag, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from composer.cli.session import Session


def run_version(session: Session, arguments: Arguments) -> int:
    style = arguments.text("format")
    if arguments.is_on("short"):
        session.write(f"{__version__}\n")
    elif style == "json":
        session.write(f'{{"version":"v{__version__}"}}\n')
    elif style in ("", "pretty"):
        session.write(f"composer version v{__version__}\n")
    else:
        raise UsageError(f'unsupported --format value "{style}"', hint="pretty or json", is_flag=True)
    return 0


COMMANDS = {
    "version": Command(
        "version [OPTIONS]",
        "Show the version",
        run_version,
        (
            Flag("format", "f", "string", "Form of the output (pretty | json)", default="pretty"),
            Flag("short", help="Only the number"),
        ),
        at_most=0,
        needs_root=False,
    )
}
