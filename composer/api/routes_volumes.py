"""Volumes: ``/volumes/...`` of the Docker Engine API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from composer.api.container_filters import has_labels, has_pattern
from composer.api.interface import Engine
from composer.api.messages import NO_CONTENT, Answer, Request, json_response
from composer.api.routes_containers import is_pruned
from composer.api.routing import Route
from composer.api.times import SECOND, rfc3339
from composer.api.wire import VolumeBody, decode_body
from composer.engine.model import VolumeRecord
from runtime.errors import ComposerError, InvalidArgument

_LIST_FILTERS = frozenset({"dangling", "driver", "label", "name"})
_PRUNE_FILTERS = frozenset({"all", "label", "label!"})


def routes(engine: Engine) -> list[Route]:
    own = VolumeRoutes(engine)
    return [
        Route("GET", "/volumes", own.list_volumes),
        Route("POST", "/volumes/create", own.create),
        Route("POST", "/volumes/prune", own.prune),
        Route("GET", "/volumes/{name}", own.inspect),
        Route("DELETE", "/volumes/{name}", own.remove),
    ]


def volume_json(record: VolumeRecord, mountpoint: str) -> dict[str, Any]:
    """A volume in Docker's JSON."""
    return {
        "CreatedAt": rfc3339(record.created // SECOND * SECOND),
        "Driver": record.driver,
        "Labels": record.labels or None,
        "Mountpoint": mountpoint,
        "Name": record.name,
        "Options": record.driver_opts or None,
        "Scope": "local",
    }


@dataclass(frozen=True, slots=True)
class VolumeRoutes:
    engine: Engine

    def _json(self, record: VolumeRecord) -> dict[str, Any]:
        return volume_json(record, self.engine.volumes.mountpoint(record.name))

    def _used(self) -> set[str]:
        """Names of the volumes that containers have."""
        return {point.name for container in self.engine.containers.list(True) for point in container.mounts}

    async def list_volumes(self, request: Request) -> Answer:
        filters = request.query.filters(_LIST_FILTERS)
        used = self._used() if "dangling" in filters else set()
        found = [record for record in self.engine.volumes.list() if _is_listed(record, filters, used)]
        return json_response({"Volumes": [self._json(record) for record in found], "Warnings": None})

    async def inspect(self, request: Request) -> Answer:
        return json_response(self._json(self.engine.volumes.get(request.params["name"])))

    async def create(self, request: Request) -> Answer:
        body = decode_body(await request.json(dict), VolumeBody)
        if body.cluster_volume_spec:
            raise InvalidArgument("ClusterVolumeSpec: is not supported")
        record = self.engine.volumes.create(body.name, body.driver or "local", body.driver_opts, body.labels)
        return json_response(self._json(record), 201)

    async def remove(self, request: Request) -> Answer:
        await self.engine.volumes.remove(request.params["name"], request.query.flag("force"))
        return NO_CONTENT

    async def prune(self, request: Request) -> Answer:
        """Unused volumes: anonymous ones, with the filter ``all`` (and always before API 1.42) named ones
        too."""
        filters = request.query.filters(_PRUNE_FILTERS)
        everything = request.version < (1, 42) or filters.get("all", ["false"])[0].lower() in ("1", "true")
        used = self._used()
        sizes = (await self.engine.system.df()).get("volumes", {})
        removed, reclaimed = [], 0
        for record in list(self.engine.volumes.list()):
            if record.name in used or not (everything or record.is_anonymous):
                continue
            if not is_pruned(record.labels, filters):
                continue
            try:
                await self.engine.volumes.remove(record.name)
            except ComposerError:
                continue  # taken into use meanwhile
            removed.append(record.name)
            reclaimed += int(sizes.get(record.name, 0))
        return json_response({"VolumesDeleted": removed or None, "SpaceReclaimed": reclaimed})


def _is_listed(record: VolumeRecord, filters: dict[str, list[str]], used: set[str]) -> bool:
    if not has_labels(record.labels, filters.get("label", ())):
        return False
    if "dangling" in filters and (record.name not in used) != (
        filters["dangling"][0].lower() in ("1", "true")
    ):
        return False
    if "driver" in filters and record.driver not in filters["driver"]:
        return False
    return "name" not in filters or any(has_pattern(record.name, pattern) for pattern in filters["name"])
