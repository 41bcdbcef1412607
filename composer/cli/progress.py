"""Rendering of what the engine says while it works: plain lines, JSON, nothing, or a live list on a terminal.

Events are dicts as they come from the engine (``composer.engine.requests``): a renderer only decides how a
step looks.
"""

from __future__ import annotations

from composer.cli.terminal import BLUE, GREEN, RED, YELLOW, paint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    Write = Callable[[str], None]

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
FRAME_SECONDS = 0.1
_WORKING = frozenset({"Recreate"})
_FINISHED = frozenset({"Running"})


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

    def __init__(self, write: Write, *, colour: bool = False, started: float = 0.0) -> None:
        self._write = write
        self._colour = colour
        self._started = started

    def step(self, event: dict[str, Any]) -> None:
        """One StepEvent."""

    def line(self, text: str) -> None:
        """A sentence about the whole, between or after the steps."""

    def warning(self, message: str) -> None:
        """A warning, in the form that Docker's tools log."""
        self._write(warning_line(message, colour=self._colour, started=self._started))

    def pause(self) -> None:
        """Something else is going to write; what was shown stays."""

    def close(self) -> None:
        """Nothing more will come."""


def warning_line(message: str, *, colour: bool, started: float) -> str:
    """As logrus writes it: seconds since the start on a terminal, key=value elsewhere."""
    from time import gmtime, strftime, time

    if colour:
        return f"{paint('WARN', YELLOW)}[{int(time() - started):04d}] {message}\n"
    quoted = message.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'time="{strftime("%Y-%m-%dT%H:%M:%SZ", gmtime())}" level=warning msg="{quoted}"\n'


class PlainRenderer(Renderer):
    """Append-only: a line for each change of status."""

    def __init__(self, write: Write, *, colour: bool = False, started: float = 0.0) -> None:
        super().__init__(write, colour=colour, started=started)
        self._shown: dict[str, str] = {}

    def line(self, text: str) -> None:
        self._write(f"{text}\n")

    def step(self, event: dict[str, Any]) -> None:
        name, status, text = event["name"], event["status"], event.get("text", "")
        parent = event.get("parent", "")
        key = f"{event['kind']} {name}" if not parent else name
        if (
            status == "Building" and text
        ):  # what a step of a build prints: whose it is, without the step's whole text
            number = f"{name[: name.index(']') + 1]}" if name.startswith("[") and "]" in name else name
            self._write(f" {parent} {number}  | {text}\n")
            return
        if not name or self._shown.get(f"{parent} {key}") == status:
            return  # said already (waited for by several, progress within a status), or about no part of it
        self._shown[f"{parent} {key}"] = status
        shown = paint(status, _COLOURS[state_of(status)]) if self._colour else status
        self._write(f" {key}  {shown}{f'  {text}' if text else ''}\n")


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
            fields["parent_id"] = f"Image {event['parent']}"
        if event.get("text"):
            fields["text"] = event["text"]
        if event.get("total"):
            fields["current"] = event.get("current", 0)
            fields["total"] = event["total"]
        self._emit(fields)

    def warning(self, message: str) -> None:
        self._emit({"level": "warning", "message": message})


_MARKS = {"done": "✔", "warning": "!", "error": "✘"}
_COLOURS = {"done": GREEN, "warning": YELLOW, "error": RED, "working": ""}


class Item:
    """One line of the live list. Times are seconds of a monotonic clock."""

    __slots__ = ("current", "ended", "indent", "kind", "label", "started", "status", "text", "total")

    def __init__(self, label: str, kind: str, started: float, indent: int) -> None:
        self.label = label
        self.kind = kind
        self.indent = indent
        self.started = started
        self.ended: float | None = None
        self.status = ""
        self.text = ""
        self.current = 0
        self.total = 0

    @property
    def state(self) -> str:
        return state_of(self.status)

    def update(self, event: dict[str, Any], now: float) -> None:
        if self.ended is not None and state_of(event["status"]) == "working":
            self.started = now  # something new begins: Created, then Starting
        self.status = event["status"]
        self.text = event.get("text", "")
        self.current = event.get("current", 0)
        self.total = event.get("total", 0)
        self.ended = None if self.state == "working" else now


def frame(
    items: Sequence[Item],
    *,
    title: str,
    now: float,
    width: int,
    rows: int,
    tick: int = 0,
    colour: bool = True,
) -> list[str]:
    """The lines of one picture of the live list, none wider than ``width``. When there are more than ``rows``
    lines, those that are finished give way first."""
    top = [item for item in items if not item.indent] or items
    finished = sum(item.state != "working" for item in top)
    header = f"[+] {title} {finished}/{len(top)}"
    shown = _fitting(items, max(rows - 2, 1))
    label_width = max((item.indent + len(item.label) for item in shown), default=0)
    is_done = bool(top) and finished == len(top)
    lines = [paint(header, BLUE if colour and is_done else "")]
    lines.extend(_line(item, label_width, now, width, tick, colour) for item in shown)
    return lines


def _fitting(items: Sequence[Item], room: int) -> list[Item]:
    if len(items) <= room:
        return list(items)
    chosen = {id(item) for item in sorted(items, key=_weight)[:room]}
    return [item for item in items if id(item) in chosen]


