"""A live list of steps on a terminal: who works, for how long, and the last lines of what builds print."""

from __future__ import annotations

from collections import deque

from composer.cli.output.progress import COLOURS, Renderer, state_of, warning_line
from composer.cli.terminals.terminal import BLUE, YELLOW, cut, paint, shown_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    Write = Callable[[str], None]

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
FRAME_SECONDS = 0.1
_WAITING = frozenset({"Pulling fs layer", "Waiting"})
_MARKS = {"done": "✔", "warning": "!", "error": "✘"}
_LOG_LINES = 6
"""Of what a step prints, at most."""
_GREY = "2"


class Item:
    """One line of the live list. Times are seconds of a monotonic clock."""

    __slots__ = ("current", "ended", "indent", "kind", "label", "log", "started", "status", "text", "total")

    def __init__(self, label: str, kind: str, started: float, indent: int) -> None:
        self.label = label
        self.kind = kind
        self.indent = indent
        self.started = started
        self.ended: float | None = None
        self.status = ""
        self.text = ""
        self.log: deque[str] = deque(maxlen=_LOG_LINES)
        self.current = 0
        self.total = 0

    @property
    def state(self) -> str:
        return state_of(self.status)

    def update(self, event: dict[str, Any], now: float) -> None:
        if self.ended is not None and state_of(event["status"]) == "working":
            self.started = now  # something new begins: Created, then Starting
        self.status = event["status"]
        text = event.get("text", "")
        if self.status == "Building" and text:
            self.log.append(shown_of(text))
        else:
            self.text = text
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
    status_width = max((len(item.status) for item in shown), default=0)
    label_width = min(label_width, max(width - status_width - len(" ⠋   00.0s  "), 8))
    is_done = bool(top) and finished == len(top)
    lines = [paint(header, BLUE if colour and is_done else "")]
    speaking = [item for item in shown if item.log and item.state == "working"]
    each = min(_LOG_LINES, (rows - 2 - len(shown)) // len(speaking)) if speaking else 0
    for item in shown:
        lines.append(_line(item, label_width, now, width, tick, colour))
        if item in speaking and each > 0:
            lines.extend(_printed(item, text, width, colour) for text in list(item.log)[-each:])
    return lines


def _printed(item: Item, text: str, width: int, colour: bool) -> str:
    line = cut(f"{' ' * (item.indent + 3)}│ {text}", width - 1)
    return paint(line, _GREY) if colour else line


def _fitting(items: Sequence[Item], room: int) -> list[Item]:
    if len(items) <= room:
        return list(items)
    chosen = {id(item) for item in sorted(items, key=_weight)[:room]}
    return [item for item in items if id(item) in chosen]


def _weight(item: Item) -> tuple[float, float]:
    order = {"error": 0.0, "working": 1.0, "warning": 2.0, "done": 3.0}[item.state]
    if item.indent and order == 1:
        order = 2.9 if item.status in _WAITING else 2.8
    return order, -(item.ended or 0)


def _line(item: Item, label_width: int, now: float, width: int, tick: int, colour: bool) -> str:
    state = item.state
    mark = SPINNER[tick % len(SPINNER)] if state == "working" else _MARKS[state]
    seconds = f"{(item.ended if item.ended is not None else now) - item.started:.1f}s "
    text = item.text
    if item.total and state == "working":
        from composer.cli.output.units import human_size

        text = f"{human_size(item.current)}/{human_size(item.total)}"
    room = width - 3 - len(seconds) - 1
    label = cut(" " * item.indent + item.label, label_width).ljust(label_width)
    body = f"{label}  {item.status}"
    tail = f" {text.splitlines()[0]}" if text else ""
    if len(body) + len(tail) > room:
        tail = tail[: max(room - len(body) - 1, 0)] + "…" if tail and room > len(body) else ""
    if len(body) > room:
        body = body[:room]
    padding = " " * max(room - len(body) - len(tail), 0)
    if not colour:
        return f" {mark} {body}{tail}{padding} {seconds}"
    if state != "working" and body.endswith(item.status):
        body = body[: -len(item.status)] + paint(item.status, COLOURS[state])
    return f" {paint(mark, COLOURS[state] or YELLOW)} {body}{tail}{padding} {paint(seconds, BLUE)}"


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
        began: float = 0.0,
    ) -> None:
        from _thread import allocate_lock
        from time import monotonic

        super().__init__(write, colour=colour, began=began)
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
                    self._place_below(key, event["kind"], parent)
            item.update(event, self._clock())
        self._start_ticking()

    def _place_below(self, key: str, kind: str, parent: str) -> None:
        """Keep the layers of an image under it."""
        item = self._items.pop(key)
        placed: dict[str, Item] = {}
        prefix, above = f"{parent}\0", f"\0{kind}\0{parent}"
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
            line = warning_line(message, colour=self._colour, began=self._began)
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
        with self._lock:
            working = [item for item in self._items.values() if item.state == "working"]
            if len(working) < len(self._items) and any(one.state == "error" for one in self._items.values()):
                for item in working:  # ended by what failed beside it
                    item.update({"status": "Interrupted"}, self._clock())
        self.pause()
