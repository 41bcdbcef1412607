"""``version``: works without root and without an engine."""

from __future__ import annotations

from composer.cli.arguments import Arguments, Command, Flag, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from composer.cli.session import Session


def version() -> str:
    """This distribution's version."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    for name in ("composer",):
        try:
            return installed(name)
        except PackageNotFoundError:
            continue
    return "0.0.0"


def run_version(session: Session, arguments: Arguments) -> int:
    style = arguments.text("format")
    if arguments.is_on("short"):
        session.write(f"{version()}\n")
    elif style == "json":
        session.write(f'{{"version":"v{version()}"}}\n')
    elif style in ("", "pretty"):
        session.write(f"composer version v{version()}\n")
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
