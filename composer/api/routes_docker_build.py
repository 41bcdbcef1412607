"""``POST /build`` of the Docker Engine API: a Dockerfile and its context as a tar (``docker build`` without BuildKit,
docker-py, testcontainers). BuildKit's own sessions are not spoken."""

from __future__ import annotations

import base64
import binascii
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from composer.api.interface import Engine, Progress
from composer.api.messages import Answer, Query, Request
from composer.api.progress_messages import progress_messages
from composer.api.routing import Route
from composer.api.spool import spooled
from composer.engine.builds.requests import ImageBuild
from composer.engine.requests import Event, StepEvent, WarningEvent
from runtime.errors import InvalidArgument

_REFUSED = (
    *("memory", "memswap", "cpushares", "cpusetcpus", "cpuperiod", "cpuquota"),
    *("cgroupparent", "isolation", "securityopt", "squash", "outputs"),
)
"""What a client may ask for and is not done here; what asks for nothing is taken."""
_NOTHING = ("", "0", "false", "null", "[]", "{}", "default")


def routes(engine: Engine) -> list[Route]:
    return [Route("POST", "/build", BuildRoute(engine).build)]


@dataclass(frozen=True, slots=True)
class BuildRoute:
    engine: Engine

    async def build(self, request: Request) -> Answer:
        asked = build_request(request.query)
        accounts = registry_accounts(request.headers.get("x-registry-config", ""))

        async def work(emit: Progress) -> None:
            async def forward(event: Event) -> None:
                for text in () if asked.quiet else shown(event):
                    await emit({"stream": text})

            spool = self.engine.spool
            async with spooled(request.body, spool) as archive:
                with tempfile.TemporaryDirectory(dir=spool) as directory:
                    (Path(directory) / "config.json").write_text(json.dumps({"auths": accounts}))
                    build = replace(
                        asked,
                        archive="" if asked.context else str(archive),
                        env={"DOCKER_CONFIG": directory},
                    )
                    result = await self.engine.builds.run(build, forward)
            for message in ended(asked, str(result.data["Id"])):
                await emit(message)

        return progress_messages(work)


def build_request(query: Query) -> ImageBuild:
    """What the parameters ask for. Raises InvalidArgument for what they may not be, or cannot be had."""
    if query.text("version", "1") == "2":
        raise InvalidArgument(
            "BuildKit's sessions are not spoken here",
            hint="DOCKER_BUILDKIT=0 docker build, or composer image build",
        )
    for name in _REFUSED:
        if query.text(name).strip().lower() not in _NOTHING:
            raise InvalidArgument(f"build: {name} is not supported")
    hosts = [text.replace(":", "=", 1) if "=" not in text else text for text in query.all("extrahosts")]
    platform, network = query.text("platform"), query.text("networkmode")
    return ImageBuild(
        context=query.text("remote"),
        dockerfile=query.text("dockerfile"),
        target=query.text("target"),
        tags=tuple(tag for tag in query.all("t") if tag),
        args={key: value for key, value in _mapping(query, "buildargs").items() if value is not None},
        labels={key: str(value) for key, value in _mapping(query, "labels").items()},
        no_cache=query.flag("nocache"),
        pull=query.flag("pull"),
        network=network,
        allow=("network.host",) if network == "host" else (),
        extra_hosts=tuple(hosts),
        shm_size=int(query.number("shmsize") or 0),
        ulimits=_ulimits(query),
        platforms=(platform,) if platform else (),
        cache_from=tuple(str(name) for name in _list(query, "cachefrom")),
        quiet=query.flag("q"),
    )


def shown(event: Event) -> Iterator[str]:
    """The text that Docker's builder would have for an event."""
    if isinstance(event, WarningEvent):
        yield f"[Warning] {event.message}\n"
    elif isinstance(event, StepEvent) and event.parent:
        if event.text:
            yield f"{event.text}\n"
        elif event.status == "Building":
            yield f"{event.name}\n"
        elif event.status == "Cached":
            yield f"{event.name}\n ---> Using cache\n"


def ended(asked: ImageBuild, image: str) -> Iterator[dict[str, Any]]:
    """The last messages: clients find the image's id in them."""
    if asked.quiet:
        yield {"stream": f"{image}\n"}
        return
    yield {"aux": {"ID": image}}
    yield {"stream": f"Successfully built {image.removeprefix('sha256:')[:12]}\n"}
    for tag in asked.tags:
        full = tag if ":" in tag.rpartition("/")[2] else f"{tag}:latest"
        yield {"stream": f"Successfully tagged {full}\n"}


def registry_accounts(header: str) -> Mapping[str, Any]:
    """``X-Registry-Config``: credentials by registry, URL-safe base64 of JSON; {} for what is none."""
    try:
        found = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)) or b"{}")
    except (binascii.Error, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _value(query: Query, name: str) -> Any:
    try:
        return json.loads(query.text(name) or "null")
    except (ValueError, RecursionError):
        raise InvalidArgument(f"build: {name} is no JSON") from None


def _mapping(query: Query, name: str) -> dict[str, Any]:
    found = _value(query, name) or {}
    if not isinstance(found, dict) or not all(isinstance(v, str | None) for v in found.values()):
        raise InvalidArgument(f"build: {name} is no object of strings")
    return found


def _list(query: Query, name: str) -> list[Any]:
    found = _value(query, name) or []
    if not isinstance(found, list):
        raise InvalidArgument(f"build: {name} is no list")
    return found


def _ulimits(query: Query) -> dict[str, tuple[int, int]]:
    found = {}
    for entry in _list(query, "ulimits"):
        try:
            found[str(entry["Name"])] = (int(entry["Soft"]), int(entry["Hard"]))
        except (TypeError, KeyError, ValueError):
            raise InvalidArgument("build: ulimits have Name, Soft and Hard") from None
    return found