def _weight(item: Item) -> tuple[int, float]:
    order = {"error": 0, "working": 1, "warning": 2, "done": 3}[item.state]
    return order + (2 if item.indent and order == 1 else 0), -(item.ended or 0)


def _line(item: Item, label_width: int, now: float, width: int, tick: int, colour: bool) -> str:
    state = item.state
    mark = SPINNER[tick % len(SPINNER)] if state == "working" else _MARKS[state]
    label = (" " * item.indent + item.label).ljust(label_width)
    seconds = f"{(item.ended if item.ended is not None else now) - item.started:.1f}s "
    text = item.text
    if item.total and state == "working":
        from composer.cli.units import human_size

        text = f"{human_size(item.current)}/{human_size(item.total)}"
    body = f"{label}  {item.status}"
    room = width - 3 - len(seconds) - 1
    tail = f" {text.splitlines()[0]}" if text else ""
    if len(body) + len(tail) > room:
        tail = tail[: max(room - len(body) - 1, 0)] + "…" if tail and room > len(body) else ""
    if len(body) > room:
        body = body[:room]
    padding = " " * max(room - len(body) - len(tail), 0)
    if not colour:
        return f" {mark} {body}{tail}{padding} {seconds}"
    if state != "working" and body.endswith(item.status):
        body = body[: -len(item.status)] + paint(item.status, _COLOURS[state])
    return f" {paint(mark, _COLOURS[state] or YELLOW)} {body}{tail}{padding} {paint(seconds, BLUE)}"


class LiveRenderer(Renderer):
    """A list that is redrawn in place, ten times a second while something is at work.

    Drawn by hand: a frame is one write, and nothing is drawn for what ends within the first tick but its last
    state.
    """

    def __init__(
        self,
        write: Write,
        measure: Callable[[], tuple[int, int]],
        *,
        title: str = "Running",
        colour: bool = True,
        started: float = 0.0,
    ) -> None:
        from _thread import allocate_lock
        from time import monotonic

        super().__init__(write, colour=colour, started=started)
        self._measure = measure
        self._title = title
        self._clock = monotonic
        self._items: dict[str, Item] = {}
        self._drawn = 0
        self._tick = 0
        self._is_ticking = False
        self._lock = allocate_lock()
        self._stop = allocate_lock()
        self._stopped = allocate_lock()

    def line(self, text: str) -> None:
        self.close()
        self._write(f"{text}\n")

    def step(self, event: dict[str, Any]) -> None:
        if not event["name"]:
            return  # it says what the whole is about, which has a line already
        with self._lock:
            parent = event.get("parent", "")
            key = f"{parent}\0{event['kind']}\0{event['name']}"
            item = self._items.get(key)
            if item is None:
                label = event["name"] if parent else f"{event['kind']} {event['name']}"
                item = self._items[key] = Item(label, event["kind"], self._clock(), 2 if parent else 0)
                if parent:
                    self._place_below(key, parent)
            item.update(event, self._clock())
        self._start_ticking()

    def _place_below(self, key: str, parent: str) -> None:
        """Keep the layers of an image under it."""
        item = self._items.pop(key)
        placed: dict[str, Item] = {}
        prefix, above = f"{parent}\0", f"\0Image\0{parent}"
        keys = list(self._items)
        last = max(
            (i for i, k in enumerate(keys) if k == above or k.startswith(prefix)), default=len(keys) - 1
        )
        for index, other in enumerate(keys):
            placed[other] = self._items[other]
            if index == last:
                placed[key] = item
        placed.setdefault(key, item)
        self._items = placed

    def _start_ticking(self) -> None:
        if self._is_ticking:
            return
        from _thread import start_new_thread

        self._is_ticking = True
        self._stop.acquire()
        self._stopped.acquire()
        start_new_thread(self._run, ())

    def _run(self) -> None:
        while not self._stop.acquire(timeout=FRAME_SECONDS):
            with self._lock:
                self._draw()
        self._stop.release()
        self._stopped.release()

    def _stop_ticking(self) -> None:
        if self._is_ticking:
            self._is_ticking = False
            self._stop.release()
            self._stopped.acquire()
            self._stopped.release()

    def _draw(self, *, everything: bool = False) -> None:
        columns, rows = self._measure()
        lines = frame(
            list(self._items.values()),
            title=self._title,
            now=self._clock(),
            width=columns,
            rows=len(self._items) + 3 if everything else rows,
            tick=self._tick,
            colour=self._colour,
        )
        self._tick += 1
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        body = "".join(f"{line}\x1b[K\n" for line in lines)
        self._write(f"\x1b[?25l{up}\r{body}\x1b[J\x1b[?25h")
        self._drawn = len(lines)

    def warning(self, message: str) -> None:
        with self._lock:
            line = warning_line(message, colour=self._colour, started=self._started)
            if self._drawn:
                self._write(f"\x1b[{self._drawn}A\r\x1b[J")
                self._drawn = 0
                self._write(line)
                self._draw()
            else:
                self._write(line)

    def pause(self) -> None:
        """Draw the last state and begin a new list with the next step."""
        self._stop_ticking()
        with self._lock:
            if self._items:
                self._draw(everything=True)
            self._items, self._drawn = {}, 0

    def close(self) -> None:
        self.pause()
