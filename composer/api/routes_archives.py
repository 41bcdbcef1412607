"""Files in and out of containers: ``docker cp`` and ``docker export``."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from composer.api.interface import Engine
from composer.api.messages import TAR, Answer, Request, Response, Sink, Streaming, encode_json, json_response
from composer.api.routing import Route
from composer.api.spool import spooled
from runtime.errors import InvalidArgument

PATH_STAT = "X-Docker-Container-Path-Stat"


def routes(engine: Engine) -> list[Route]:
    own = ArchiveRoutes(engine)
    return [
        Route("HEAD", "/containers/{id}/archive", own.stat),
        Route("GET", "/containers/{id}/archive", own.get),
        Route("PUT", "/containers/{id}/archive", own.put),
        Route("GET", "/containers/{id}/export", own.export),
        Route("POST", "/commit", own.commit),
    ]


@dataclass(frozen=True, slots=True)
class ArchiveRoutes:
    engine: Engine

    def _target(self, request: Request) -> tuple[str, str]:
        path = request.query.text("path")
        if not path:
            raise InvalidArgument("bad parameter: 'path' cannot be empty")
        return self.engine.containers.get(request.params["id"]).id, path

    async def _stat_header(self, container_id: str, path: str) -> tuple[str, str]:
        stat = await self.engine.containers.archive_stat(container_id, path)
        return PATH_STAT, base64.b64encode(encode_json(stat)).decode()

    async def stat(self, request: Request) -> Answer:
        container_id, path = self._target(request)
        return Response(200, headers=(await self._stat_header(container_id, path),))

    async def get(self, request: Request) -> Answer:
        container_id, path = self._target(request)
        header = await self._stat_header(container_id, path)

        async def produce(sink: Sink) -> None:
            await self.engine.containers.archive_get(container_id, path, sink.send)

        return Streaming(produce, TAR, (header,))

    async def put(self, request: Request) -> Answer:
        container_id, path = self._target(request)
        async with spooled(request.body, self.engine.spool) as archive:
            await self.engine.containers.archive_put(
                container_id,
                path,
                archive,
                no_overwrite_dir_non_dir=request.query.flag("noOverwriteDirNonDir"),
            )
        return Response(200)

    async def commit(self, request: Request) -> Answer:
        query = request.query
        repository, tag = query.text("repo"), query.text("tag")
        made = await self.engine.containers.commit(
            self.engine.containers.get(query.text("container")).id,
            f"{repository}:{tag}" if repository and tag else repository,
            author=query.text("author"),
            comment=query.text("comment"),
            changes=query.all("changes"),
            pause=query.flag("pause", True),
        )
        return json_response({"Id": made}, 201)

    async def export(self, request: Request) -> Answer:
        container_id = self.engine.containers.get(request.params["id"]).id

        async def produce(sink: Sink) -> None:
            await self.engine.containers.export(container_id, sink.send)

        return Streaming(produce, "application/octet-stream")
