"""``--debug``: every request and every event, with times."""

from __future__ import annotations

from composer.api.client import EngineClient, Response, encode_query
from composer.api.plain_json import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from composer.api.client import Body, QueryValue

_SHOWN = 2000
"""Characters of a body or an event that are shown."""


class TracedClient(EngineClient):
    """A client that tells what it asks and what it hears."""

    def __init__(self, path: str, connection: socket, trace: Callable[[str], None]) -> None:
        super().__init__(path, connection=connection)
        self._trace = trace

    def _tell(self, method: str, path: str, query: Mapping[str, QueryValue] | None, body: Body) -> None:
        target = path + (f"?{encode_query(query)}" if query else "")
        self._trace(f"-> {method} {target} {_summary(body)}".rstrip())

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, QueryValue] | None = None,
        body: Body = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        self._tell(method, path, query, body)
        answer = super().request(method, path, query, body, headers=headers)
        self._trace(f"<- {answer.status} {answer.body[:_SHOWN].decode(errors='replace').strip()}".rstrip())
        return answer

    def stream(
        self,
        method: str,
        path: str,
        query: Mapping[str, QueryValue] | None = None,
        body: Body = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[Any]:
        self._tell(method, path, query, body)
        return self._told(super().stream(method, path, query, body, headers=headers))

    def _told(self, events: Iterator[Any]) -> Iterator[Any]:
        for event in events:
            self._trace(f"<- {dumps(event).decode()[:_SHOWN]}")
            yield event

    def chunks(
        self,
        method: str,
        path: str,
        query: Mapping[str, QueryValue] | None = None,
        body: Body = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[bytes]:
        self._tell(method, path, query, body)
        return super().chunks(method, path, query, body, headers=headers)

    def hijack(
        self, method: str, path: str, query: Mapping[str, QueryValue] | None = None, body: Body = None
    ) -> tuple[socket, bytes]:
        self._tell(method, path, query, body)
        return super().hijack(method, path, query, body)


def _summary(body: Body) -> str:
    """A body without the environment, which is long and private."""
    if body is None:
        return ""
    if not isinstance(body, dict):
        return f"({type(body).__name__})"
    shown = dict(body)
    project = shown.get("project")
    if isinstance(project, dict) and "env" in project:
        shown["project"] = {**project, "env": f"({len(project['env'])} variables)"}
    return dumps(shown).decode()[:_SHOWN]
