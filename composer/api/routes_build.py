"""The build cache: what it has (``/composer/v1/build/cache``, and in ``/system/df``), and ``/build/prune``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from composer.api.interface import Engine
from composer.api.messages import Answer, Request, json_response
from composer.api.routing import Route
from composer.api.times import rfc3339
from runtime.build.solver.pruning import CacheEntry, Limits
from runtime.errors import InvalidArgument


def routes(engine: Engine) -> list[Route]:
    own = BuildRoutes(engine)
    return [
        Route("GET", "/composer/v1/build/cache", own.cache),
        Route("POST", "/build/prune", own.prune),
    ]


def entry_json(entry: CacheEntry) -> dict[str, Any]:
    """Docker's document of a cache record."""
    return {
        "ID": entry.id,
        "Parents": list(entry.parents),
        "Type": entry.type,
        "Description": entry.description,
        "InUse": entry.is_in_use,
        "Shared": entry.is_shared,
        "Size": entry.size,
        "CreatedAt": rfc3339(entry.created),
        "LastUsedAt": rfc3339(entry.used),
        "UsageCount": entry.uses,
    }


@dataclass(frozen=True, slots=True)
class BuildRoutes:
    engine: Engine

    async def cache(self, request: Request) -> Answer:
        entries = await self.engine.build_cache.usage(_filters(request))
        return json_response([entry_json(entry) for entry in entries])

    async def prune(self, request: Request) -> Answer:
        query = request.query
        limits = Limits(
            reserved=_bytes(query.text("reserved-space") or query.text("keep-storage") or "0"),
            most=_bytes(query.text("max-used-space") or "0"),
            free=_bytes(query.text("min-free-space") or "0"),
        )
        ids, freed = await self.engine.build_cache.prune(
            _filters(request), everything=query.flag("all"), limits=limits
        )
        return json_response({"CachesDeleted": ids or None, "SpaceReclaimed": freed})


def _filters(request: Request) -> dict[str, list[str]]:
    return {key: list(values) for key, values in request.query.filters(None).items()}


def _bytes(text: str) -> int:
    if not text.isdecimal():
        raise InvalidArgument(f"invalid size {text!r}: bytes expected")
    return int(text)
