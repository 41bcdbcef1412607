"""Lines of containers' logs as they are shown: a coloured prefix a container, times if wanted."""

from __future__ import annotations

from composer.cli.terminals.terminal import LOG_COLOURS, paint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class LogPrinter:
    """Writes LogEvents and ExitEvents. ``write`` takes bytes for stdout, ``write_errors`` those of containers' stderr.

    Parts of one line are put together; half a line of one container is ended before another one's begins.
    """

    def __init__(
        self,
        write: Callable[[bytes], None],
        *,
        write_errors: Callable[[bytes], None] | None = None,
        colour: bool,
        prefix: bool = True,
        timestamps: bool = False,
    ) -> None:
        self._write = write
        self._writers = {"stderr": write_errors or write}
        self._colour = colour
        self._prefix = prefix
        self._timestamps = timestamps
        self._colours: dict[str, str] = {}
        self._width = 0
        self._open: tuple[str, str] | None = None
        """Container and stream whose line is not ended."""

    def register(self, name: str) -> None:
        """Know a name before its first line, so that prefixes are of one width."""
        if name not in self._colours:
            self._colours[name] = LOG_COLOURS[len(self._colours) % len(LOG_COLOURS)]
            self._width = max(self._width, len(name))

    def log(self, event: dict[str, Any], form: str = "{}") -> None:
        """Lines of a container; ``form``: what they are called, of its name."""
        name = form.format(shown_name(event))
        self.register(name)
        source = (name, event.get("stream", "stdout"))
        if self._open is not None and self._open != source:
            self.end_line()
        if (encoded := event.get("text64")) is not None:
            from binascii import a2b_base64

            text = a2b_base64(encoded)
        else:
            text = event.get("text", "").encode("utf-8", "surrogateescape")
        head = self._head(name)
        if self._timestamps:
            lines = zip(event["times"], text.split(b"\n"), strict=True)
            text = (b"\n" + head).join([timestamp(time) + line for time, line in lines])
            if self._open is not None:
                text = text[len(timestamp(0)) :]
        elif head:
            text = text.replace(b"\n", b"\n" + head)
        if self._open is None:
            text = head + text
        self._open = source if event.get("partial") else None
        self._writer(source[1])(text if self._open else text + b"\n")

    def _writer(self, stream: str) -> Callable[[bytes], None]:
        return self._writers.get(stream, self._write)

    def _head(self, name: str) -> bytes:
        if not self._prefix:
            return b""
        head = f"{name:<{self._width}}  | "
        return (paint(head, self._colours[name]) if self._colour else head).encode()

    def exit(self, event: dict[str, Any]) -> None:
        """That a container has ended."""
        name = shown_name(event)
        self.end_line()
        shown = paint(name, self._colours.get(name, "")) if self._colour else name
        tail = ": it ran out of memory" if event.get("oom_killed") else ""
        tail += " (restarting)" if event.get("restarting") else ""
        start = "\r\x1b[K" if self._colour else ""
        self._write(f"{start}{shown} exited with code {event.get('exit_code', 0)}{tail}\n".encode())

    def end_line(self) -> None:
        """Something else is going to be written."""
        if self._open is not None:
            self._writer(self._open[1])(b"\n")
            self._open = None


def shown_name(event: dict[str, Any]) -> str:
    """``web-1`` for the project's container of that number, else the container's own name."""
    service, number, container = event["service"], event.get("number", 0), event["container"]
    short = f"{service}-{number}"
    return short if container.endswith(f"-{short}") else str(container)


def timestamp(nanoseconds: int) -> bytes:
    """RFC 3339 in UTC with all nine digits, and a space."""
    from time import gmtime

    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return b"%04d-%02d-%02dT%02d:%02d:%02d.%09dZ " % (*gmtime(seconds)[:6], rest)


def writer_of(fd: int) -> Callable[[bytes], None]:
    """Write everything to a descriptor, at once."""
    from os import write

    def write_all(data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[write(fd, view) :]

    return write_all
