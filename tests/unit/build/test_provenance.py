"""What is said of a build: how much in which mode, and what never."""

from __future__ import annotations

from typing import Any

import pytest

from composer.engine.builds.attestation_options import GENERATOR, parse_attestations
from composer.engine.builds.provenance import BuildFacts, Material, ProvenanceOptions, provenance
from runtime.build.frontend.lines import parse_lines
from runtime.build.steps import ContextSource, Copy, ImageSource, Run, Selection
from runtime.errors import InvalidArgument
from runtime.image.attestations import package_url
from runtime.image.reference import parse_reference

_LINES = parse_lines("FROM base\nCOPY a \\\n /\nRUN x\n")


def _facts(**changes: Any) -> BuildFacts:
    base = ImageSource(text="FROM base", place=_LINES[0], reference="base")
    context = ContextSource(text="context", place=_LINES[1])
    copy = Copy(
        text="COPY a /",
        place=_LINES[1],
        below=base,
        origin=Selection(source=context, patterns=("a",)),
        destination="/",
    )
    run = Run(text="RUN x", place=_LINES[2], below=copy, words=("x",), network=changes.pop("network", "none"))
    given: dict[str, Any] = {
        "invocation": "i",
        "started": 0.5,
        "finished": 1.0,
        "platform": "linux/amd64",
        "file": "Dockerfile",
        "entry": "Dockerfile",
        "text": "FROM base\n",
        "arguments": {"A": "1", "https_proxy": "secret"},
        "secrets": ("token",),
        "materials": (Material("pkg:docker/base@latest", "sha256:" + "0" * 64),),
        "steps": (base, context, copy, run),
    }
    return BuildFacts(**{**given, **changes})


def test_the_least_has_no_arguments() -> None:
    said = provenance(_facts(), ProvenanceOptions())
    predicate: Any = said.predicate
    assert said.predicate_type == "https://slsa.dev/provenance/v0.2"
    assert "args" not in predicate["invocation"]["parameters"] and "buildConfig" not in predicate
    assert predicate["metadata"]["buildStartedOn"] == "1970-01-01T00:00:00.500000Z"
    assert predicate["metadata"]["https://mobyproject.org/buildkit@v1#hermetic"] is True
    assert predicate["metadata"]["completeness"]["materials"] is False  # a directory was read


def test_the_most_has_all_but_proxies() -> None:
    predicate: Any = provenance(_facts(), ProvenanceOptions(mode="max")).predicate
    parameters = predicate["invocation"]["parameters"]
    assert parameters["args"] == {"build-arg:A": "1"} and parameters["secrets"][0]["id"] == "token"
    steps = predicate["buildConfig"]["llbDefinition"]
    assert [step["inputs"] for step in steps] == [[], [], ["step0:0", "step1:0"], ["step2:0"]]
    metadata = predicate["metadata"]["https://mobyproject.org/buildkit@v1#metadata"]
    (where,) = metadata["source"]["locations"]["step2"]["locations"][0]["ranges"]
    assert where == {"start": {"line": 2}, "end": {"line": 3}}


def test_version_1_and_repositories() -> None:
    facts = _facts(context="https://x.invalid/r.git#v1", commit="a" * 40)
    predicate: Any = provenance(facts, ProvenanceOptions(version="v1", builder_id="me")).predicate
    asked = predicate["buildDefinition"]["externalParameters"]
    assert asked["configSource"]["digest"] == {"sha1": "a" * 40} and "locals" not in asked["request"]
    assert predicate["runDetails"]["builder"] == {"id": "me"}
    assert predicate["runDetails"]["metadata"]["buildkit_completeness"]["resolvedDependencies"] is True
    assert len(predicate["buildDefinition"]["resolvedDependencies"]) == 2


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("busybox", "pkg:docker/busybox@latest?platform=linux%2Farm64"),
        ("a.b:5000/c/d:e", "pkg:docker/a.b%3A5000/c/d@e?platform=linux%2Farm64"),
    ],
)
def test_names_of_packages(name: str, url: str) -> None:
    assert package_url(parse_reference(name).with_default_tag(), "linux/arm64") == url


def test_options() -> None:
    assert not parse_attestations("", "false").is_any
    assert not parse_attestations("mode=max,disabled=true", "").is_any
    assert parse_attestations("true", "1").generator == GENERATOR
    asked = parse_attestations("mode=max,version=v1,builder-id=b,reproducible=true", "generator=g")
    assert asked.provenance == ProvenanceOptions("max", "v1", "b", True) and asked.generator == "g"
    for text in ("max", "mode=all", "version=v2", "reproducible=maybe", "modes=max"):
        with pytest.raises(InvalidArgument):
            parse_attestations(text, "")
