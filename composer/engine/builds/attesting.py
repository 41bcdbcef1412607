"""What is said of one build's result: which of its steps and sources is asked for what provenance needs."""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import trio

from composer.engine.builds.options import BuildOptions
from composer.engine.builds.provenance import BuildFacts, Material, ProvenanceOptions, provenance
from composer.engine.builds.sbom import Scanner
from composer.engine.builds.solving import Solve
from runtime.build.steps import FetchSource, GitCheckout
from runtime.build.worker.snapshot import Snapshot
from runtime.image.attestations import Attestation, package_url
from runtime.image.digest import Digest
from runtime.image.model import Image
from runtime.image.reference import parse_reference


async def provenance_of(
    options: BuildOptions,
    wanted: ProvenanceOptions,
    solve: Solve,
    bases: Mapping[tuple[str, str], Image],
    own: str,
    started: float,
) -> Attestation:
    """The statement about what ``solve`` has done. ``bases``: the images by reference and platform; ``own`` is this
    machine's platform."""
    materials = [
        _of_image(reference, platform or own, image) for (reference, platform), image in bases.items()
    ]
    for step in solve.results:
        if isinstance(step, FetchSource | GitCheckout):
            materials.append(await trio.to_thread.run_sync(_of_source, step, solve.results[step]))
    steps = tuple(step for step in solve.ordered if not isinstance(step.place, Scanner))
    facts = BuildFacts(
        invocation=secrets.token_hex(12),
        started=started,
        finished=time.time(),
        platform=own,
        file=options.file,
        entry=_entry(options),
        text=options.dockerfile,
        context=_public(options.origin),
        commit=options.commit,
        arguments=options.arguments,
        labels=options.labels,
        target=options.target,
        secrets=tuple(options.secrets),
        agents=tuple(options.ssh),
        materials=materials,
        steps=steps,
    )
    return provenance(facts, wanted)


def _entry(options: BuildOptions) -> str:
    """The Dockerfile's path in the context, its name when it is elsewhere."""
    if not os.path.isabs(options.file):
        return options.file.rpartition("/")[2] if "://" in options.file else options.file
    relative = os.path.relpath(options.file, options.context)
    return os.path.basename(relative) if relative.startswith("..") else relative


def _of_image(reference: str, platform: str, image: Image) -> Material:
    if reference.startswith("sha256:"):  # of a layout
        return Material(
            f"pkg:oci/image@{quote(reference, safe='')}?platform={quote(platform, safe='')}", image.id
        )
    name = parse_reference(reference).with_default_tag()
    for text in image.digests:
        known = parse_reference(text)
        if known.name == name.name and known.digest is not None:
            return Material(package_url(name, platform), str(known.digest))
    return Material(package_url(name, platform), image.id)


def _of_source(step: FetchSource | GitCheckout, snapshot: Snapshot) -> Material:
    if isinstance(step, GitCheckout):
        ref = f"#{step.source.ref}" if step.source.ref else ""
        commit = snapshot.commit
        algorithm = "sha256" if len(commit) == 64 else "sha1"
        return Material(_public(step.source.url) + ref, f"{algorithm}:{commit}" if commit else "")
    (file,) = Path(snapshot.layers[0]).iterdir()
    with file.open("rb") as source:
        digest = hashlib.file_digest(source, "sha256").hexdigest()
    return Material(_public(step.url), str(Digest.parse(f"sha256:{digest}")))


def _public(url: str) -> str:
    """Without a user's name and password."""
    try:
        parts = urlsplit(url)
        if "@" not in parts.netloc or not parts.password:
            return url
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    except ValueError:
        return quote(url, safe=":/#")
