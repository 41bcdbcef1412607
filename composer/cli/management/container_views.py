"""``container ls``, ``inspect``, ``logs``, ``top``, ``stats``, ``port`` and ``wait``: looking at single containers."""

from __future__ import annotations

import sys

from composer.api.client import API, quote
from composer.cli.arguments import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from composer.cli.arguments import Arguments
    from composer.cli.session import Session


def container_path(name: str, action: str = "") -> str:
    """The API's path of a container, or of something that is done with it."""
    return f"{API}/containers/{quote(name)}" + (f"/{action}" if action else "")


def run_ls(session: Session, arguments: Arguments) -> int:
    from composer.cli.management.conventions import parse_filters
    from composer.cli.output.tables import formatted

    count = 1 if arguments.is_on("latest") else arguments.number("last")
    if count is not None and count <= 0:
        count = None
    layout = arguments.text("format")
    query = {
        "all": arguments.is_on("all") or count is not None,
        "filters": parse_filters(arguments.list("filter")) or None,
        "limit": count,
        "size": arguments.is_on("size") or ".Size" in layout or "json ." in layout,
    }
    found = session.client.request("GET", f"{API}/containers/json", query).json()
    full = arguments.is_on("no-trunc")
    if arguments.is_on("quiet"):
        session.write("".join(f"{c['Id'] if full else c['Id'][:12]}\n" for c in found))
        return 0
    default = ["ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"]
    if arguments.is_on("size"):
        default.append("Size")
    rows = [container_row(container, session.started, full=full) for container in found]
    try:
        session.write(formatted(rows, TITLES, layout, default=default))
    except ValueError as error:
        raise UsageError(str(error)) from None
    return 0


TITLES = {
    "ID": "CONTAINER ID", "Image": "IMAGE", "Command": "COMMAND", "RunningFor": "CREATED", "CreatedAt": "CREATED AT",
    "Status": "STATUS", "State": "STATE", "Ports": "PORTS", "Names": "NAMES", "Size": "SIZE", "Labels": "LABELS",
    "Networks": "NETWORKS", "Mounts": "MOUNTS", "LocalVolumes": "LOCAL VOLUMES", "Platform": "PLATFORM",
}  # fmt: skip


def container_row(container: dict[str, Any], now: float, *, full: bool) -> dict[str, Any]:
    """A container as ``--format`` has it; ``now`` in seconds. Pure."""
    from composer.api.durations import human_duration
    from composer.cli.management.image_list import short_id
    from composer.cli.output.quoting import quoted
    from composer.cli.output.units import human_size, local_time
    from composer.cli.project.containers import ports_words, shortened

    ports = [
        {
            "URL": port.get("IP", ""),
            "TargetPort": port["PrivatePort"],
            "PublishedPort": port.get("PublicPort", 0),
            "Protocol": port["Type"],
        }
        for port in container["Ports"]
    ]
    size, whole = human_size(container.get("SizeRw", 0)), container.get("SizeRootFs", 0)
    mounts = [mount.get("Name") or mount.get("Source", "") for mount in container.get("Mounts") or ()]
    return {
        "ID": container["Id"] if full else container["Id"][:12],
        "Image": short_id(image)
        if (image := container["Image"]) == container["ImageID"] and not full
        else image,
        "Command": quoted(container["Command"] if full else shortened(container["Command"], 20)),
        "RunningFor": f"{human_duration(now - container['Created'])} ago",
        "CreatedAt": local_time(container["Created"]),
        "Status": container["Status"],
        "State": container["State"],
        "Ports": ports_words(ports),
        "Names": ",".join(name.removeprefix("/") for name in container["Names"]),
        "Size": f"{size} (virtual {human_size(whole)})" if whole else size,
        "Labels": ",".join(f"{key}={value}" for key, value in container["Labels"].items()),
        "Networks": ",".join(container["NetworkSettings"]["Networks"]),
        "Mounts": ",".join(mounts if full else [shortened(name, 15) for name in mounts]),
        "Label": lambda key: container["Labels"].get(key, ""),
        "Platform": None,
        "LocalVolumes": str(sum(bool(mount.get("Name")) for mount in container.get("Mounts") or ())),
    }


