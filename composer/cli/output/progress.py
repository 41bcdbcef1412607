"""Rendering of what the engine says while it works: plain lines, JSON, nothing (``live`` has the list on a terminal).

Events are dicts as they come from the engine (``composer.engine.requests``): a renderer only decides how a
step looks.
"""

from __future__ import annotations

from composer.cli.terminals.terminal import GREEN, RED, YELLOW, paint, shown_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Write = Callable[[str], None]

_WORKING = frozenset({"Download complete", "Pulling fs layer", "Recreate"})
_FINISHED = frozenset({"Running"})
COLOURS = {"done": GREEN, "warning": YELLOW, "error": RED, "working": ""}
"""By state."""


def state_of(status: str) -> str:
    """What a step's status means for its line: working, done, warning or error."""
    if status.startswith("Error"):
        return "error"
    if status in ("Warning", "Interrupted", "Resource is still in use"):
        return "warning"
    if status in _WORKING or (status.endswith("ing") and status not in _FINISHED):
        return "working"
    return "done"


class Renderer:
    """Base, and ``--progress quiet``: shows warnings only."""

    def __init__(self, write: Write, *, colour: bool = False, began: float = 0.0) -> None:
        self._write = write
        self._colour = colour
        self._began = began

    def step(self, event: dict[str, Any]) -> None:
        """One StepEvent."""

    def line(self, text: str) -> None:
        """A sentence about the whole, between or after the steps."""

    def warning(self, message: str) -> None:
        """A warning, in the form that Docker's tools log."""
        self._write(warning_line(message, colour=self._colour, began=self._began))

    def pause(self) -> None:
        """Something else is going to write; what was shown stays."""

    def close(self) -> None:
        """Nothing more will come."""


def warning_line(message: str, *, colour: bool, began: float) -> str:
    """As logrus writes it: seconds since the start on a terminal, key=value elsewhere.

    ``began`` is in seconds of a monotonic clock."""
    from time import gmtime, monotonic, strftime

    if colour:
        return f"{paint('WARN', YELLOW)}[{int(monotonic() - began):04d}] {message}\n"
    quoted = message.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'time="{strftime("%Y-%m-%dT%H:%M:%SZ", gmtime())}" level=warning msg="{quoted}"\n'


class PlainRenderer(Renderer):
    """Append-only: a line for each change of status."""

    def __init__(self, write: Write, *, colour: bool = False, began: float = 0.0) -> None:
        super().__init__(write, colour=colour, began=began)
        self._shown: dict[str, str] = {}
        self._begun: dict[str, float] = {}
        """When parts of the whole began, in seconds of a monotonic clock."""

    def line(self, text: str) -> None:
        self._write(f"{text}\n")

    def step(self, event: dict[str, Any]) -> None:
        name, status, text = event["name"], event["status"], event.get("text", "")
        parent = event.get("parent", "")
        service = event.get("service", "")
        key = of_service(name, service) if parent else f"{event['kind']} {name}"
        if status == "Building" and text:  # what a step prints: whose it is, without the step's whole text
            platform, _, rest = ("", "", key) if key.startswith("[") else key.partition(" ")
            number = (
                f"{platform} {rest[: rest.index(']') + 1]}" if rest.startswith("[") and "]" in rest else key
            )
            whose = number if service else f"{parent} {number.strip()}"
            self._write(f" {whose.strip()}  | {shown_of(text)}\n")
            return
        if not name or self._shown.get(f"{parent} {key}") == status:
            return  # said already (waited for by several, progress within a status), or about no part of it
        self._shown[f"{parent} {key}"] = status
        text = text or self._duration(f"{parent} {key}", status)
        shown = paint(status, COLOURS[state_of(status)]) if self._colour else status
        self._write(f" {key}  {shown}{f'  {text}' if text else ''}\n")

    def _duration(self, key: str, status: str) -> str:
        """How long a step of a build took, when it has ended."""
        from time import monotonic

        if status == "Building":
            self._begun[key] = monotonic()
        begun = self._begun.get(key) if status in ("Built", "Error") else None
        return f"{monotonic() - begun:.1f}s" if begun is not None else ""


def of_service(title: str, service: str) -> str:
    """The title of a build's step with the name of its service, as Docker's ``[web build 3/4] RUN``."""
    if not service:
        return title
    before, bracket, rest = title.partition("[")
    if bracket and all(
        word == "why" or "/" in word for word in before.split()
    ):  # a platform, when there are more
        return f"{before}[{service} {rest}"
    return f"{service} {title}"


class JsonRenderer(Renderer):
    """One object a line, for machines."""

    def _emit(self, fields: dict[str, Any]) -> None:
        from composer.api.plain_json import dumps

        self._write(dumps(fields).decode() + "\n")

    def line(self, text: str) -> None:
        self._emit({"status": text})

    def step(self, event: dict[str, Any]) -> None:
        name = event["name"]
        fields = {"id": name if event.get("parent") else f"{event['kind']} {name}", "status": event["status"]}
        if event.get("parent"):
            fields["parent_id"] = f"{event['kind']} {event['parent']}"
        if event.get("text"):
            fields["text"] = event["text"]
        if event.get("total"):
            fields["current"] = event.get("current", 0)
            fields["total"] = event["total"]
        self._emit(fields)

    def warning(self, message: str) -> None:
        self._emit({"level": "warning", "message": message})
