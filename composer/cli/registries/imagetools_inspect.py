"""``imagetools inspect`` and ``referrers``: what a registry has under a name."""

from __future__ import annotations

from composer.cli.arguments import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from composer.cli.arguments import Arguments
    from composer.cli.session import Session
    from runtime.image.index import Encoded, Entry
    from runtime.image.reference import Reference
    from runtime.image.remote import Registries

_ATTESTED = "vnd.docker.reference.digest"
_PREDICATE = "in-toto.io/predicate-type"
_STATEMENT_LIMIT = 64 << 20


def run_inspect(session: Session, arguments: Arguments) -> int:
    from composer.cli.registries.remote import with_registries
    from composer.cli.terminals.terminal import for_stdout
    from runtime.image.reference import parse_reference

    reference = parse_reference(arguments.words[0]).with_default_tag()
    layout = arguments.text("format")
    if arguments.is_on("raw"):
        if layout:
            raise UsageError("--raw and --format cannot be used together")
        fetched = with_registries(session, lambda registries: registries.fetch(reference))
        session.write(for_stdout(fetched.data.decode(errors="replace")))
        return 0
    if not layout:
        fetched = with_registries(session, lambda registries: registries.fetch(reference))
        session.write(_overview(reference, fetched))
        return 0

    async def work(registries: Registries) -> dict[str, Any]:
        return await _details(registries, reference, layout)

    found = with_registries(session, work)
    from composer.cli.output.templates import Template, TemplateError, unescape

    if layout == "json":
        layout = "{{json .}}"
    try:
        session.write(for_stdout(Template(unescape(layout)).render(found) + "\n"))
    except TemplateError as error:
        raise UsageError(str(error)) from None
    return 0


def _overview(reference: Reference, fetched: Encoded) -> str:
    """For people."""
    from runtime.image.index import INDEXES, entries_of, platform_of

    lines = [
        f"Name:      {reference}",
        f"MediaType: {fetched.media_type}",
        f"Digest:    {fetched.digest}",
    ]
    if fetched.media_type not in INDEXES:
        return _printable(lines)
    bare = f"{reference}".partition("@")[0]
    lines += ["           ", "Manifests: "]
    for number, entry in enumerate(entries_of(fetched.data)):
        platform = platform_of(entry)
        told = entry.get("platform") or {}
        shown = str(platform or "/".join(filter(None, (told.get("os"), told.get("architecture")))))
        lines += ["             "] if number else []
        lines += [f"  Name:        {bare}@{entry['digest']}", f"  MediaType:   {entry.get('mediaType', '')}"]
        lines += [f"  Platform:    {shown}"] if shown else []
        if isinstance(marks := entry.get("annotations"), dict) and marks:
            lines.append("  Annotations: ")
            width = max(map(len, marks))
            lines += [f"    {key + ':':<{width + 1}} {text}" for key, text in sorted(marks.items())]
    return _printable(lines)


def _printable(lines: list[str]) -> str:
    """What a registry says never moves the cursor."""
    return "".join("".join(c if c.isprintable() else " " for c in line).rstrip("\n") + "\n" for line in lines)


async def _details(registries: Registries, reference: Reference, layout: str) -> dict[str, Any]:
    """What templates see; what they do not ask for is not fetched."""
    from runtime.image.digest import Digest
    from runtime.image.index import INDEXES, document_of, entries_of, platform_of

    fetched = await registries.fetch(reference)
    manifest = {
        **document_of(fetched.data),
        "mediaType": fetched.media_type,
        "digest": str(fetched.digest),
        "size": len(fetched.data),
    }
    found: dict[str, Any] = {"Name": str(reference), "Manifest": manifest}
    entries: list[Entry] = []
    if fetched.media_type in INDEXES:
        entries = entries_of(fetched.data)
    images = {
        str(platform): reference.with_digest(Digest.parse(entry["digest"]))
        for entry in entries
        if (platform := platform_of(entry)) is not None
    }
    wants_all = layout == "json"
    if wants_all or ".Image" in layout:
        configs = {
            name: await _configuration(registries, child, await registries.fetch(child))
            for name, child in (images or {"": reference}).items()
        }
        found["Image"] = configs if images else configs[""]
    if wants_all or ".Provenance" in layout or ".SBOM" in layout:
        for key, one in (await _attestations(registries, reference, entries)).items():
            found[key] = one if len(images) != 1 else next(iter(one.values()), {})
    return found


