"""``manifest``: what a registry has under a name, and lists of manifests put together here. Needs no engine."""

from __future__ import annotations

from composer.cli.arguments import Command, Flag, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from composer.cli.arguments import Arguments
    from composer.cli.session import Session
    from runtime.image.manifest_lists import ListedManifest
    from runtime.image.reference import Reference
    from runtime.image.remote import Registries

_SYSTEMS = {
    "aix": "ppc64", "android": "386 amd64 arm arm64", "darwin": "386 amd64 arm arm64", "dragonfly": "amd64",
    "freebsd": "386 amd64 arm arm64 riscv64", "illumos": "amd64", "ios": "amd64 arm64", "js": "wasm",
    "linux": "386 amd64 arm arm64 loong64 mips mips64 mips64le mipsle ppc64 ppc64le riscv64 s390x",
    "netbsd": "386 amd64 arm arm64", "openbsd": "386 amd64 arm arm64 mips64 ppc64 riscv64", "plan9": "386 amd64 arm",
    "solaris": "amd64", "wasip1": "wasm", "windows": "386 amd64 arm arm64", "zos": "s390x",
}  # fmt: skip
"""Operating systems and architectures that programs are built for (go.dev/doc/install/source#environment)."""


def run_inspect(session: Session, arguments: Arguments) -> int:
    """From the list that is put together here, if there is one, else from the registry."""
    from runtime.image.index import encode_docker_list
    from runtime.image.manifest_lists import load_list

    *lists, name = arguments.words
    is_verbose = arguments.is_on("verbose")
    if lists:
        target, reference = _named(lists[0]), _named(name)
        listed = [item for item in load_list(session.env, target) if item.reference == reference]
        if not listed:
            raise UsageError(f"No such manifest: {reference}")
        _show(session, listed[0].document if is_verbose else _parsed(listed[0].data))
        return 0
    reference = _named(name)
    if kept := load_list(session.env, reference):
        if is_verbose:
            _show(session, [item.document for item in kept])
        else:
            session.write(encode_docker_list([item.entry for item in kept]).data.decode() + "\n")
        return 0
    _show(session, _remote(session, reference, arguments, is_verbose=is_verbose))
    return 0


def _parsed(data: bytes) -> Any:
    from runtime.image.index import document_of

    return document_of(data)


def _show(session: Session, document: Any) -> None:
    import json

    session.write(json.dumps(document, indent="\t") + "\n")


def _remote(session: Session, reference: Reference, arguments: Arguments, *, is_verbose: bool) -> Any:
    """What the registry has; ``is_verbose``: with descriptors, those in an index one by one."""
    from dataclasses import replace

    from composer.cli.registries.remote import with_registries
    from runtime.errors import NotFound
    from runtime.image.digest import Digest
    from runtime.image.index import INDEXES, entries_of
    from runtime.image.manifest_lists import ListedManifest

    async def work(registries: Registries) -> Any:
        try:
            fetched = await registries.fetch(reference)
        except NotFound:
            raise NotFound(f"no such manifest: {reference}") from None
        if not is_verbose:
            return _parsed(fetched.data)
        if fetched.media_type not in INDEXES:
            return (await _listed(registries, reference)).document
        found = []
        for entry in entries_of(fetched.data):
            child = replace(reference, digest=Digest.parse(entry["digest"]))
            found.append(ListedManifest(child, entry, (await registries.fetch(child)).data).document)
        return found

    return with_registries(session, work, insecure=_insecure(arguments, reference))


async def _listed(registries: Registries, reference: Reference) -> ListedManifest:
    """A registry's manifest for a list. Raises ComposerErrors."""
    from composer.cli.registries.remote import described
    from runtime.errors import ComposerError, NotFound
    from runtime.image.index import INDEXES
    from runtime.image.manifest_lists import ListedManifest

    try:
        fetched = await registries.fetch(reference)
    except NotFound:
        raise NotFound(f"no such manifest: {reference}") from None
    if fetched.media_type in INDEXES:
        raise ComposerError(f"{reference} is a manifest list")
    entry = await described(registries, reference, fetched)
    return ListedManifest(reference, entry, fetched.data)


def _insecure(arguments: Arguments, *references: Reference) -> tuple[str, ...]:
    return tuple(reference.domain for reference in references) if arguments.is_on("insecure") else ()


def _named(name: str) -> Reference:
    from runtime.image.reference import parse_reference

    return parse_reference(name).with_default_tag()


def run_create(session: Session, arguments: Arguments) -> int:
    from composer.cli.registries.remote import with_registries
    from runtime.image.manifest_lists import load_list, save_manifest

    target, *references = map(_named, arguments.words)
    known = {item.reference for item in load_list(session.env, target)}
    if known and not arguments.is_on("amend"):
        raise UsageError("refusing to amend an existing manifest list with no --amend flag")

    async def work(registries: Registries) -> list[ListedManifest]:
        return [await _listed(registries, item) for item in references if item not in known]

    for manifest in with_registries(session, work, insecure=_insecure(arguments, *references)):
        save_manifest(session.env, target, manifest)
    session.write(f"Created manifest list {target}\n")
    return 0


