"""How an engine makes room for one of a newer version: when nobody has it do anything, in the same process, with the
same listening socket, so that clients see a pause."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass

import trio
from msgspec import Struct

from composer import __version__
from composer.api.messages import Answer, Request, json_response
from composer.api.routing import Route
from composer.program import is_older
from runtime.errors import Conflict, InvalidArgument

PATIENCE = 3.0
"""Seconds to wait for the requests of others to be over."""
LOOK = 0.05
"""Seconds between two looks at them."""


class Successor(Struct, frozen=True, rename="pascal"):
    """The core that is to take over."""

    version: str
    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Succession:
    """What an engine needs to know to make room."""

    at_work: Callable[[], Collection[str]]
    """What other clients' requests are about."""
    close_door: Callable[[], None]
    """Let whoever connects from now on wait."""
    give_way: Callable[[Successor], None]
    """End, and execute the successor."""

    def routes(self) -> list[Route]:
        return [Route("POST", "/composer/v1/engine/replace", self.replace)]

    async def replace(self, request: Request) -> Answer:
        successor = await request.json(Successor)
        if not is_older(__version__, successor.version):
            return json_response({"Version": __version__, "Replaced": False})
        if not successor.argv or not os.access(successor.argv[0], os.X_OK):
            raise InvalidArgument("Argv is to begin with the path of a program")
        deadline = trio.current_time() + PATIENCE
        while others := self.at_work():
            if trio.current_time() >= deadline:
                raise Conflict(f"the engine is at work for others: {', '.join(sorted(others))}")
            await trio.sleep(LOOK)
        self.close_door()
        self.give_way(successor)
        return json_response({"Version": successor.version, "Replaced": True})