def run_inspect(session: Session, arguments: Arguments) -> int:
    from composer.cli.management.conventions import inspect_each

    query = {"size": arguments.is_on("size")}
    return inspect_each(session, arguments, lambda name: container_path(name, "json"), "container", query)


def run_logs(session: Session, arguments: Arguments) -> int:
    from composer.cli.output.units import moment_of
    from composer.cli.terminals.streams import Frames

    name = arguments.words[0]
    query: dict[str, Any] = {
        "details": arguments.is_on("details"),
        "stdout": True,
        "stderr": True,
        "follow": arguments.is_on("follow"),
        "timestamps": arguments.is_on("timestamps"),
        "tail": arguments.text("tail"),
    }
    for field in ("since", "until"):
        if text := arguments.text(field):
            query[field] = moment_of(text, int(session.started * 1e9), field)
    tty = session.client.request("GET", container_path(name, "json")).json()["Config"]["Tty"]
    frames = Frames()
    outputs = {1: sys.stdout.buffer, 2: sys.stderr.buffer}
    for piece in session.client.chunks("GET", container_path(name, "logs"), query):
        if tty:
            outputs[1].write(piece)
        else:
            for stream, data in frames.feed(piece):
                outputs.get(stream, outputs[1]).write(data)
        for output in outputs.values():
            output.flush()
    return 0


def run_top(session: Session, arguments: Arguments) -> int:
    from composer.cli.output.tables import table

    name, *options = arguments.words
    found = session.client.request(
        "GET", container_path(name, "top"), {"ps_args": " ".join(options) or None}
    ).json()
    session.write(table(found["Titles"], found["Processes"], narrowest=20))
    return 0


def run_stats(session: Session, arguments: Arguments) -> int:
    from composer.cli.project.stats import show_stats

    def chosen() -> list[dict[str, Any]]:
        if arguments.words:
            found = {
                name: session.client.request("GET", container_path(name, "json")).json()
                for name in arguments.words
            }
            return [{"Id": one["Id"], "Name": one["Name"], "Asked": name} for name, one in found.items()]
        query = {"all": arguments.is_on("all")}
        listed = session.client.request("GET", f"{API}/containers/json", query).json()
        return [{"Id": one["Id"], "Name": one["Names"][0]} for one in listed]

    return show_stats(session, arguments, chosen)


def run_port(session: Session, arguments: Arguments) -> int:
    from runtime.errors import ComposerError

    name, *wanted = arguments.words
    ports = (
        session.client.request("GET", container_path(name, "json")).json()["NetworkSettings"]["Ports"] or {}
    )
    if wanted:
        key = wanted[0] if "/" in wanted[0] else f"{wanted[0]}/tcp"
        bindings = ports.get(key)
        if not bindings:
            number = wanted[0].partition("/")[0]
            if not number.isdecimal() or not 0 < int(number) < 65536:
                raise ComposerError(f"Error: invalid port ({number})")
            raise ComposerError(f"Error: No public port '{wanted[0]}' published for {name}")
        session.write("".join(f"{_address(binding)}\n" for binding in bindings))
        return 0
    for key in sorted(ports, key=lambda text: (int(text.partition("/")[0]), text)):
        for binding in ports[key] or ():
            session.write(f"{key} -> {_address(binding)}\n")
    return 0


def _address(binding: dict[str, str]) -> str:
    host = f"[{binding['HostIp']}]" if ":" in binding["HostIp"] else binding["HostIp"]
    return f"{host}:{binding['HostPort']}"


def run_wait(session: Session, arguments: Arguments) -> int:
    from composer.cli.management.conventions import report_failures
    from composer.cli.project.wait import exit_status
    from runtime.errors import ComposerError

    failures: list[ComposerError] = []
    for name in arguments.words:
        try:
            session.write(f"{exit_status(session.client, quote(name))}\n")
        except ComposerError as error:
            failures.append(error)
    return report_failures(session, failures)
