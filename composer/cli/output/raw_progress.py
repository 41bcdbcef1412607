"""``--progress rawjson``: what BuildKit's clients say of a build, an object a line (buildkit, client.SolveStatus)."""

from __future__ import annotations

from composer.cli.output.progress import Renderer, state_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_STDOUT = 1


class RawJsonRenderer(Renderer):
    """Steps are vertexes, named by a digest of what they are called; what they print are logs, in base64."""

    def __init__(self, write: Any) -> None:
        super().__init__(write)
        self._begun: dict[str, str] = {}

    def _emit(self, kind: str, fields: dict[str, Any]) -> None:
        from composer.api.plain_json import dumps

        self._write(dumps({kind: [fields]}).decode() + "\n")

    def step(self, event: dict[str, Any]) -> None:
        if not event.get("parent"):
            return  # the image itself: BuildKit knows steps alone
        from base64 import b64encode

        name, status, text = event["name"], event["status"], event.get("text", "")
        vertex, now = _digest(f"{event['parent']}\0{name}"), _time(event.get("time", 0))
        if status == "Building" and text:
            data = b64encode(f"{text}\n".encode("utf-8", "surrogateescape")).decode()
            self._emit("logs", {"vertex": vertex, "stream": _STDOUT, "data": data, "timestamp": now})
            return
        fields: dict[str, Any] = {"digest": vertex, "name": name}
        fields["started"] = self._begun.setdefault(vertex, now)
        state = state_of(status)
        if state != "working":
            fields["completed"] = now
            fields["cached"] = status == "Cached"
        if state == "error":
            fields["error"] = text or "failed"
        self._emit("vertexes", fields)

    def warning(self, message: str) -> None:
        from base64 import b64encode

        self._emit("warnings", {"level": 1, "short": b64encode(message.encode()).decode()})


def _digest(text: str) -> str:
    from hashlib import sha256

    return f"sha256:{sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()}"


def _time(ns: int) -> str:
    from datetime import UTC, datetime
    from time import time

    moment = datetime.fromtimestamp(ns / 1e9 if ns else time(), UTC)
    return moment.isoformat().replace("+00:00", "Z")
