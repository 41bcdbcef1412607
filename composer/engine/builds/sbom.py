"""What a result is made of: an image lists its packages, by BuildKit's protocol ("SBOM Scanning Protocol"). It finds
the files below BUILDKIT_SCAN_SOURCE and leaves in-toto statements in BUILDKIT_SCAN_DESTINATION."""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass

from runtime.build.steps import DockerfileError, ImageSource, MakeDirectory, Run, RunMount, Selection, Step
from runtime.build.worker.snapshot import Snapshot
from runtime.container.config import ImageConfig
from runtime.errors import ComposerError, InvalidArgument
from runtime.image.attestations import SPDX, Attestation
from runtime.storage.files import read_regular

_CORE = "/run/src/core/sbom"
_EXTRAS = "/run/src/extras"
_OUT = "/run/out"
_LIMIT = 64 << 20
SCAN_CONTEXT = "BUILDKIT_SBOM_SCAN_CONTEXT"
SCAN_STAGE = "BUILDKIT_SBOM_SCAN_STAGE"


@dataclass(frozen=True, slots=True)
class Scanner:
    """The image that scans, in place of a line of a Dockerfile."""

    reference: str

    @property
    def where(self) -> str:
        return self.reference

    def error(self, message: str, part: str = "", details: str = "") -> DockerfileError:
        told = f"generating sbom using {self.reference}: {message}"
        return DockerfileError(
            f"{told}\n{details}" if details else told,
            hint="another image can be named: --sbom generator=IMAGE; without one there is no list of packages",
        )

    @property
    def source(self) -> ImageSource:
        return ImageSource(text=f"FROM {self.reference}", place=self, reference=self.reference)


@dataclass(frozen=True, slots=True)
class Scan:
    """A scanner at work."""

    scanner: Scanner
    step: Run

    def read(self, snapshot: Snapshot) -> tuple[Attestation, ...]:
        """What it has left. Raises DockerfileError. Blocking."""
        return read_lists(self.scanner, snapshot)


def scan_step(
    scanner: Scanner,
    source: ImageSource,
    config: ImageConfig,
    target: Step,
    extras: Mapping[str, Step],
    network: str,
) -> Scan:
    """What lists the packages of ``target`` and of ``extras``, by name. ``config`` is the scanner's. Raises
    DockerfileError."""
    words = (*config.entrypoint, *config.cmd)
    if not words:
        raise scanner.error("it has no program")
    text = f"generating sbom using {scanner.reference}"
    found = {_CORE: target, **{f"{_EXTRAS}/{name}": step for name, step in extras.items()}}
    variables = {"BUILDKIT_SCAN_SOURCE": _CORE, "BUILDKIT_SCAN_DESTINATION": _OUT}
    if extras:
        variables["BUILDKIT_SCAN_SOURCE_EXTRAS"] = _EXTRAS
    step = Run(
        text=text,
        place=scanner,
        below=MakeDirectory(
            text=f"making {_OUT} in {scanner.reference}", place=scanner, below=source, path=_OUT
        ),
        words=words,
        env=(*config.env, *(f"{name}={value}" for name, value in variables.items())),
        user=config.user,
        working_dir=config.working_dir or "/",
        network=network,
        mounts=(
            *(
                RunMount(
                    type="bind",
                    target=path,
                    selection=Selection(source=one, patterns=(".",), keeps_owners=True),
                )
                for path, one in found.items()
            ),
            RunMount(type="tmpfs", target="/tmp", read_only=False),
        ),
    )
    return Scan(scanner, step)


def read_lists(scanner: Scanner, snapshot: Snapshot) -> tuple[Attestation, ...]:
    """What the scanner has left. Raises DockerfileError. Blocking."""
    tree = snapshot.tree
    _, directory = tree.resolve(_OUT)
    found = []
    for node in tree.children(directory) if directory is not None and directory.is_directory else ():
        if node.name.endswith(".json") and stat.S_ISREG(node.status.st_mode):
            try:
                document = json.loads(read_regular(node.hosts[0], limit=_LIMIT))
            except (OSError, ValueError, InvalidArgument, ComposerError):
                raise scanner.error(f"{node.name} cannot be read") from None
            found.append(_attestation(scanner, node.name, document))
    if not found:
        raise scanner.error(f"it has left no list in {_OUT}")
    return tuple(found)


def _attestation(scanner: Scanner, name: str, document: object) -> Attestation:
    if isinstance(document, dict):
        if isinstance(document.get("predicate"), dict) and isinstance(document.get("predicateType"), str):
            return Attestation(document["predicateType"], document["predicate"], name)
        if "spdxVersion" in document:
            return Attestation(SPDX, document, name)
    raise scanner.error(f"{name} is neither an in-toto statement nor an SPDX document")


def is_asked(name: str, arguments: Mapping[str, str]) -> bool:
    """Whether an ARG or build argument wants more to be looked at than the result."""
    return arguments.get(name, "").lower() in ("1", "true")
