"""Containers: ``/containers/...`` of the Docker Engine API, but for archives and execs."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any, Literal, cast

import trio
from msgspec.structs import replace

from composer.api import container_filters, container_json, container_log, streams
from composer.api.container_create import container_config, resources, restart_policy
from composer.api.detaching import DEFAULT_DETACH_KEYS, parse_detach_keys
from composer.api.interface import Container, Engine
from composer.api.messages import (
    NO_CONTENT,
    Answer,
    Request,
    Sink,
    Streaming,
    encode_json,
    json_response,
)
from composer.api.moments import parse_time
from composer.api.routing import Route
from composer.api.wire import CreateBody, ResourcesBody, decode_body
from runtime.container.config import LIFTED, EndpointConfig
from runtime.errors import ComposerError, Conflict, InvalidArgument

WAIT_CONDITIONS = ("not-running", "next-exit", "removed")
_PRUNE_FILTERS = frozenset({"label", "label!", "until"})


def routes(engine: Engine) -> list[Route]:
    own = ContainerRoutes(engine)
    return [
        Route("GET", "/containers/json", own.list_containers),
        Route("POST", "/containers/create", own.create),
        Route("POST", "/containers/prune", own.prune),
        Route("GET", "/containers/{id}/json", own.inspect),
        Route("GET", "/containers/{id}/top", own.top),
        Route("GET", "/containers/{id}/logs", own.logs),
        Route("GET", "/containers/{id}/changes", own.changes),
        Route("GET", "/containers/{id}/stats", own.stats),
        Route("POST", "/containers/{id}/start", own.start),
        Route("POST", "/containers/{id}/stop", own.stop),
        Route("POST", "/containers/{id}/restart", own.restart),
        Route("POST", "/containers/{id}/kill", own.kill),
        Route("POST", "/containers/{id}/pause", own.pause),
        Route("POST", "/containers/{id}/unpause", own.unpause),
        Route("POST", "/containers/{id}/rename", own.rename),
        Route("POST", "/containers/{id}/resize", own.resize),
        Route("POST", "/containers/{id}/update", own.update),
        Route("POST", "/containers/{id}/attach", own.attach),
        Route("POST", "/containers/{id}/wait", own.wait),
        Route("DELETE", "/containers/{id}", own.remove),
    ]


@dataclass(frozen=True, slots=True)
class ContainerRoutes:
    engine: Engine

    async def list_containers(self, request: Request) -> Answer:
        query = request.query
        filters = query.filters(container_filters.KNOWN)
        limit = query.integer("limit", 0) or 0
        everything = query.flag("all") or limit > 0 or container_filters.shows_stopped(filters)
        containers = list(self.engine.containers.list(everything))
        if filters:
            containers = container_filters.select(
                containers, filters, find=self.engine.containers.get, image_id=self._image_id
            )
        if limit > 0:
            containers = containers[:limit]
        now = time.time_ns()
        found = [
            container_json.summary(container, now) | {"Image": self._image_name(container)}
            for container in containers
        ]
        if query.flag("size"):
            await self._add_sizes(found)
        return json_response(found)

    def _image_name(self, container: Container) -> str:
        """What a container was made from, or its id when the name has come to mean another image, or none."""
        return (
            container.image_ref
            if self._image_id(container.image_ref) == container.image_id
            else container.image_id
        )

    def _image_id(self, ref: str) -> str | None:
        try:
            return self.engine.images.get(ref).id
        except ComposerError:
            return None

    async def _add_sizes(self, found: list[dict[str, Any]]) -> None:
        sizes = (await self.engine.system.df()).get("containers", {})
        for fields in found:
            own = int(sizes.get(fields["Id"], 0))
            image = self._image_size(fields["ImageID"])
            fields |= {"SizeRw": own, "SizeRootFs": own + image}

    def _image_size(self, image_id: str) -> int:
        try:
            return self.engine.images.get(image_id).size
        except ComposerError:
            return 0

    async def create(self, request: Request) -> Answer:
        document = await request.json(dict)
        body = decode_body(document, CreateBody)
        config = container_config(body, request.query.text("platform"))
        config = replace(config, endpoints=tuple(self._named(endpoint) for endpoint in config.endpoints))
        self._create_volumes(body)
        name = request.query.text("name").removeprefix("/")
        record = await self.engine.containers.create(config, name, request.query.text("id"))
        return json_response({"Id": record.id, "Warnings": config.warnings}, 201)

    def _named(self, endpoint: EndpointConfig) -> EndpointConfig:
        """Clients may name networks by id."""
        return replace(endpoint, network=self.engine.networks.get(endpoint.network).name)

    def _create_volumes(self, body: CreateBody) -> None:
        """Volumes whose options come with the mount."""
        for mount in body.host_config.mounts:
            driver = mount.volume_options.driver_config
            if (
                mount.type == "volume"
                and mount.source
                and (driver is not None or mount.volume_options.labels)
            ):
                self.engine.volumes.create(
                    mount.source,
                    (driver.name if driver else "") or "local",
                    driver.options if driver else {},
                    mount.volume_options.labels,
                )

    async def inspect(self, request: Request) -> Answer:
        container = self._get(request)
        exec_ids = self.engine.execs.of(container.id)
        fields = container_json.inspect(container, exec_ids=exec_ids)
        if request.query.flag("size"):
            sizes = (await self.engine.system.df()).get("containers", {})
            own = int(sizes.get(container.id, 0))
            fields |= {"SizeRw": own, "SizeRootFs": own + self._image_size(container.image_id)}
        return json_response(fields)

    def _get(self, request: Request) -> Container:
        return self.engine.containers.get(request.params["id"])

    async def top(self, request: Request) -> Answer:
        container = self._get(request)
        titles, processes = await self.engine.containers.top(
            container.id, request.query.text("ps_args", "-ef")
        )
        return json_response({"Titles": list(titles), "Processes": [list(row) for row in processes]})

    async def logs(self, request: Request) -> Answer:
        query = request.query
        stdout, stderr = query.flag("stdout"), query.flag("stderr")
        if not (stdout or stderr):
            raise InvalidArgument("Bad parameters: you must choose at least one stream")
        container = self._get(request)
        tail_text = query.text("tail", "all")
        tail = int(tail_text) if tail_text.isdecimal() else None
        # As with Docker, there is nothing to follow where nothing has been started.
        follow = query.flag("follow") and container.state.status != "created"
        lines = self.engine.containers.logs(
            container.id,
            follow=follow,
            stdout=stdout,
            stderr=stderr,
            since=query.time_ns("since"),
            until=query.time_ns("until"),
            tail=tail,
        )
        tty = container.config.tty
        timestamps = query.flag("timestamps")
        details = b""
        if query.flag("details"):
            details = container_log.details_of(
                container.config.log,
                container.labels,
                container_json.container_environment(container.config, container.image),
            )

        async def produce(sink: Sink) -> None:
            if follow:
                await sink.send(b"")
            await container_log.copy(lines, sink, tty=tty, timestamps=timestamps, details=details)

        return Streaming(produce, streams.stream_content_type(tty=tty, version=request.version))

    async def changes(self, request: Request) -> Answer:
        found = await self.engine.containers.changes(self._get(request).id)
        return json_response([{"Kind": kind, "Path": path} for kind, path in found] or None)

    async def stats(self, request: Request) -> Answer:
        container = self._get(request)
        is_stream = request.query.flag("stream", True)
        documents = self.engine.containers.stats(
            container.id, stream=is_stream, one_shot=request.query.flag("one-shot")
        )

        async def produce(sink: Sink) -> None:
            async for document in documents:
                await sink.send(encode_json(document) + b"\n")

        return Streaming(produce)

    async def start(self, request: Request) -> Answer:
        await self.engine.containers.start(self._get(request).id)
        return NO_CONTENT

    async def stop(self, request: Request) -> Answer:
        timeout = request.query.number("t")
        await self.engine.containers.stop(self._get(request).id, timeout, request.query.text("signal"))
        return NO_CONTENT

    async def restart(self, request: Request) -> Answer:
        timeout = request.query.number("t")
        await self.engine.containers.restart(self._get(request).id, timeout, request.query.text("signal"))
        return NO_CONTENT

    async def kill(self, request: Request) -> Answer:
        await self.engine.containers.kill(self._get(request).id, request.query.text("signal") or "SIGKILL")
        return NO_CONTENT

    async def pause(self, request: Request) -> Answer:
        await self.engine.containers.pause(self._get(request).id)
        return NO_CONTENT

    async def unpause(self, request: Request) -> Answer:
        await self.engine.containers.unpause(self._get(request).id)
        return NO_CONTENT

    async def rename(self, request: Request) -> Answer:
        name = request.query.text("name").removeprefix("/")
        if not name:
            raise InvalidArgument("Neither old nor new names may be empty")
        await self.engine.containers.rename(self._get(request).id, name)
        return NO_CONTENT

    async def resize(self, request: Request) -> Answer:
        rows, cols = terminal_size(request)
        await self.engine.containers.resize(self._get(request).id, rows, cols)
        return json_response(None)

    async def update(self, request: Request) -> Answer:
        document = await request.json(dict)
        body = decode_body(document, ResourcesBody)
        container = self._get(request)
        restart = restart_policy(body.restart_policy) if body.restart_policy.name else None
        asked = resources(body, container.config.resources.memory)
        merged = replace(
            container.config.resources,
            **{
                name: value
                for name in asked.__struct_fields__
                if (value := getattr(asked, name)) not in (0, "", None, ())
            },
        )
        if body.pids_limit is not None and body.pids_limit <= 0:
            merged = replace(merged, pids_limit=LIFTED)
        await self.engine.containers.update(container.id, merged, restart)
        return json_response({"Warnings": []})

    async def attach(self, request: Request) -> Answer:
        query = request.query
        container = self._get(request)
        if container.state.status == "paused":
            raise Conflict(f"container {container.name} is paused, unpause the container before attach")
        stdin = query.flag("stdin") and query.flag("stream") and container.config.stdin_open
        keys = detach_keys(query.text("detachKeys"))
        session = await self.engine.containers.attach(
            container.id,
            stdin=stdin,
            stdout=query.flag("stdout"),
            stderr=query.flag("stderr"),
            logs=query.flag("logs"),
        )
        return streams.converse(
            session, tty=container.config.tty, stdin=stdin, detach_keys=keys, version=request.version
        )

    async def wait(self, request: Request) -> Answer:
        condition = request.query.text("condition") or "not-running"
        if condition not in WAIT_CONDITIONS:
            raise InvalidArgument(
                f'invalid condition: "{condition}"', hint=f"Use {', '.join(WAIT_CONDITIONS)}."
            )
        container = self._get(request)

        async def produce(sink: Sink) -> None:
            status: list[int] = []
            broken: list[Exception] = []
            async with trio.open_nursery() as nursery:

                async def wait() -> None:
                    status.append(
                        await self.engine.containers.wait(
                            container.id, cast('Literal["not-running", "next-exit", "removed"]', condition)
                        )
                    )

                # The client starts the container when it sees the head of this answer: the wait has to be
                # under way by then. Two checkpoints let the other task run to where it waits.
                nursery.start_soon(wait)
                await trio.lowlevel.checkpoint()
                await trio.lowlevel.checkpoint()
                try:
                    await sink.send(b"")
                except Exception as error:  # alone, not in a group: who asked is gone
                    broken.append(error)
                    nursery.cancel_scope.cancel()
            if broken:
                raise broken[0]
            await sink.send(encode_json({"StatusCode": status[0]}) + b"\n")

        return Streaming(produce)

    async def remove(self, request: Request) -> Answer:
        query = request.query
        if query.flag("link"):
            raise InvalidArgument("removing links is not supported", hint="Leave out --link.")
        container = self._get(request)
        await self.engine.containers.remove(container.id, force=query.flag("force"), volumes=query.flag("v"))
        return NO_CONTENT

    async def prune(self, request: Request) -> Answer:
        filters = request.query.filters(_PRUNE_FILTERS)
        bound = until_bound(filters.get("until", []), time.time_ns())
        stopped = [
            container
            for container in self.engine.containers.list(True)
            if container.state.status in ("created", "exited", "dead")
            and container.created <= bound
            and is_pruned(container.labels, filters)
        ]
        sizes = (await self.engine.system.df()).get("containers", {}) if stopped else {}
        removed, reclaimed = [], 0
        for container in stopped:
            try:
                await self.engine.containers.remove(container.id)
            except ComposerError:
                continue  # started or removed meanwhile
            removed.append(container.id)
            reclaimed += int(sizes.get(container.id, 0))
        return json_response({"ContainersDeleted": removed or None, "SpaceReclaimed": reclaimed})


def is_pruned(labels: Any, filters: dict[str, list[str]]) -> bool:
    """The label filters of prune: ``label`` all present, ``label!`` none."""
    if not container_filters.has_labels(labels, filters.get("label", ())):
        return False
    return not any(container_filters.has_labels(labels, [text]) for text in filters.get("label!", ()))


def until_bound(texts: list[str], now_ns: int) -> float:
    """``until`` of prune: a date, a time (seconds) or a duration back from now (``24h``); ns, inf without any. Raises
    InvalidArgument."""
    if not texts:
        return math.inf
    if len(texts) > 1:
        raise InvalidArgument("more than one until filter specified")
    try:
        return parse_time(texts[0], now_ns)
    except ValueError:
        raise InvalidArgument(
            f'failed to parse value as time or duration: "{texts[0]}"',
            hint="for instance until=24h, until=2026-01-31 or until=1767225600",
        ) from None


def terminal_size(request: Request) -> tuple[int, int]:
    rows, cols = request.query.integer("h"), request.query.integer("w")
    if rows is None or cols is None or not (0 <= rows < 65536 and 0 <= cols < 65536):
        raise InvalidArgument("h and w: whole numbers from 0 to 65535 expected")
    return rows, cols


def detach_keys(text: str) -> bytes:
    """The sequence a client asked for, or the usual one."""
    if not text:
        return DEFAULT_DETACH_KEYS
    try:
        return parse_detach_keys(text)
    except ValueError as error:
        raise InvalidArgument(str(error)) from None
