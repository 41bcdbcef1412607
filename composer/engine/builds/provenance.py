"""Where an image comes from: SLSA provenance of a build, v0.2 or v1 (slsa.dev), with BuildKit's parameters ("SLSA
definitions" of Docker's manual). Pure.

The least has the build's times, its frontend, its materials, the repository and the platform; the most has build
arguments, names of secrets, the Dockerfile and every step, too.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from runtime.build.frontend.convert import PREDEFINED
from runtime.build.frontend.lines import Line
from runtime.build.steps import (
    ContextSource,
    Copy,
    FetchSource,
    GitCheckout,
    ImageSource,
    MakeDirectory,
    Run,
    Step,
)
from runtime.image.attestations import PROVENANCE_FILE, Attestation

_V02 = "https://slsa.dev/provenance/v0.2"
_V1 = "https://slsa.dev/provenance/v1"
_TYPE_V02 = "https://mobyproject.org/buildkit@v1"
_TYPE_V1 = "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md"
_METADATA = f"{_TYPE_V02}#metadata"
_HERMETIC = f"{_TYPE_V02}#hermetic"


@dataclass(frozen=True, slots=True)
class ProvenanceOptions:
    """``--attest type=provenance,...``."""

    mode: Literal["min", "max"] = "min"
    version: Literal["v0.2", "v1"] = "v0.2"
    builder_id: str = ""
    is_reproducible: bool = False
    is_inline_only: bool = False
    """Not beside files."""


@dataclass(frozen=True, slots=True)
class Material:
    """Something from outside that the result is made from. ``digest``: ``algorithm:hex``, or ""."""

    uri: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class BuildFacts:
    """What a build was asked for, and what it found. Times are seconds since the epoch."""

    invocation: str
    started: float
    finished: float
    platform: str
    """Of the machine that built."""
    file: str
    """What places call the Dockerfile."""
    entry: str
    """Its path in the context."""
    text: str
    """The Dockerfile's."""
    context: str = ""
    """The URL that the context came from; "": a directory."""
    commit: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    secrets: Sequence[str] = ()
    agents: Sequence[str] = ()
    materials: Sequence[Material] = ()
    steps: Sequence[Step] = ()
    """All, each after those that it reads."""


def provenance(facts: BuildFacts, options: ProvenanceOptions) -> Attestation:
    """The statement about a build, as far as ``options`` want it."""
    make = _v1 if options.version == "v1" else _v02
    kind = _V1 if options.version == "v1" else _V02
    return Attestation(kind, make(facts, options), PROVENANCE_FILE, options.is_inline_only)


def _v02(facts: BuildFacts, options: ProvenanceOptions) -> dict[str, Any]:
    source = {"uri": facts.context, "digest": _commit(facts)} if facts.context else {}
    is_all = options.mode == "max"
    predicate: dict[str, Any] = {
        "builder": {"id": options.builder_id},
        "buildType": _TYPE_V02,
        "materials": _materials(facts),
        "invocation": {
            "configSource": {**source, "entryPoint": facts.entry},
            "parameters": _parameters(facts, is_all=is_all),
            "environment": {"platform": facts.platform},
        },
        "metadata": {
            "buildInvocationID": facts.invocation,
            "buildStartedOn": _time(facts.started),
            "buildFinishedOn": _time(facts.finished),
            "completeness": {"parameters": is_all, "environment": True, "materials": is_complete(facts)},
            "reproducible": options.is_reproducible,
            _METADATA: _metadata(facts) if is_all else {},
            _HERMETIC: is_hermetic(facts),
        },
    }
    if is_all:
        predicate["buildConfig"] = {"llbDefinition": _definition(facts.steps)}
    return predicate


def _v1(facts: BuildFacts, options: ProvenanceOptions) -> dict[str, Any]:
    source = {"uri": facts.context, "digest": _commit(facts)} if facts.context else {}
    is_all = options.mode == "max"
    inner: dict[str, Any] = {"builderPlatform": facts.platform}
    if is_all:
        inner["buildConfig"] = {"llbDefinition": _definition(facts.steps)}
    return {
        "buildDefinition": {
            "buildType": _TYPE_V1,
            "externalParameters": {
                "configSource": {**source, "path": facts.entry},
                "request": _parameters(facts, is_all=is_all),
            },
            "internalParameters": inner,
            "resolvedDependencies": _materials(facts),
        },
        "runDetails": {
            "builder": {"id": options.builder_id},
            "metadata": {
                "invocationId": facts.invocation,
                "startedOn": _time(facts.started),
                "finishedOn": _time(facts.finished),
                "buildkit_metadata": _metadata(facts) if is_all else {},
                "buildkit_hermetic": is_hermetic(facts),
                "buildkit_completeness": {"request": is_all, "resolvedDependencies": is_complete(facts)},
                "buildkit_reproducible": options.is_reproducible,
            },
        },
    }


