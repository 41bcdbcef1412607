"""Images pinned to the digests that their registries tell at present."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import trio

from composer.compose.advice import HOST_IMAGE
from runtime.errors import ComposerError
from runtime.image.reference import parse_reference
from runtime.image.registry.client import Registry
from runtime.image.registry.configuration import (
    RegistryConfiguration,
    configuration_path,
    load_configuration,
)
from runtime.image.registry.credentials import load_credentials


def lock_images(values: dict[str, Any], env: Mapping[str, str], *, only: bool) -> dict[str, Any]:
    """The document with ``image@digest`` for every image that has no digest; ``only`` these (an override file).

    Raises ComposerError when a registry cannot tell.
    """
    configuration = load_configuration(configuration_path(env, os.geteuid()))
    images = {s["image"] for s in values["services"].values() if isinstance(s.get("image"), str)}
    found = trio.run(_resolve_all, sorted(images), configuration, env)
    for service in values["services"].values():
        if "image" in service:
            service["image"] = found[service["image"]]
    if not only:
        return values
    return {
        "services": {n: {"image": s["image"]} if "image" in s else {} for n, s in values["services"].items()}
    }


async def _resolve_all(
    images: list[str], configuration: RegistryConfiguration, env: Mapping[str, str]
) -> dict[str, str]:
    found: dict[str, str] = {}

    async def resolve(image: str) -> None:
        found[image] = await _resolve(image, configuration, env)

    try:
        async with trio.open_nursery() as nursery:
            for image in images:
                nursery.start_soon(resolve, image)
    except BaseExceptionGroup as group:
        raise next(_leaves(group)) from None
    return found


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


async def _resolve(image: str, configuration: RegistryConfiguration, env: Mapping[str, str]) -> str:
    reference = parse_reference(image)
    if reference.digest is not None or image.partition(":")[0] == HOST_IMAGE:
        return image
    tagged = reference.with_default_tag()
    registry = Registry(
        tagged.domain, configuration, credentials=partial(load_credentials, env, tagged.domain)
    )
    try:
        digest = await registry.head(tagged)
    except ComposerError as error:
        raise error.within(f"failed to resolve digest for {tagged}") from None
    finally:
        await registry.aclose()
    if digest is None:
        raise ComposerError(f"failed to resolve digest for {tagged}: the registry does not tell it")
    return f"{tagged}@{digest}"
