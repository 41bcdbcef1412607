"""``--provenance``, ``--sbom`` and ``--attest`` (Docker's reference, "docker buildx build", --attest). Pure."""

from __future__ import annotations

import csv
from dataclasses import dataclass

from composer.engine.builds.provenance import ProvenanceOptions
from runtime.errors import InvalidArgument
from runtime.nearest import nearest

_YES, _NO = ("true", "1"), ("", "false", "0")
_PROVENANCE = ("mode", "version", "builder-id", "reproducible", "inline-only", "disabled")
_SBOM = ("generator", "disabled")
GENERATOR = "docker/buildkit-syft-scanner:stable-1"
"""What BuildKit takes when no generator is named."""


@dataclass(frozen=True, slots=True)
class AttestationOptions:
    """What is to be said of a result; None: nothing of that kind."""

    provenance: ProvenanceOptions | None = None
    generator: str | None = None
    """The image that lists a result's packages."""

    @property
    def is_any(self) -> bool:
        return self.provenance is not None or self.generator is not None


def parse_attestations(provenance: str, sbom: str) -> AttestationOptions:
    """Each is "", a truth value, or ``key=value,...``. Raises InvalidArgument."""
    about = _options("provenance", provenance, _PROVENANCE)
    packages = _options("sbom", sbom, _SBOM)
    return AttestationOptions(
        None if about is None else _provenance(about),
        None if packages is None else packages.get("generator") or GENERATOR,
    )


def _options(kind: str, text: str, known: tuple[str, ...]) -> dict[str, str] | None:
    if text.lower() in _NO:
        return None
    if text.lower() in _YES:
        return {}
    try:
        (parts,) = csv.reader([text], strict=True)
    except (csv.Error, ValueError):
        raise InvalidArgument(f"invalid {kind} {text!r}: it is not key=value,...") from None
    found: dict[str, str] = {}
    for part in parts:
        key, equals, value = part.strip().partition("=")
        if not equals:
            raise InvalidArgument(f"invalid {kind} {text!r}: {part!r} is not key=value")
        if key not in known:
            near = nearest(key, known)
            advice = f"did you mean {near}?" if near else f"there are {', '.join(known)}"
            raise InvalidArgument(f"{key!r} is no parameter of {kind} that composer knows: {advice}")
        found[key] = value
    return None if _truth(kind, "disabled", found.pop("disabled", "false")) else found


def _provenance(options: dict[str, str]) -> ProvenanceOptions:
    mode, version = options.get("mode", "min"), options.get("version", "v0.2")
    if mode not in ("min", "max"):
        raise InvalidArgument(f"provenance mode {mode!r}: there are min and max")
    if version not in ("v0.2", "v1"):
        raise InvalidArgument(f"provenance version {version!r}: there are v0.2 and v1")
    return ProvenanceOptions(
        "max" if mode == "max" else "min",
        "v1" if version == "v1" else "v0.2",
        options.get("builder-id", ""),
        _truth("provenance", "reproducible", options.get("reproducible", "false")),
        _truth("provenance", "inline-only", options.get("inline-only", "false")),
    )


def _truth(kind: str, key: str, text: str) -> bool:
    if text.lower() not in (*_YES, *_NO[1:]):
        raise InvalidArgument(f"{key} of {kind} is true or false, not {text!r}")
    return text.lower() in _YES
