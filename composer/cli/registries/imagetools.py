"""``imagetools create``: names and indexes in registries, made of what registries have. Needs no engine."""

from __future__ import annotations

import re

from composer.cli.arguments import Command, Flag, UsageError
from composer.cli.registries.imagetools_inspect import run_inspect, run_referrers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from composer.cli.arguments import Arguments
    from composer.cli.session import Session
    from runtime.image.index import Encoded, Entry
    from runtime.image.reference import Reference
    from runtime.image.remote import Registries

_ANNOTATION = re.compile(
    r"(?:(?P<kinds>[a-z,-]+)(?:\[(?P<platform>[A-Za-z0-9/_-]+)\])?:)?(?P<key>[^=\s]+)=(?P<text>.*)", re.DOTALL
)
_INDEX, _DESCRIPTOR = "index", "manifest-descriptor"


def run_create(session: Session, arguments: Arguments) -> int:
    from composer.cli.registries.remote import with_registries
    from runtime.image.reference import parse_reference

    tags = [parse_reference(name).with_default_tag() for name in arguments.list("tag")]
    if any(tag.digest is not None for tag in tags):
        raise UsageError("a tag expected in --tag, not a digest")
    if not tags and not session.is_dry_run:
        raise UsageError("can't push without --tag", hint="--dry-run shows what would be pushed.")
    repositories = {tag.name for tag in tags}
    texts = [*arguments.words, *_read_files(arguments.list("file"))]
    if arguments.is_on("append"):
        if len(repositories) != 1:
            raise UsageError("with --append there has to be exactly one --tag")
        texts.insert(0, str(tags[0]))
    if not texts:
        raise UsageError("no sources specified")
    sources = [_source(text, tags) for text in texts]

    async def work(registries: Registries) -> Encoded:
        made = await _combined(registries, sources, arguments)
        if not session.is_dry_run:
            await _push(session, registries, sources, tags, made, arguments)
        return made

    made = with_registries(session, work)
    if session.is_dry_run:
        session.write(made.data.decode() + ("" if made.data.endswith(b"\n") else "\n"))
    if path := arguments.text("metadata-file"):
        _write_metadata(path, tags, made)
    return 0


def _read_files(paths: Iterable[str]) -> list[str]:
    from runtime.errors import ComposerError

    found = []
    for path in paths:
        try:
            with open(path, encoding="utf-8") as file:
                found.append(file.read(1 << 20).strip())
        except (OSError, UnicodeError) as error:
            raise ComposerError(f"read {path}: {getattr(error, 'strerror', None) or error}") from None
    return found


def _source(text: str, tags: Sequence[Reference]) -> tuple[Reference, Entry]:
    """A source: a name, a digest in the repository of the tags, or a descriptor in JSON, which adds to the entry."""
    import json

    from runtime.image.digest import Digest
    from runtime.image.reference import parse_reference

    entry: Entry = {}
    if text.startswith("{"):
        try:
            entry = json.loads(text)
            text = str(entry["digest"])
        except (ValueError, KeyError, RecursionError):
            raise UsageError(f"not a descriptor: {text[:80]}", hint="JSON with digest expected") from None
    if not re.match(r"sha(256|512):", text):
        return parse_reference(text).with_default_tag(), entry
    repositories = {(tag.domain, tag.path) for tag in tags}
    if len(repositories) != 1:
        raise UsageError(
            f"{text}: which repository it is in has to be said", hint="name@digest, or one --tag"
        )
    return tags[0].with_digest(Digest.parse(text)), entry


async def _combined(
    registries: Registries, sources: Sequence[tuple[Reference, Entry]], arguments: Arguments
) -> Encoded:
    """What the tags are to mean."""
    from composer.cli.registries.remote import described
    from runtime.errors import NotFound
    from runtime.image.index import INDEXES, combine, document_of, encode_index, entries_of, ordered

    annotations, marks = _annotations(arguments.list("annotation"))
    platforms = arguments.list("platform")
    documents = [await registries.fetch(reference) for reference, _ in sources]
    is_index = documents[0].media_type in INDEXES
    is_alone = len(documents) == 1 and not (annotations or marks or platforms or sources[0][1])
    if is_alone and (is_index or not arguments.is_on("prefer-index")):
        return documents[0]
    if arguments.is_on("append") and is_index:
        annotations = {**(document_of(documents[0].data).get("annotations") or {}), **annotations}
    groups: list[list[Entry]] = []
    for (reference, said), document in zip(sources, documents, strict=True):
        if document.media_type in INDEXES:
            groups.append(entries_of(document.data))
        else:
            extra: Entry = {
                key: said[key] for key in ("platform", "annotations", "artifactType") if key in said
            }
            groups.append([{**await described(registries, reference, document), **extra}])
    entries = combine(groups)
    if platforms:
        entries = _of_platforms(entries, platforms)
        if not entries:
            raise NotFound(f"none of the sources has an image for {', '.join(platforms)}")
    for platform, key, text in marks:
        _mark(entries, platform, key, text)
    return encode_index(list(map(ordered, entries)), annotations)


