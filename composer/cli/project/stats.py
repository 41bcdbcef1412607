"""``stats``: what containers use, once or again and again."""

from __future__ import annotations

from composer.api.client import API
from composer.cli.arguments import Command, Flag, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from composer.cli.arguments import Arguments
    from composer.cli.session import Session

TITLES = {
    "ID": "CONTAINER ID", "Container": "CONTAINER", "Name": "NAME", "CPUPerc": "CPU %", "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %", "NetIO": "NET I/O", "BlockIO": "BLOCK I/O", "PIDs": "PIDS",
}  # fmt: skip
COLUMNS = ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")
PERIOD = 1.0


def run_stats(session: Session, arguments: Arguments) -> int:
    services = arguments.words

    def chosen() -> list[dict[str, Any]]:
        found = session.resolve(services)["Containers"]
        return [
            c
            for c in found
            if (not services or c["Service"] in services)
            and (arguments.is_on("all") or c["State"] in ("running", "paused"))
        ]

    return show_stats(session, arguments, chosen)


def show_stats(session: Session, arguments: Arguments, chosen: Any) -> int:
    """Print the statistics of what ``chosen()`` returns (``Id`` and ``Name`` each), until Ctrl-C."""
    from composer.cli.output.tables import formatted
    from composer.cli.terminals.terminal import is_terminal

    previous: dict[str, dict[str, Any]] = {}
    full = arguments.is_on("no-trunc")
    layout = arguments.text("format")
    is_once = arguments.is_on("no-stream")
    for container in chosen():
        previous[container["Id"]] = _read(session, container["Id"])
    from time import sleep

    while True:
        sleep(PERIOD if not is_once else 0.5)
        rows = []
        for container in sorted(chosen(), key=lambda c: str(c["Name"])):
            now = _read(session, container["Id"])
            rows.append(_row(container, now, previous.get(container["Id"], {}), full=full))
            previous[container["Id"]] = now
        try:
            text = formatted(rows, TITLES, layout, default=COLUMNS)
        except ValueError as error:
            raise UsageError(str(error)) from None
        session.write(("\x1b[H\x1b[J" if is_terminal(1) and not is_once else "") + text)
        if is_once:
            return 0


def _read(session: Session, container: str) -> dict[str, Any]:
    query = {"stream": 0, "one-shot": 1}
    found: dict[str, Any] = session.client.request("GET", f"{API}/containers/{container}/stats", query).json()
    return found


def _row(
    container: dict[str, Any], now: dict[str, Any], before: dict[str, Any], *, full: bool
) -> dict[str, Any]:
    from composer.cli.output.units import binary_size, human_size

    memory = now.get("memory_stats") or {}
    inactive = memory.get("stats") or {}
    cache = inactive.get("total_inactive_file", inactive.get("inactive_file", 0))
    used = max(0, memory.get("usage", 0) - cache)
    limit = memory.get("limit", 0)
    received = sum(n["rx_bytes"] for n in (now.get("networks") or {}).values())
    sent = sum(n["tx_bytes"] for n in (now.get("networks") or {}).values())
    blocks = {"read": 0, "write": 0}
    for entry in (now.get("blkio_stats") or {}).get("io_service_bytes_recursive") or ():
        if entry["op"].lower() in blocks:
            blocks[entry["op"].lower()] += entry["value"]
    shown = container["Id"] if full else container["Id"][:12]
    return {
        "ID": shown,
        # As it was asked for: docker-container-stats(1).
        "Container": container.get("Asked", shown),
        "Name": str(container["Name"]).removeprefix("/"),
        "CPUPerc": f"{_cpu(now, before):.2f}%",
        "MemUsage": f"{binary_size(used)} / {binary_size(limit)}",
        "MemPerc": f"{used / limit * 100 if limit else 0:.2f}%",
        "NetIO": f"{human_size(received)} / {human_size(sent)}",
        "BlockIO": f"{human_size(blocks['read'])} / {human_size(blocks['write'])}",
        "PIDs": str((now.get("pids_stats") or {}).get("current", 0)),
    }


def _cpu(now: dict[str, Any], before: dict[str, Any]) -> float:
    """Per cent of one CPU since the reading before."""
    try:
        used = now["cpu_stats"]["cpu_usage"]["total_usage"] - before["cpu_stats"]["cpu_usage"]["total_usage"]
        passed = now["cpu_stats"]["system_cpu_usage"] - before["cpu_stats"]["system_cpu_usage"]
        count = now["cpu_stats"].get("online_cpus") or 1
    except KeyError:
        return 0.0
    return max(0.0, used / passed * count * 100) if passed > 0 else 0.0


FLAGS = (
    Flag("all", "a", help="Also containers that do not run"),
    Flag("format", kind="string", help='"table", "json", "table TEMPLATE" or a Go template', default="table"),
    Flag("no-stream", help="Once"),
    Flag("no-trunc", help="Don't shorten anything"),
)
COMMANDS = {
    "stats": Command("stats [OPTIONS] [SERVICE]", "Show the resources that containers use", run_stats, FLAGS)
}
