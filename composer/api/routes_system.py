"""The engine itself: ``/_ping``, ``/version``, ``/info``, ``/system/df`` and ``/composer/v1/engine``."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from composer.api import container_json, image_json
from composer.api.interface import Engine
from composer.api.messages import Answer, Request, Response, json_response
from composer.api.routes_build import entry_json
from composer.api.routes_volumes import volume_json
from composer.api.routing import API_VERSION, MIN_API_VERSION, Route, version_text
from runtime.errors import ComposerError

_NO_CACHE = (("Cache-Control", "no-cache, no-store, must-revalidate"), ("Pragma", "no-cache"))
_UNSUPPORTED = {
    "swarm": "swarm mode",
    "nodes": "swarm mode",
    "services": "swarm mode",
    "tasks": "swarm mode",
    "secrets": "swarm mode",
    "configs": "swarm mode",
    "session": "BuildKit sessions",
    "grpc": "BuildKit sessions",
    "distribution": "looking up images in registries through the engine",
}
"""First segments of paths that the Docker Engine API has and this engine does not serve."""


def routes(engine: Engine) -> list[Route]:
    own = SystemRoutes(engine)
    unsupported = [
        Route(method, pattern, _refuse(what))
        for segment, what in _UNSUPPORTED.items()
        for pattern in (f"/{segment}", f"/{segment}/{{rest*}}")
        for method in ("GET", "POST", "DELETE")
    ]
    return [
        Route("GET", "/_ping", own.ping),
        Route("GET", "/version", own.version),
        Route("GET", "/info", own.info),
        Route("GET", "/system/df", own.disk_usage),
        Route("GET", "/plugins", own.plugins),
        Route("GET", "/composer/v1/engine", own.status),
        Route("POST", "/composer/v1/engine/stop", own.stop),
        Route("GET", "/composer/v1/engine/dump", own.dump),
        *unsupported,
    ]


def _refuse(what: str) -> Callable[[Request], Coroutine[Any, Any, Answer]]:
    async def refuse(request: Request) -> Answer:
        raise ComposerError(f"{what} is not supported by this engine", status=501)

    return refuse


@dataclass(frozen=True, slots=True)
class SystemRoutes:
    engine: Engine

    async def ping(self, request: Request) -> Answer:
        return Response(200, b"OK", "text/plain; charset=utf-8", (*_NO_CACHE, ("Builder-Version", "1")))

    async def version(self, request: Request) -> Answer:
        found = self.engine.system.version()
        versions = {"ApiVersion": version_text(API_VERSION), "MinAPIVersion": version_text(MIN_API_VERSION)}
        # Docker's command shows what the first component says of itself, not what stands beside it.
        machine = {key: found[key] for key in ("Os", "Arch", "KernelVersion")}
        engine, *others = found["Components"]
        engine = {**engine, "Details": {**engine["Details"], **machine, **versions}}
        return json_response({**found, "Components": [engine, *others], **versions})

    async def info(self, request: Request) -> Answer:
        return json_response(self.engine.system.info())

    async def plugins(self, request: Request) -> Answer:
        return json_response([])

    async def disk_usage(self, request: Request) -> Answer:
        """Docker's document; ``type`` (repeated) limits it to a kind of object."""
        wanted = request.query.all("type") or ["container", "image", "volume", "build-cache"]
        sizes = await self.engine.system.df()
        fields: dict[str, Any] = {}
        if "image" in wanted:
            fields["LayersSize"] = int(sizes.get("layers", 0))
            fields["ImagesReclaimable"] = int(sizes.get("reclaimable", 0))
            fields["Images"] = self._images(sizes.get("shared", {}))
        if "container" in wanted:
            fields["Containers"] = self._containers(sizes.get("containers", {}))
        if "volume" in wanted:
            fields["Volumes"] = self._volumes(sizes.get("volumes", {}))
        if "build-cache" in wanted:
            fields["BuildCache"] = [entry_json(entry) for entry in await self.engine.build_cache.usage()]
        return json_response(fields)

    def _images(self, shared: dict[str, int]) -> list[dict[str, Any]]:
        users = image_json.users_of(self.engine.containers.list(True))
        return [
            image_json.summary(image, len(users.get(image.id, ()))) | {"SharedSize": shared.get(image.id, 0)}
            for image in self.engine.images.list()
        ]

    def _containers(self, sizes: dict[str, int]) -> list[dict[str, Any]]:
        now = time.time_ns()
        return [
            container_json.summary(container, now) | {"SizeRw": sizes.get(container.id, 0)}
            for container in self.engine.containers.list(True)
        ]

    def _volumes(self, sizes: dict[str, int]) -> list[dict[str, Any]]:
        users: dict[str, int] = {}
        for container in self.engine.containers.list(True):
            for point in container.mounts:
                users[point.name] = users.get(point.name, 0) + 1
        return [
            volume_json(record, self.engine.volumes.mountpoint(record.name))
            | {"UsageData": {"RefCount": users.get(record.name, 0), "Size": sizes.get(record.name, -1)}}
            for record in self.engine.volumes.list()
        ]

    async def status(self, request: Request) -> Answer:
        return json_response(self.engine.system.status())

    async def dump(self, request: Request) -> Answer:
        return json_response(self.engine.system.dump())

    async def stop(self, request: Request) -> Answer:
        await self.engine.system.stop()
        return Response(204)
