"""Containers of a project as people see them: states in words, ports, commands."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def status_words(container: dict[str, Any], now_ns: int) -> str:
    """Docker's STATUS: ``Up 3 minutes (healthy)``, ``Exited (1) 2 hours ago`` ..."""
    from composer.api.durations import human_duration

    state = container["State"]
    since_end = human_duration((now_ns - container["FinishedAt"]) / 1e9) if container["FinishedAt"] else ""
    match state:
        case "running" | "paused":
            text = f"Up {human_duration(_uptime(container, now_ns))}"
            if state == "paused":
                return f"{text} (Paused)"
            health = container.get("Health", "")
            if health:
                text += f" (health: {health})" if health == "starting" else f" ({health})"
            return text
        case "restarting":
            return f"Restarting ({container['ExitCode']}) {since_end} ago"
        case "exited":
            return f"Exited ({container['ExitCode']}) {since_end} ago"
        case "created":
            return "Created"
        case "removing":
            return "Removal In Progress"
        case _:
            return "Dead"


def _uptime(container: dict[str, Any], now_ns: int) -> float:
    """Seconds; an engine of an older version knows only when it was started."""
    own = container.get("Uptime")
    return (now_ns - container["StartedAt"]) / 1e9 if own is None else float(own)


def ports_words(publishers: list[dict[str, Any]]) -> str:
    """``0.0.0.0:8080->80/tcp, [::]:8080->80/tcp, 9000/tcp``. As with Docker, neighbours become a range when they are
    published under their own numbers, or not at all; those under other numbers come last."""
    runs: dict[tuple[str, str], list[tuple[int, int]]] = {}
    moved: list[str] = []
    finished: list[str] = []
    for port in sorted(publishers, key=_by_target):
        host, protocol, target = port["URL"], port["Protocol"], port["TargetPort"]
        published = port["PublishedPort"]
        if published and published != target:
            moved.append(f"{_bracketed(host)}:{published}->{target}/{protocol}")
            continue
        run = runs.setdefault((host if published else "", protocol), [])
        if run and target <= run[0][1] + 1:
            run[0] = (run[0][0], max(target, run[0][1]))
            continue
        if run:
            finished.append(_run_words(host, protocol, run[0]))
        run[:] = [(target, target)]
    last = [_run_words(host, protocol, run[0]) for (host, protocol), run in runs.items()]
    return ", ".join(finished + last + moved)


def _by_target(port: dict[str, Any]) -> tuple[int, str, int, str]:
    return port["TargetPort"], port["URL"], port["PublishedPort"], port["Protocol"]


def _run_words(host: str, protocol: str, run: tuple[int, int]) -> str:
    numbers = _range(*run)
    return f"{_bracketed(host)}:{numbers}->{numbers}/{protocol}" if host else f"{numbers}/{protocol}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _range(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def shortened(text: str, length: int) -> str:
    """At most ``length`` characters, the last one an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"


def plain_name(container: dict[str, Any]) -> str:
    return str(container["Name"]).removeprefix("/")