def _annotations(texts: Iterable[str]) -> tuple[dict[str, str], list[tuple[str, str, str]]]:
    """Those of the index, and those of its entries as (platform or "", key, text). Raises UsageError."""
    index: dict[str, str] = {}
    marks: list[tuple[str, str, str]] = []
    for text in texts:
        match = _ANNOTATION.fullmatch(text)
        if match is None:
            raise UsageError(f'invalid annotation "{text}"', hint="index:KEY=VALUE expected")
        for kind in (match["kinds"] or "manifest").split(","):
            if kind == _INDEX and not match["platform"]:
                index[match["key"]] = match["text"]
            elif kind == _DESCRIPTOR:
                marks.append((match["platform"] or "", match["key"], match["text"]))
            else:
                raise UsageError(
                    f'annotations of the type "{kind}" are not made here: manifests stay as they are',
                    hint=f"{_INDEX}:KEY=VALUE or {_DESCRIPTOR}[PLATFORM]:KEY=VALUE",
                )
    return index, marks


def _mark(entries: Sequence[Entry], platform: str, key: str, text: str) -> None:
    from runtime.image.index import platform_of
    from runtime.image.platform import Platform, parse_platform

    wanted = parse_platform(platform, Platform.host()) if platform else None
    for entry in entries:
        if wanted is None or platform_of(entry) == wanted:
            entry["annotations"] = {**entry.get("annotations", {}), key: text}


def _of_platforms(entries: Sequence[Entry], platforms: Iterable[str]) -> list[Entry]:
    """The entries for some platforms, and the attestations of these."""
    from runtime.image.index import platform_of
    from runtime.image.platform import Platform, parse_platform

    wanted = {parse_platform(item, Platform.host()) for text in platforms for item in text.split(",")}
    chosen = {entry["digest"] for entry in entries if platform_of(entry) in wanted}
    return [
        entry
        for entry in entries
        if entry["digest"] in chosen
        or (entry.get("annotations") or {}).get("vnd.docker.reference.digest") in chosen
    ]


async def _push(
    session: Session,
    registries: Registries,
    sources: Sequence[tuple[Reference, Entry]],
    tags: Sequence[Reference],
    made: Encoded,
    arguments: Arguments,
) -> None:
    """Bring all that is named to each repository, then name it."""
    from runtime.image.digest import Digest
    from runtime.image.index import INDEXES, entries_of
    from runtime.image.remote import Copier

    is_quiet = arguments.text("progress") == "quiet"

    def tell(text: str) -> None:
        if not is_quiet:
            session.write_status(text + "\n")

    kept = {entry["digest"] for entry in entries_of(made.data)} if made.media_type in INDEXES else None
    copier = Copier(registries, tell)
    try:
        for target in tags:
            for reference, _ in sources:
                document = await registries.fetch(reference)
                if document.digest == made.digest or document.media_type not in INDEXES:
                    await copier.bring(reference, target, document)
                else:
                    for entry in entries_of(document.data):
                        if kept is None or entry["digest"] in kept:
                            child = reference.with_digest(Digest.parse(entry["digest"]))
                            await copier.bring(reference, target, await registries.fetch(child))
                if arguments.is_on("referrers"):
                    await copier.bring_referrers(reference, target, document)
            tell(f"pushing {made.digest} to {target.familiar}")
            await copier.put(target, made, target.tag)
    finally:
        copier.close()


def _write_metadata(path: str, tags: Sequence[Reference], made: Encoded) -> None:
    """What was made, as ``buildx`` tells it."""
    import json

    from runtime.storage.files import write_atomically

    document = {
        "containerimage.descriptor": {
            "mediaType": made.media_type,
            "digest": str(made.digest),
            "size": len(made.data),
        },
        "image.name": ",".join(str(tag) for tag in tags),
    }
    write_atomically(path, json.dumps(document, indent=2).encode() + b"\n")


COMMANDS = {
    "create": Command(
        "imagetools create [OPTIONS] [SOURCE...]",
        "Make an image of several platforms, or another name, of what registries have",
        run_create,
        (
            Flag("annotation", kind="stringArray", help="Add an annotation: index:KEY=VALUE"),
            Flag("append", help="Add to what the tag means already"),
            Flag("file", "f", "stringArray", "Read a source (name, digest or descriptor) from a file"),
            Flag("metadata-file", kind="string", help="Write what was made to a file"),
            Flag("platform", "p", "stringArray", "Take only the images for a platform"),
            Flag("prefer-index", help="Make an index also of a single image", default="true"),
            Flag("progress", kind="string", help='"quiet" for no progress', default="auto"),
            Flag("referrers", help="Copy what is attached to the sources, too"),
            Flag("tag", "t", "stringArray", "Name to give"),
        ),
        details="A SOURCE is a name, the digest of something in the repository of --tag, or a descriptor in JSON.",
        needs_root=False,
    ),
    "inspect": Command(
        "imagetools inspect [OPTIONS] NAME",
        "Show what a registry has under a name",
        run_inspect,
        (
            Flag("format", kind="string", help="Go template of .Name, .Manifest, .Image, .Provenance, .SBOM"),
            Flag("raw", help="Show the manifest or index byte for byte"),
        ),
        at_least=1,
        at_most=1,
        needs_root=False,
    ),
    "referrers": Command(
        "imagetools referrers [OPTIONS] NAME",
        "Show what is attached to an image",
        run_referrers,
        (
            Flag("artifact-type", kind="string", help="Only what is of a type"),
            Flag("format", kind="string", help='"table", "json" or a Go template'),
        ),
        at_least=1,
        at_most=1,
        needs_root=False,
    ),
}
