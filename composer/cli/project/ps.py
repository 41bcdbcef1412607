"""``ps``: the project's containers."""

from __future__ import annotations

from composer.cli.arguments import Command, Flag, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from composer.cli.arguments import Arguments
    from composer.cli.session import Session

STATES = ("created", "dead", "exited", "paused", "removing", "restarting", "running")
ALIVE = ("running", "paused", "restarting")
TITLES = {
    "ID": "CONTAINER ID", "Name": "NAME", "Names": "NAMES", "Image": "IMAGE", "Command": "COMMAND",
    "Service": "SERVICE", "CreatedAt": "CREATED AT", "RunningFor": "CREATED", "State": "STATE", "Status": "STATUS",
    "Health": "HEALTH", "ExitCode": "EXIT CODE", "Ports": "PORTS", "Publishers": "PUBLISHERS", "Project": "PROJECT",
    "Labels": "LABELS", "Networks": "NETWORKS", "Mounts": "MOUNTS", "LocalVolumes": "LOCAL VOLUMES", "Size": "SIZE",
}  # fmt: skip
SCHEMES = {
    22: "ssh", 443: "https", 1883: "mqtt", 3306: "mysql", 4222: "nats", 5432: "postgresql", 5672: "amqp",
    6379: "redis", 8443: "https", 9092: "kafka", 27017: "mongodb",
}  # fmt: skip
"""Schemes of URLs by the container's port; everything else is taken for http."""
COLUMNS = ("Name", "Image", "Command", "Service", "RunningFor", "Status", "Ports")


def run_ps(session: Session, arguments: Arguments) -> int:
    from composer.cli.project.containers import plain_name

    states = [state.lower() for state in arguments.list("status")]
    if wrong := [state for state in states if state not in STATES]:
        raise UsageError(f'invalid status "{wrong[0]}"', hint=f"one of {', '.join(STATES)}")
    if condition := arguments.text("filter"):
        key, _, value = condition.partition("=")
        if key not in ("status", "source"):
            raise UsageError(f'invalid filter "{condition}"', hint="--filter status=running")
        if key == "source":
            raise UsageError("the filter source is not available in composer", hint="--filter status=running")
        states.append(value.lower())
    project = session.resolve(arguments.words)
    services = {service["Name"] for service in project["Services"]}
    chosen = [
        container for container in project["Containers"] if _is_shown(container, arguments, states, services)
    ]
    chosen.sort(key=plain_name)
    if arguments.is_on("quiet"):
        session.write("".join(container["Id"] + "\n" for container in chosen))
        return 0
    if arguments.is_on("services"):
        session.write("".join(f"{name}\n" for name in sorted({c["Service"] for c in chosen})))
        return 0
    from composer.cli.output.tables import formatted

    rows = [row_of(container, session.started, full=arguments.is_on("no-trunc")) for container in chosen]
    try:
        session.write(formatted(rows, TITLES, arguments.text("format"), default=COLUMNS))
    except ValueError as error:
        raise UsageError(str(error)) from None
    if arguments.text("format") in ("", "table"):
        for container in chosen:
            if container["Error"] and container["State"] in (
                "running",
                "paused",
            ):  # Docker's table has no place for it
                session.warn(f"{container['Name']} runs, but its {container['Error']}")
    if arguments.text("format") in ("", "table") and (found := urls(chosen)):
        width = max(len(service) for service, _ in found)
        session.write("\n" + "".join(f"{service:<{width}}   {url}\n" for service, url in found))
    return 0


def urls(containers: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """(service, URL) of what runs and is published on an address of the project's own (127.x.y.z other than
    127.0.0.1): those are not known by heart. The scheme is what usually is behind the container's port."""
    found = []
    for container in containers:
        for port in container["Publishers"] if container["State"] in ALIVE else ():
            address, number = port["URL"], port["PublishedPort"]
            if not number or not address.startswith("127.") or address == "127.0.0.1":
                continue
            if port["Protocol"] != "tcp":
                continue
            scheme = SCHEMES.get(port["TargetPort"], "http")
            is_usual = (scheme, number) in (("http", 80), ("https", 443))
            place = address if is_usual else f"{address}:{number}"
            found.append((container["Service"], f"{scheme}://{place}"))
    return sorted(dict.fromkeys(found))


def _is_shown(container: dict[str, Any], arguments: Arguments, states: list[str], services: set[str]) -> bool:
    if arguments.words and container["Service"] not in arguments.words:
        return False
    if container["OneOff"] and not arguments.is_on("all"):
        return False
    if not arguments.is_on("orphans") and services and container["Service"] not in services:
        return False
    if states:
        return container["State"] in states
    return arguments.is_on("all") or container["State"] in ALIVE


def row_of(container: dict[str, Any], now: float, *, full: bool = False) -> dict[str, Any]:
    """The fields of one container."""
    from time import gmtime, strftime

    from composer.api.durations import human_duration
    from composer.cli.output.quoting import quoted
    from composer.cli.project.containers import plain_name, ports_words, shortened, status_words

    created = container["Created"]
    command = container["Command"] if full else shortened(container["Command"], 20)
    publishers = [
        port for port in container["Publishers"] if container["State"] in ALIVE or not port["PublishedPort"]
    ]
    return {
        "ID": container["Id"] if full else container["Id"][:12],
        "Name": plain_name(container),
        "Names": plain_name(container),
        "Image": container["Image"],
        "Command": quoted(command),
        "Project": container["Project"],
        "Service": container["Service"],
        "CreatedAt": strftime("%Y-%m-%d %H:%M:%S +0000 UTC", gmtime(created // 10**9)),
        "RunningFor": f"{human_duration(now - created / 1e9)} ago",
        "State": container["State"],
        "Status": status_words(container, int(now * 1e9)),
        "Health": container["Health"],
        "ExitCode": container["ExitCode"],
        "Ports": ports_words(publishers) if container["State"] in ALIVE else "",
        "Publishers": publishers if container["State"] in ALIVE else [],
        "Labels": ",".join(f"{key}={value}" for key, value in container["Labels"].items()),
        "Networks": ",".join(sorted(container["Networks"])),
        "Mounts": ",".join(container["Mounts"]),
        "LocalVolumes": str(sum(not mount.startswith("/") for mount in container["Mounts"])),
        "Label": lambda key: container["Labels"].get(key, ""),
        "Size": "0B",
    }


COMMANDS = {
    "ps": Command(
        "ps [OPTIONS] [SERVICE...]",
        "List containers",
        run_ps,
        (
            Flag("all", "a", help="Also those that do not run"),
            Flag("filter", kind="string", help="Only those with a property: status=..."),
            Flag(
                "format",
                kind="string",
                help='"table", "json", "table TEMPLATE" or a Go template',
                default="table",
            ),
            Flag("no-trunc", help="Don't shorten anything"),
            Flag("orphans", help="Also those of services that the file does not have", default="true"),
            Flag("quiet", "q", help="Ids only"),
            Flag("services", help="Names of services only"),
            Flag(
                "status",
                kind="stringArray",
                help="Only those in a state (paused, restarting, removing, running ...)",
            ),
        ),
    )
}