def is_hermetic(facts: BuildFacts) -> bool:
    """Whether no step had a network."""
    return all(step.network == "none" for step in facts.steps if isinstance(step, Run))


def is_complete(facts: BuildFacts) -> bool:
    """Whether ``materials`` are all that there was: no network, no directory of who built."""
    has_directory = any(isinstance(step, ContextSource) for step in facts.steps) and not facts.commit
    return is_hermetic(facts) and not has_directory


def _commit(facts: BuildFacts) -> dict[str, str]:
    return {"sha256" if len(facts.commit) == 64 else "sha1": facts.commit} if facts.commit else {}


def _materials(facts: BuildFacts) -> list[dict[str, object]]:
    found = [Material(facts.context, f"sha1:{facts.commit}")] if facts.commit else []
    named = dict.fromkeys([*found, *facts.materials])
    return [
        {"uri": one.uri, **({"digest": dict([one.digest.split(":", 1)])} if one.digest else {})}
        for one in named
    ]


def _parameters(facts: BuildFacts, *, is_all: bool) -> dict[str, object]:
    found: dict[str, object] = {"frontend": "dockerfile.v0"}
    names = {step.name or "context" for step in facts.steps if isinstance(step, ContextSource)}
    if names and not facts.context:
        found["locals"] = [{"name": name} for name in sorted(names | {"dockerfile"})]
    if not is_all:
        return found
    args = {f"build-arg:{name}": value for name, value in facts.arguments.items() if not _is_proxy(name)}
    args |= {f"label:{name}": value for name, value in facts.labels.items()}
    found["args"] = {**({"target": facts.target} if facts.target else {}), **args}
    if facts.secrets:
        found["secrets"] = [{"id": name, "optional": True} for name in facts.secrets]
    if facts.agents:
        found["ssh"] = [{"id": name, "optional": True} for name in facts.agents]
    return found


def _is_proxy(name: str) -> bool:
    """Their values may have passwords in them."""
    return name.upper() in PREDEFINED


def _metadata(facts: BuildFacts) -> dict[str, object]:
    """The Dockerfile, and which of its lines each step is."""
    locations = {}
    for number, step in enumerate(facts.steps):
        if isinstance(step.place, Line) and step.place.file == facts.file:
            first = step.place.number
            last = max([first, *(line for line, _ in step.place.further)])
            ranges = [{"start": {"line": first}, "end": {"line": last}}]
            locations[f"step{number}"] = {"locations": [{"ranges": ranges}]}
    data = base64.b64encode(facts.text.encode("utf-8", "surrogateescape")).decode()
    infos = [{"filename": facts.entry, "language": "Dockerfile", "data": data}]
    return {"source": {"locations": locations, "infos": infos}}


def _definition(steps: Sequence[Step]) -> list[dict[str, object]]:
    """Every step with what it reads."""
    ids = {step: f"step{number}" for number, step in enumerate(steps)}
    return [
        {"id": ids[step], "op": {"Op": _operation(step)}, "inputs": [f"{ids[one]}:0" for one in step.inputs]}
        for step in steps
    ]


def _operation(step: Step) -> dict[str, object]:
    match step:
        case ImageSource():
            return {"source": {"identifier": f"docker-image://{step.reference}"}}
        case ContextSource():
            return {"source": {"identifier": f"local://{step.name or 'context'}"}}
        case FetchSource():
            return {"source": {"identifier": step.url}}
        case GitCheckout():
            return {"source": {"identifier": f"git://{_without_password(step.source.url)}#{step.source.ref}"}}
        case Run():
            meta = {"args": step.words, "env": step.env, "cwd": step.working_dir, "user": step.user}
            mounts = [
                {"type": one.type, "dest": one.target, "readonly": one.read_only} for one in step.mounts
            ]
            return {"exec": {"meta": meta, "network": step.network, "mounts": mounts}}
        case MakeDirectory():
            return {"file": {"actions": [{"mkdir": {"path": step.path, "makeParents": True}}]}}
        case Copy():
            sources = step.origin.patterns if step.origin is not None else ()
            names = [name for name, _ in step.files]
            copied = {
                "src": [*sources, *names, *(one.text for one in step.fetched)],
                "dest": step.destination,
            }
            return {"file": {"actions": [{"copy": copied}]}}
    return {"step": {"text": step.text}}


def _without_password(url: str) -> str:
    return re.sub(r"(?<=://)[^/@]*@", "", url)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
