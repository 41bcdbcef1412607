"""What is attached to an image: signatures, attestations, whatever (distribution-spec v1.1, "Listing Referrers").

A registry that does not know of it keeps an index under the tag ``sha256-<hex>`` instead, which those who write have
to see to ("Referrers Tag Schema").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from runtime.errors import NotFound
from runtime.image.digest import Digest
from runtime.image.index import Encoded, Entry, combine, document_of, encode_index, entries_of
from runtime.image.manifest import MANIFEST_LIMIT, OCI_INDEX, InvalidImage
from runtime.image.reference import Reference
from runtime.image.registry.authentication import join
from runtime.image.registry.client import Registry
from runtime.image.registry.connection import read
from runtime.image.registry.upload import Uploader

_PAGES_LIMIT = 100
_ANSWERS = frozenset((200, 400, 404, 405))


@dataclass(frozen=True, slots=True)
class Referrer:
    """One thing that is attached."""

    digest: Digest
    size: int
    media_type: str
    artifact_type: str
    annotations: tuple[tuple[str, str], ...] = ()


def referrers_tag(subject: Digest) -> str:
    """The tag of the index for registries that have no list."""
    return f"{subject.algorithm}-{subject.hex[:64]}"


def referrer_of(entry: Entry) -> Referrer:
    annotations = entry.get("annotations")
    pairs = annotations.items() if isinstance(annotations, dict) else ()
    return Referrer(
        Digest.parse(str(entry["digest"])),
        int(entry["size"]),
        str(entry.get("mediaType", "")),
        str(entry.get("artifactType", "")),
        tuple(sorted((str(name), str(text)) for name, text in pairs)),
    )


async def list_referrers(
    registry: Registry, reference: Reference, subject: Digest, artifact_type: str = ""
) -> list[Referrer]:
    """What the repository of ``reference`` has attached to a manifest. Raises as ``Registry.manifest``."""
    entries = await _listed(registry, reference, subject, artifact_type)
    if entries is None:
        entries = await _tagged(registry, reference, subject)
    found = map(referrer_of, entries)
    return [item for item in found if artifact_type in ("", item.artifact_type)]


async def _listed(
    registry: Registry, reference: Reference, subject: Digest, artifact_type: str
) -> list[Entry] | None:
    """The registry's list; None when it has no such lists."""
    query = f"?{urlencode({'artifactType': artifact_type})}" if artifact_type else ""
    path = f"/v2/{reference.path}/referrers/{subject}{query}"
    connection, found = registry.connection, list[Entry]()

    async def attempt() -> tuple[bytes, str] | None:
        async with connection.response(
            "GET", path, reference, {"Accept": OCI_INDEX}, expected=_ANSWERS
        ) as response:
            if response.status_code != 200:
                return None
            data = await read(response, MANIFEST_LIMIT, "the list of referrers")
            following = response.links.get("next", {}).get("url", "")
            return data, join(str(response.url), following, registry.name) if following else ""

    for _ in range(_PAGES_LIMIT):
        page = await connection.retrying(attempt)
        if page is None:
            return None
        data, path = page
        found += entries_of(data)
        if not path:
            return found
    raise InvalidImage(f"{registry.name} has more attached to {subject} than can be listed")


async def _tagged(registry: Registry, reference: Reference, subject: Digest) -> list[Entry]:
    tagged = Reference(reference.domain, reference.path, referrers_tag(subject))
    try:
        fetched = await registry.manifest(tagged)
    except NotFound:
        return []
    return entries_of(fetched.data)


async def attach(
    registry: Registry, uploader: Uploader, reference: Reference, document: Encoded, subject: Digest
) -> None:
    """Add a manifest that has just been written to the tag of its subject, in a registry that does not do it."""
    parsed = document_of(document.data)
    config: Any = parsed.get("config")
    told = parsed.get("artifactType") or (config.get("mediaType") if isinstance(config, dict) else "")
    entry: Entry = {"mediaType": document.media_type, "digest": document.digest, "size": len(document.data)}
    if told:
        entry["artifactType"] = told
    if annotations := parsed.get("annotations"):
        entry["annotations"] = annotations
    known = await _tagged(registry, reference, subject)
    if any(item["digest"] == document.digest for item in known):
        return
    made = encode_index(combine([known, [entry]]), {})
    if made.media_type != OCI_INDEX:
        raise InvalidImage("only OCI manifests can be attached to others")
    await uploader.put_manifest(made.descriptor, made.data, referrers_tag(subject))
