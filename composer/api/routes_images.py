"""Images: ``/images/...`` of the Docker Engine API."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from composer.api import image_json
from composer.api.container_filters import has_labels
from composer.api.interface import Engine, Progress
from composer.api.messages import (
    TAR,
    Answer,
    Request,
    Sink,
    Streaming,
    json_response,
)
from composer.api.progress_messages import progress_messages
from composer.api.reference_patterns import with_names
from composer.api.routes_containers import is_pruned, until_bound
from composer.api.routing import Route
from composer.api.spool import spooled, unnamed_file
from runtime.errors import InvalidArgument
from runtime.image.model import Image
from runtime.image.platform import Platform
from runtime.image.reference import parse_reference
from runtime.image.registry.authentication import Credentials, CredentialSource
from runtime.image.registry.credentials import decode_header

_LIST_FILTERS = frozenset({"before", "dangling", "label", "reference", "since", "until"})
_TRUTHS = ("0", "1", "f", "false", "t", "true")
_SEARCH_FILTERS = frozenset({"is-automated", "is-official", "stars"})
_SEARCH_RESULTS = 25
_PRUNE_FILTERS = frozenset({"dangling", "label", "label!", "until"})


def routes(engine: Engine) -> list[Route]:
    own = ImageRoutes(engine)
    return [
        Route("POST", "/auth", own.login),
        Route("POST", "/composer/v1/images/check", own.check),
        Route("GET", "/images/json", own.list_images),
        Route("POST", "/images/create", own.create),
        Route("POST", "/images/load", own.load),
        Route("POST", "/images/prune", own.prune),
        Route("GET", "/images/get", own.save_many),
        Route("GET", "/images/search", own.search),
        Route("GET", "/images/{name*}/json", own.inspect),
        Route("GET", "/images/{name*}/history", own.history),
        Route("GET", "/images/{name*}/get", own.save),
        Route("POST", "/images/{name*}/tag", own.tag),
        Route("POST", "/images/{name*}/push", own.push),
        Route("DELETE", "/images/{name*}", own.remove),
    ]


@dataclass(frozen=True, slots=True)
class ImageRoutes:
    engine: Engine

    async def list_images(self, request: Request) -> Answer:
        filters = request.query.filters(_LIST_FILTERS)
        if (told := filters.get("dangling")) and told[0].lower() not in _TRUTHS:
            raise InvalidArgument(f"invalid filter 'dangling=[{told[0]}]'")
        found = [image for image in self.engine.images.list() if self._is_listed(image, filters)]
        images = (
            [with_names(image, filters["reference"]) for image in found] if "reference" in filters else found
        )
        users = image_json.users_of(self.engine.containers.list(True))
        summaries = []
        for image in images:
            others = self.engine.images.together(image)[1:]
            together = (image, *others)
            fields = image_json.summary(image, sum(len(users.get(one.id, ())) for one in together))
            fields["Size"] = fields["VirtualSize"] = sum(one.size for one in together)
            if request.query.flag("manifests"):
                described = [(one, self.engine.images.describe(one)) for one in together]
                fields["Manifests"] = image_json.manifests(described, self.engine.images.index(image), users)
            summaries.append(fields)
        return json_response(summaries)

    def _is_listed(self, image: Image, filters: dict[str, list[str]]) -> bool:
        if "dangling" in filters and (not image.tags) != (
            filters["dangling"][0].lower() in ("1", "t", "true")
        ):
            return False
        if not has_labels(image.config.labels, filters.get("label", ())):
            return False
        if "reference" in filters:
            named = with_names(image, filters["reference"])
            if not (named.tags or named.digests):
                return False
        if "until" in filters and image.created > until_bound(filters["until"], time.time_ns()):
            return False
        if "before" in filters and image.created >= self.engine.images.get(filters["before"][0]).created:
            return False
        return not (
            "since" in filters and image.created <= self.engine.images.get(filters["since"][0]).created
        )

    def _get(self, request: Request) -> Image:
        return self.engine.images.get(request.params["name"], _platform(request))

    async def inspect(self, request: Request) -> Answer:
        return json_response(image_json.inspect(self._get(request)))

    async def history(self, request: Request) -> Answer:
        return json_response(image_json.history(self._get(request)))

    async def create(self, request: Request) -> Answer:
        """Pull (``fromImage``: without a tag, all there are) or import (``fromSrc``)."""
        query = request.query
        if query.text("fromSrc"):
            return await self._import(request)
        name, tag = query.text("fromImage"), query.text("tag")
        if not name:
            raise InvalidArgument("fromImage or fromSrc expected")
        reference = f"{name}{'@' if tag.startswith('sha256:') else ':'}{tag}" if tag else name
        platform = query.text("platform")

        async def work(emit: Progress) -> None:
            images, credentials = self.engine.images, _credentials(request)
            named = parse_reference(reference)
            if named.tag or named.digest is not None:
                await images.pull(reference, platform, emit, credentials)
            else:
                await images.pull_all_tags(reference, platform, emit, credentials)

        return progress_messages(work)

    async def _import(self, request: Request) -> Answer:
        query = request.query
        origin, repo, tag = query.text("fromSrc"), query.text("repo"), query.text("tag")
        reference = f"{repo}:{tag}" if repo and tag else repo
        described = (reference, query.all("changes"), query.text("message"), query.text("platform"))
        if origin == "-":
            async with spooled(request.body, self.engine.spool) as archive:
                image_id = await self.engine.images.import_(archive, *described)
        else:
            origin = origin if "://" in origin else f"http://{origin}"

        async def work(emit: Progress) -> None:
            if origin == "-":
                await emit({"status": image_id})
                return
            with open(unnamed_file(self.engine.spool), "w+b") as file:
                await self.engine.images.download(origin, file, emit)
                path = Path(f"/proc/self/fd/{file.fileno()}")
                await emit({"status": await self.engine.images.import_(path, *described, origin=origin)})

        return progress_messages(work)

    async def load(self, request: Request) -> Answer:
        platform, quiet = _platform(request), request.query.flag("quiet", True)

        async def work(emit: Progress) -> None:
            async with spooled(request.body, self.engine.spool) as archive:
                await self.engine.images.load(archive, emit, platform, quiet=quiet)

        return progress_messages(work)

    async def save(self, request: Request) -> Answer:
        self._get(request)
        return _archive(self.engine.images.save([request.params["name"]], _platform(request)))

    async def save_many(self, request: Request) -> Answer:
        names = [name for text in request.query.all("names") for name in text.split(",") if name]
        if not names:
            raise InvalidArgument("names: at least one image expected")
        platform = _platform(request)
        for name in names:
            self.engine.images.get(name, platform)
        return _archive(self.engine.images.save(names, platform))

    async def tag(self, request: Request) -> Answer:
        repo, tag = request.query.text("repo"), request.query.text("tag")
        await self.engine.images.tag(request.params["name"], f"{repo}:{tag}" if tag else repo)
        return json_response(None, 201)

    async def login(self, request: Request) -> Answer:
        """``POST /auth``: whether a registry accepts credentials; they are the client's to keep."""
        body = await request.json(_Login)
        credentials = Credentials(body.UserName, body.Password, body.IdentityToken)
        await self.engine.images.login(body.ServerAddress, credentials)
        return json_response({"Status": "Login Succeeded", "IdentityToken": ""})

    async def search(self, request: Request) -> Answer:
        query = request.query
        limit = query.text("limit", "0")
        if not limit.removeprefix("-").isdecimal():
            raise InvalidArgument(f"limit: a whole number expected, not {limit!r}")
        found = await self.engine.images.search(
            query.text("term"),
            int(limit[:9]) or _SEARCH_RESULTS,
            query.filters(_SEARCH_FILTERS),
            _credentials(request),
        )
        return json_response([msgspec.to_builtins(item) for item in found])

    async def push(self, request: Request) -> Answer:
        name, tag, platform = request.params["name"], request.query.text("tag"), _platform(request)

        async def work(emit: Progress) -> None:
            await self.engine.images.push(name, tag, emit, _credentials(request), platform)

        return progress_messages(work)

    async def remove(self, request: Request) -> Answer:
        query = request.query
        removed = await self.engine.images.remove(
            request.params["name"],
            force=query.flag("force"),
            prune=not query.flag("noprune"),
            platforms=[platform_text(text) for text in query.all("platforms")],
        )
        return json_response(removed)

    async def check(self, request: Request) -> Answer:
        """Verify what the store has; ``repair`` mends what can be mended."""
        is_repair = request.query.flag("repair")

        async def work(emit: Progress) -> None:
            await self.engine.images.check(emit, repair=is_repair)

        return progress_messages(work)

    async def prune(self, request: Request) -> Answer:
        filters = request.query.filters(_PRUNE_FILTERS)
        until = until_bound(filters.get("until", []), time.time_ns())

        def is_meant(image: Image) -> bool:
            return image.created <= until and is_pruned(image.config.labels, filters)

        everything = filters.get("dangling", ["true"])[0].lower() in ("0", "false")
        removed, reclaimed = await self.engine.images.prune(everything=everything, only=is_meant)
        return json_response({"ImagesDeleted": removed or None, "SpaceReclaimed": reclaimed})


