"""A container's log as Docker streams it: lines with their ends, framed, with times if wanted."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from urllib.parse import quote_plus

from composer.api.messages import Sink
from composer.api.streams import frame
from composer.api.times import log_timestamp
from runtime.container.config import LogConfig
from runtime.container.logs import LogEntry


def details_of(log: LogConfig, labels: Mapping[str, str], env: Iterable[str]) -> bytes:
    """What ``--details`` puts before each line: the labels and variables that the log's options name, and its tag."""
    found: dict[str, str] = {}
    variables = {name: value for name, equals, value in (item.partition("=") for item in env) if equals}
    for option, have in (("labels", labels), ("env", variables)):
        names = [name.strip() for name in log.options.get(option, "").split(",")]
        pattern = log.options.get(f"{option}-regex", "")
        matches = re.compile(pattern).search if pattern else lambda _: None
        found |= {name: value for name, value in have.items() if name in names or matches(name)}
    if tag := log.options.get("tag", ""):
        found["tag"] = tag
    return ",".join(f"{quote_plus(k)}={quote_plus(v)}" for k, v in sorted(found.items())).encode() + b" "


def encode_line(line: LogEntry, *, tty: bool, timestamps: bool, details: bytes = b"") -> bytes:
    data = details + (line.data if line.partial else line.data + b"\n")
    if timestamps:
        data = log_timestamp(line.time_ns).encode() + b" " + data
    return data if tty else frame(line.stream, data)


async def copy(
    lines: AsyncIterator[Sequence[LogEntry]],
    sink: Sink,
    *,
    tty: bool,
    timestamps: bool,
    details: bytes = b"",
) -> None:
    """Send all ``lines``, those together that come together."""
    async for batch in lines:
        await sink.send(
            b"".join([encode_line(line, tty=tty, timestamps=timestamps, details=details) for line in batch])
        )
