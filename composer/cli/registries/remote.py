"""What commands need that speak to registries themselves, without the engine."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any, TypeVar

    from composer.cli.session import Session
    from runtime.image.index import Encoded, Entry
    from runtime.image.reference import Reference
    from runtime.image.remote import Registries

    T = TypeVar("T")


def with_registries(
    session: Session, work: Callable[[Registries], Awaitable[T]], *, insecure: tuple[str, ...] = ()
) -> T:
    """Do something with registries; those of the domains ``insecure`` also without TLS. Raises ComposerErrors."""
    import os
    from dataclasses import replace

    import trio

    from runtime.image.registry.configuration import configuration_path, load_configuration
    from runtime.image.remote import open_registries

    configuration = load_configuration(configuration_path(session.env, os.geteuid()))
    configuration = replace(configuration, insecure=(*configuration.insecure, *insecure))

    async def run() -> T:
        async with open_registries(configuration, session.env) as registries:
            return await work(registries)

    return trio.run(run)


async def described(registries: Registries, reference: Reference, document: Encoded) -> Entry:
    """The entry of an index for a manifest that a registry has: its platform is in the image's configuration.
    Artifacts have none."""
    from runtime.errors import ComposerError
    from runtime.image.index import document_of
    from runtime.image.manifest import CONFIG_LIMIT, decode_json, parse_manifest
    from runtime.image.manifest import Manifest as ImageManifest

    parsed = document_of(document.data)
    entry: Entry = {
        "mediaType": document.media_type,
        "digest": str(document.digest),
        "size": len(document.data),
    }
    if isinstance(parsed.get("artifactType"), str):
        entry["artifactType"] = parsed["artifactType"]
    try:
        manifest = parse_manifest(document.data, document.media_type)
    except ComposerError:
        return entry
    if isinstance(manifest, ImageManifest) and "image" in manifest.config.media_type:
        data = await registries.of(reference).blob(reference, manifest.config.digest, CONFIG_LIMIT)
        config: dict[str, Any] = decode_json(data, dict, CONFIG_LIMIT, "the image's configuration")
        keys = ("architecture", "os", "os.version", "os.features", "variant")
        if platform := {key: config[key] for key in keys if config.get(key)}:
            entry["platform"] = platform
    return entry
