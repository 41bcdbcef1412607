"""``ls``: projects."""

from __future__ import annotations

from composer.cli.arguments import Command, Flag, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from composer.cli.arguments import Arguments
    from composer.cli.session import Session


def run_ls(session: Session, arguments: Arguments) -> int:
    wanted = []
    for condition in arguments.list("filter"):
        key, equals, value = condition.partition("=")
        if key != "name" or not equals:
            raise UsageError(f"invalid filter '{condition}'", hint="--filter name=...")
        wanted.append(value)
    query = {"all": 1} if arguments.is_on("all") else {}
    projects = session.client.request("GET", "/composer/v1/projects", query).json()
    projects = [p for p in projects if not wanted or any(name in p["Name"] for name in wanted)]
    if arguments.is_on("quiet"):
        session.write("".join(f"{project['Name']}\n" for project in projects))
        return 0
    layout = arguments.text("format")
    if layout == "json":
        from composer.api.plain_json import dumps

        session.write(dumps(projects).decode() + "\n")
    elif layout in ("", "table"):
        from composer.cli.output.tables import table

        rows = [(p["Name"], p["Status"], p["ConfigFiles"]) for p in projects]
        session.write(table(("NAME", "STATUS", "CONFIG FILES"), rows, narrowest=20))
    else:
        raise UsageError(f'unsupported format "{layout}"', hint="table or json")
    return 0


COMMANDS = {
    "ls": Command(
        "ls [OPTIONS]",
        "List running projects",
        run_ls,
        (
            Flag("all", "a", help="Also projects of which nothing runs"),
            Flag("filter", kind="filter", help="Only those with a property: name=..."),
            Flag("format", kind="string", help='"table" or "json"', default="table"),
            Flag("quiet", "q", help="Names only"),
        ),
        at_most=0,
    )
}