def run_annotate(session: Session, arguments: Arguments) -> int:
    from dataclasses import replace

    from runtime.image.manifest_lists import load_list, save_manifest

    target, reference = map(_named, arguments.words)
    for manifest in load_list(session.env, target):
        if manifest.reference == reference:
            break
    else:
        raise UsageError(f"manifest for image {arguments.words[1]} does not exist in {arguments.words[0]}")
    platform = dict(manifest.entry.get("platform") or {})
    for flag, key in (
        ("os", "os"), ("arch", "architecture"), ("os-version", "os.version"), ("variant", "variant")
    ):  # fmt: skip
        if arguments.has(flag):
            platform[key] = arguments.text(flag)
    if arguments.has("os-features"):
        known = platform.get("os.features", [])
        platform["os.features"] = [
            *known,
            *(text for text in arguments.list("os-features") if text not in known),
        ]
    system, architecture = str(platform.get("os", "")), str(platform.get("architecture", ""))
    if architecture not in _SYSTEMS.get(system, "").split():
        raise UsageError(
            f"manifest entry for image has unsupported os/arch combination: {system}/{architecture}"
        )
    save_manifest(session.env, target, replace(manifest, entry={**manifest.entry, "platform": platform}))
    return 0


def run_push(session: Session, arguments: Arguments) -> int:
    from composer.cli.registries.remote import with_registries
    from runtime.errors import NotFound
    from runtime.image.index import Encoded, encode_docker_list
    from runtime.image.manifest_lists import load_list, remove_list
    from runtime.image.remote import Copier

    target = _named(arguments.words[0])
    manifests = load_list(session.env, target)
    if not manifests:
        raise NotFound(f"No such manifest: {target}")
    for item in manifests:
        if item.reference.domain != target.domain:
            raise UsageError(
                "cannot use source images from a different registry than the target image:"
                f" {item.reference.domain} != {target.domain}",
                hint="`composer imagetools create` copies images between registries.",
            )
        if not (item.entry.get("platform") or {}).get("os"):
            raise UsageError(
                f"manifest {item.reference} must have an OS and Architecture to be pushed to a registry"
            )
    made = encode_docker_list([item.entry for item in manifests])

    async def work(registries: Registries) -> None:
        copier = Copier(registries, lambda _: None)
        try:
            for item in manifests:
                document = Encoded(item.data, item.entry["mediaType"])
                await copier.bring(item.reference, target, document)
                name = target.with_digest(document.digest)
                session.write(f"Pushed ref {name} with digest: {document.digest}\n")
            await copier.put(target, made, target.tag or str(made.digest))
        finally:
            copier.close()

    with_registries(session, work, insecure=_insecure(arguments, target))
    session.write(f"{made.digest}\n")
    if arguments.is_on("purge"):
        remove_list(session.env, target)
    return 0


def run_rm(session: Session, arguments: Arguments) -> int:
    from composer.cli.management.conventions import report_failures
    from runtime.errors import ComposerError
    from runtime.image.manifest_lists import remove_list

    failures: list[ComposerError] = []
    for name in arguments.words:
        try:
            remove_list(session.env, _named(name))
        except ComposerError as error:
            failures.append(error)
    return report_failures(session, failures)


_INSECURE = Flag("insecure", help="Also without TLS, or with a certificate that nobody vouches for")

COMMANDS = {
    "annotate": Command(
        "manifest annotate [OPTIONS] MANIFEST_LIST MANIFEST",
        "Say more about a manifest of a list",
        run_annotate,
        (
            Flag("arch", kind="string", help="Architecture"),
            Flag("os", kind="string", help="Operating system"),
            Flag("os-features", kind="strings", help="Features of the operating system"),
            Flag("os-version", kind="string", help="Version of the operating system"),
            Flag("variant", kind="string", help="Variant of the architecture"),
        ),
        at_least=2,
        at_most=2,
        needs_root=False,
    ),
    "create": Command(
        "manifest create [OPTIONS] MANIFEST_LIST MANIFEST [MANIFEST...]",
        "Begin a list of manifests that a registry has",
        run_create,
        (Flag("amend", "a", help="Add to a list that has been begun"), _INSECURE),
        at_least=2,
        needs_root=False,
    ),
    "inspect": Command(
        "manifest inspect [OPTIONS] [MANIFEST_LIST] MANIFEST",
        "Show the manifest or index that a registry has under a name",
        run_inspect,
        (_INSECURE, Flag("verbose", "v", help="With digest, size, type and platform")),
        at_least=1,
        at_most=2,
        needs_root=False,
    ),
    "push": Command(
        "manifest push [OPTIONS] MANIFEST_LIST",
        "Push a list and what it names to a repository",
        run_push,
        (_INSECURE, Flag("purge", "p", help="Forget the list afterwards")),
        at_least=1,
        at_most=1,
        needs_root=False,
    ),
    "rm": Command(
        "manifest rm MANIFEST_LIST [MANIFEST_LIST...]",
        "Forget lists that have been begun",
        run_rm,
        at_least=1,
        needs_root=False,
    ),
}
