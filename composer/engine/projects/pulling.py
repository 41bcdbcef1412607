"""Getting the images that a project needs, side by side, as their pull policies say."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from functools import partial

import trio

from composer.compose.model import Project
from composer.engine.at_once import taken
from composer.engine.projects.parts import Parts
from composer.engine.projects.steps import Emit, tell, warn
from composer.engine.projects.waits import unwrap
from composer.engine.requests import PullRequest, ResultEvent, StepEvent, UpRequest
from composer.plan.steps import ImagePlan
from runtime.errors import ComposerError
from runtime.image.model import PullProgress
from runtime.image.registry.credentials import load_credentials

AT_ONCE = 4
"""Images pulled side by side; layers of one image have a limit of their own."""


async def ensure_images(parts: Parts, images: Sequence[ImagePlan], request: UpRequest, emit: Emit) -> bool:
    """Pull what is missing (or what the policy wants anew); whether anything was. Raises when one cannot be had."""
    wanted = [image for image in images if must_pull(parts, image, request.pull)]
    await pull_all(parts, wanted, emit, is_quiet=request.quiet_pull, env=request.project.env)
    return bool(wanted)


def must_pull(parts: Parts, image: ImagePlan, asked: str) -> bool:
    """Whether an ``up`` pulls it; ``asked`` is ``--pull``. Raises when it is missing and may not be pulled."""
    policy = asked if asked and asked != "policy" else image.policy
    present = parts.images.resolve(image.reference, image.platform)
    if present is not None:
        return policy == "always" or (
            policy.startswith(("daily", "weekly", "every_")) and _is_old(parts, image, policy)
        )
    users = ", ".join(image.services)
    if image.build and policy != "always":
        raise ComposerError(
            f"image {image.reference} of {users} is not here and is not to be built", hint="composer build"
        )
    if policy == "never":
        raise ComposerError(
            f"image {image.reference} of {users} is not here and its pull policy is never",
            hint=f"composer image pull {image.reference}",
        )
    return True


def _is_old(parts: Parts, image: ImagePlan, policy: str) -> bool:
    age = time.time_ns() - parts.pulled_at(image.reference)
    return not 0 <= age <= _period(policy)  # a pull in the future: the clock was set back since


def _period(policy: str) -> int:
    """Nanoseconds of ``daily``, ``weekly`` and ``every_<duration>`` (units w d h m s)."""
    second = 1_000_000_000
    units = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
    if policy == "daily":
        return 86400 * second
    if policy == "weekly":
        return 604800 * second
    total, number = 0, ""
    for character in policy.removeprefix("every_"):
        if character.isdigit():
            number += character
        elif character in units and number:
            total += int(number) * units[character]
            number = ""
    return total * second


async def pull_project(
    parts: Parts, project: Project, images: Sequence[ImagePlan], request: PullRequest, emit: Emit
) -> ResultEvent:
    """``pull``: every image that may be had from a registry; why others are not pulled is told. What cannot be pulled
    but built is warned of and ends with status 1. Raises the first failure of what can only be pulled, unless failures
    are to be ignored."""
    wanted = []
    for image in images:
        if reason := _why_not_pulled(parts, project, image, request):
            await tell(emit, "Image", image.reference, "Skipped", reason)
        else:
            wanted.append(image)
    to_be_built: list[str] = []
    limit = trio.CapacityLimiter(AT_ONCE)

    async def one(image: ImagePlan) -> None:
        try:
            async with taken(), limit:
                await pull(parts, image, emit, is_quiet=request.quiet, env=request.project.env)
        except ComposerError as error:
            if request.ignore_pull_failures:
                await tell(emit, "Image", image.reference, "Warning", error.message)
            elif image.build:
                to_be_built.extend(image.services)
            else:
                raise

    try:
        async with trio.open_nursery() as nursery:
            for image in wanted:
                nursery.start_soon(one, image)
    except BaseExceptionGroup as group:
        raise unwrap(group) from None
    if to_be_built:
        names = " ".join(sorted(to_be_built))
        await warn(emit, f"these images cannot be pulled, but built from source: composer build {names}")
    return ResultEvent(exit_status=1 if to_be_built else 0)


def _why_not_pulled(parts: Parts, project: Project, image: ImagePlan, request: PullRequest) -> str:
    """Docker Compose's rules: the policy ``--policy``, else the service's own, says whether an image that is here is
    enough (``policy`` is the strictest of its services)."""
    services = [project.services[name] for name in image.services if name in project.services]
    if image.build and not any(service.image for service in services):
        return "no image to be pulled"
    if image.build and request.ignore_buildable:
        return "it can be built"
    if image.policy in ("never", "build"):
        return f"its pull policy is {image.policy}"
    is_chosen = bool(request.policy) or all(service.pull_policy for service in services)
    if (
        is_chosen
        and parts.images.resolve(image.reference, image.platform) is not None
        and not must_pull(parts, image, "")
    ):
        return "it is here"
    return ""


async def pull_all(
    parts: Parts,
    images: Sequence[ImagePlan],
    emit: Emit,
    *,
    is_quiet: bool = False,
    env: Mapping[str, str] | None = None,
) -> None:
    """Pull ``images`` a few at a time. ``env`` is that of whoever wants them, whose credentials count. Raises the
    first failure after telling it."""
    limit = trio.CapacityLimiter(AT_ONCE)

    async def one(image: ImagePlan) -> None:
        async with taken(), limit:
            await pull(parts, image, emit, is_quiet=is_quiet, env=env)

    try:
        async with trio.open_nursery() as nursery:
            for image in images:
                nursery.start_soon(one, image)
    except BaseExceptionGroup as group:
        raise unwrap(group) from None


def _step(reference: str, event: PullProgress) -> StepEvent:
    """Of a layer, which is below its image; or of the image itself, which goes on when its registry has answered."""
    status = "Pulling" if event.status == "Pulling from" else event.status
    return StepEvent(
        kind="Image",
        name=event.layer or reference,
        parent=reference if event.layer else "",
        status=status,
        text=event.text if event.status == "Retrying" else "",
        current=event.current,
        total=event.total,
        time=time.time_ns(),
    )


async def pull(
    parts: Parts,
    image: ImagePlan,
    emit: Emit,
    *,
    is_quiet: bool = False,
    env: Mapping[str, str] | None = None,
) -> None:
    """Pull one image, telling the progress of its layers."""
    credentials = partial(load_credentials, env) if env is not None else None
    await tell(emit, "Image", image.reference, "Pulling")
    send, receive = trio.open_memory_channel[StepEvent](256)

    def progress(event: PullProgress) -> None:
        if is_quiet:
            return
        with contextlib.suppress(trio.WouldBlock):
            send.send_nowait(_step(image.reference, event))

    async def forward() -> None:
        async for event in receive:
            await emit(event)

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(forward)
            with send:
                await parts.pull_image(image.reference, image.platform, progress, credentials)
    except BaseExceptionGroup as group:
        error = unwrap(group)
        if isinstance(error, ComposerError):
            await tell(emit, "Image", image.reference, "Error", error.message)
            error.within(f"pulling {image.reference} (for {', '.join(image.services)})")
            raise (
                error.pointing_at(f"services.{image.services[0]}.image") if image.services else error
            ) from None
        raise error from None
    await tell(emit, "Image", image.reference, "Pulled")
