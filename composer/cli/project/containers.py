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
    """``0.0.0.0:8080->80/tcp, [::]:8080->80/tcp, 9000/tcp``. As with Docker, neighbours become a
    range when they are published under their own numbers, or not at all."""
    groups: dict[tuple[str, str, bool], list[tuple[int, int]]] = {}
    for port in publishers:
        published = port["PublishedPort"]
        key = (port["URL"], port["Protocol"], bool(published))
        groups.setdefault(key, []).append((port["TargetPort"], published))
    found: list[tuple[int, str]] = []
    for (host, protocol, is_published), pairs in groups.items():
        shown_host = f"[{host}]" if ":" in host else host
        for first, last in _runs(sorted(set(pairs))):
            target = _range(first[0], last[0])
            text = f"{shown_host}:{_range(first[1], last[1])}->{target}" if is_published else target
            found.append((first[0], f"{text}/{protocol}"))
    return ", ".join(text for _, text in sorted(found, key=lambda item: (item[0],)))


def _runs(pairs: list[tuple[int, int]]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    runs: list[tuple[tuple[int, int], tuple[int, int]]] = []
    for pair in pairs:
        if runs:
            first, last = runs[-1]
            is_next = pair[0] == last[0] + 1 and pair[1] == (pair[0] if last[1] == last[0] else 0)
            is_next = is_next and bool(pair[1]) == bool(last[1])
            if is_next:
                runs[-1] = (first, pair)
                continue
        runs.append((pair, pair))
    return runs


def _range(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def shortened(text: str, length: int) -> str:
    """At most ``length`` characters, the last one an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"


def plain_name(container: dict[str, Any]) -> str:
    return str(container["Name"]).removeprefix("/")