async def _configuration(registries: Registries, reference: Reference, fetched: Encoded) -> Any:
    from runtime.image.manifest import CONFIG_LIMIT, InvalidImage, Manifest, decode_json, parse_manifest

    manifest = parse_manifest(fetched.data, fetched.media_type)
    if not isinstance(manifest, Manifest):
        raise InvalidImage(f"{reference.familiar} is no image")
    data = await registries.of(reference).blob(reference, manifest.config.digest, CONFIG_LIMIT)
    found: Any = decode_json(data, dict, CONFIG_LIMIT, "the image's configuration")
    return found


async def _attestations(
    registries: Registries, reference: Reference, entries: list[Entry]
) -> dict[str, dict[str, Any]]:
    """Provenance and bills of materials by platform, from the attestations in an index."""
    from runtime.image.digest import Digest
    from runtime.image.index import document_of, parts_of, platform_of
    from runtime.image.manifest import decode_json

    platforms = {entry["digest"]: str(platform_of(entry)) for entry in entries if platform_of(entry)}
    found: dict[str, dict[str, Any]] = {"Provenance": {}, "SBOM": {}}
    for entry in entries:
        platform = platforms.get((entry.get("annotations") or {}).get(_ATTESTED, ""))
        if platform is None:
            continue
        child = reference.with_digest(Digest.parse(entry["digest"]))
        fetched = await registries.fetch(child)
        parts_of(fetched.data)
        for layer in document_of(fetched.data).get("layers", []):
            predicate = str((layer.get("annotations") or {}).get(_PREDICATE, ""))
            key, name = ("Provenance", "SLSA") if "slsa.dev/provenance" in predicate else ("SBOM", "SPDX")
            if key == "SBOM" and "spdx.dev" not in predicate:
                continue
            data = await registries.of(child).blob(child, Digest.parse(layer["digest"]), _STATEMENT_LIMIT)
            statement: Any = decode_json(data, dict, _STATEMENT_LIMIT, "the attestation")
            found[key].setdefault(platform, {})[name] = statement.get("predicate")
    return found


def run_referrers(session: Session, arguments: Arguments) -> int:
    from composer.cli.output.tables import formatted
    from composer.cli.output.units import human_size
    from composer.cli.registries.remote import with_registries
    from runtime.image.reference import parse_reference
    from runtime.image.registry.referrers import Referrer, list_referrers

    reference = parse_reference(arguments.words[0]).with_default_tag()

    async def work(registries: Registries) -> list[Referrer]:
        subject = reference.digest or (await registries.fetch(reference)).digest
        return await list_referrers(
            registries.of(reference), reference, subject, arguments.text("artifact-type")
        )

    rows = [
        {
            "Digest": str(item.digest),
            "ArtifactType": item.artifact_type,
            "MediaType": item.media_type,
            "Size": human_size(item.size),
            "Annotations": ",".join(f"{key}={text}" for key, text in item.annotations),
        }
        for item in with_registries(session, work)
    ]
    titles = {
        "Digest": "DIGEST", "ArtifactType": "ARTIFACT TYPE", "MediaType": "MEDIA TYPE", "Size": "SIZE",
        "Annotations": "ANNOTATIONS",
    }  # fmt: skip
    try:
        session.write(
            formatted(
                rows,
                titles,
                arguments.text("format"),
                default=("Digest", "ArtifactType", "Size", "Annotations"),
            )
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    return 0
