"""Builds, as everybody else sees them. What reads Dockerfiles and does steps is imported with the first one."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from composer.engine.builds.builder import Builder, Session
from composer.engine.builds.outputs import Output, parse_output
from composer.engine.builds.progress import teller
from composer.engine.builds.requests import ImageBuild
from composer.engine.builds.workshop import Tell
from composer.engine.requests import Event, ResultEvent, StepEvent, WarningEvent
from runtime.errors import ComposerError
from runtime.image.model import Image
from runtime.image.store import ImageStore

if TYPE_CHECKING:
    from composer.engine.builds.contexts import Contexts
    from runtime.build.frontend.checks.rules import Finding

Warn = Callable[[str], Awaitable[None]]


@dataclass(frozen=True)
class Built:
    """What came of a build: an image for each platform (none when the Dockerfile was only looked at), what a metadata
    file says, what the checks found, and what the Dockerfile has where that was asked for."""

    images: tuple[Image, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    document: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[Output, ...] = ()
    """What was made of the images."""


class Builds:
    """All builds of an engine."""

    def __init__(self, builder: Builder, images: ImageStore, contexts: Contexts) -> None:
        self.images = images
        self._builder = builder
        self._contexts = contexts

    async def discard_interrupted(self) -> None:
        """Remove what builds left that an engine was killed in."""
        await self._contexts.discard()
        await self._builder.discard_interrupted()

    async def run(self, request: ImageBuild, emit: Callable[[Event], Awaitable[None]]) -> ResultEvent:
        """A build that no project asks for, with its events."""
        makes_image = bool(request.tags) and all(parse_output(text).is_stored for text in request.outputs)
        kind: Literal["Image", "Build"] = "Image" if makes_image else "Build"
        name = request.tags[0] if makes_image else _title(request)

        async def warn(message: str) -> None:
            await emit(WarningEvent(message=message))

        async def say(status: str, text: str = "") -> None:
            await emit(StepEvent(kind=kind, name=name, status=status, text=text, time=time.time_ns()))

        await say("Building" if request.call == "build" else "Checking")
        try:
            session = self.session(emit, shows_failed=request.shows_failed)
            told = teller(emit, name, kind=kind, quiet=request.quiet)
            built = await self.build(request, told, warn, session)
        except ComposerError:
            await say("Error")
            raise
        await say("Built" if request.call == "build" else "Checked")
        return ResultEvent(
            data={
                "Id": built.images[0].id if built.images else "",
                "Outputs": [
                    {
                        "Type": output.type,
                        "Dest": output.dest,
                        "IsDirectory": output.type == "local" or not output.is_tar,
                        "IsImage": output.is_stored,
                    }
                    for output in built.outputs
                ],
                "Metadata": dict(built.metadata),
                "Findings": [_finding(finding) for finding in built.findings],
                "Document": dict(built.document),
            }
        )

    def session(self, emit: Callable[[Event], Awaitable[None]], *, shows_failed: bool) -> Session:
        """What the builds of one command share."""
        if not shows_failed:
            return Session()
        from composer.engine.builds.showing import Showing

        return Session(on_failed=Showing(self._builder.parts, emit))

    async def build(
        self, request: ImageBuild, tell: Tell, warn: Warn, session: Session | None = None
    ) -> Built:
        """Do it. Raises ComposerErrors: mistakes in files, failed steps, what is not supported."""
        from composer.engine.builds.requested_build import RequestedBuild

        return await RequestedBuild(self._builder, self.images, self._contexts).run(
            request, tell, warn, session
        )


def _title(request: ImageBuild) -> str:
    """What a build is called whose result has no name: as its context is."""
    if "://" in request.context:
        return request.context
    return os.path.basename(request.context) or "standard input"


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "Rule": finding.rule.name,
        "Url": finding.rule.url,
        "Description": finding.rule.description,
        "Message": finding.message,
        "Line": finding.number,
        "Place": f"{finding.file}:{finding.number}:{finding.column}",
        "Excerpt": finding.excerpt,
    }