class _Login(msgspec.Struct, rename="lower"):
    UserName: str = ""
    Password: str = ""
    ServerAddress: str = ""
    IdentityToken: str = ""


def _platform(request: Request) -> str:
    """Docker gives a platform as JSON; ``os/architecture`` is taken, too."""
    return platform_text(request.query.text("platform"))


def platform_text(text: str) -> str:
    """Raises InvalidArgument."""
    if not text.startswith("{"):
        return text
    try:
        told = msgspec.json.decode(text, type=_Platform)
    except msgspec.MsgspecError as error:
        raise InvalidArgument(f"invalid platform: {error}") from None
    if not told.os or not told.architecture:
        raise InvalidArgument("invalid platform: both OS and Architecture must be provided")
    return str(Platform.of(told.os, told.architecture, told.variant))


class _Platform(msgspec.Struct):
    os: str = ""
    architecture: str = ""
    variant: str = ""


def _credentials(request: Request) -> CredentialSource | None:
    """Those that the client gives with the request."""
    given = decode_header(request.headers.get("x-registry-auth", ""))
    return (lambda _: given) if given is not None else None


def _archive(pieces: AsyncIterator[bytes]) -> Streaming:
    async def produce(sink: Sink) -> None:
        async for piece in pieces:
            await sink.send(piece)

    return Streaming(produce, TAR)
