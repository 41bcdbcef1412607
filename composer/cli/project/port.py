"""``port``: where a container's port is published."""

from __future__ import annotations

from composer.cli.arguments import Command, Flag, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from composer.cli.arguments import Arguments
    from composer.cli.session import Session


def run_port(session: Session, arguments: Arguments) -> int:
    from composer.cli.project.containers import plain_name
    from composer.cli.project.exec import running_container
    from runtime.errors import ComposerError

    service, text = arguments.words
    number, _, protocol = text.partition("/")
    protocol = (protocol or arguments.text("protocol")).lower()
    if not number.isdecimal() or not 0 < int(number) < 65536:
        raise UsageError(f'invalid port "{text}"', hint="a number up to 65535")
    container = running_container(session, service, arguments.number("index") or 0)
    for port in container["Publishers"]:
        if port["TargetPort"] == int(number) and port["Protocol"] == protocol and port["PublishedPort"]:
            host = f"[{port['URL']}]" if ":" in port["URL"] else port["URL"]
            session.write(f"{host}:{port['PublishedPort']}\n")
            return 0
    published = dict.fromkeys(
        f"{port['PublishedPort']}/{port['Protocol']}"
        for port in container["Publishers"]
        if port["PublishedPort"]
    )
    others = ": " + ", ".join(published) if published else ""
    raise ComposerError(f"no port {number}/{protocol} for container {plain_name(container)}{others}")


COMMANDS = {
    "port": Command(
        "port [OPTIONS] SERVICE PRIVATE_PORT",
        "Print the public port of a private one",
        run_port,
        (
            Flag("index", kind="int", help="Number of the container, if the service has several"),
            Flag("protocol", kind="string", help="tcp, udp or sctp", default="tcp"),
        ),
        at_least=2,
        at_most=2,
    )
}
