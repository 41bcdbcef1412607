"""What a Dockerfile offers and takes, as ``--call`` tells it."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.build.frontend.outline import list_targets, outline
from runtime.build.frontend.stages import parse_dockerfile, platform_arguments
from runtime.errors import NotFound

_PLATFORM = platform_arguments("linux/amd64")
_TEXT = """# syntax=docker/dockerfile:1
# VERSION is what is compiled
ARG VERSION=1.2
ARG UNUSED=never
ARG SUFFIX=-slim
ARG BASE=debian:$VERSION$SUFFIX

# base has the tools
FROM --platform=$BUILDPLATFORM $BASE AS Base
# an unrelated remark
# MODE says how: fast or small
ARG MODE
ARG TARGETARCH
ARG VERSION
RUN --mount=type=secret,id=token,required true

FROM base AS other
ARG LEFT=out
FROM scratch

# build is the program
FROM base AS build
ARG MODE=fast LEVEL=$MODE
RUN --mount=type=ssh --mount=type=ssh,id=host,required=true \\
    --mount=type=secret,target=/run/key true
RUN <<end
true
end
FROM build
"""


def _outline(target: str = "", **given: str) -> dict[str, Any]:
    return outline(parse_dockerfile(_TEXT, given, _PLATFORM), target, given, _PLATFORM)


def _arguments(document: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(one["name"], one.get("value", ""), one.get("description", "")) for one in document["args"]]


def test_targets() -> None:
    targets = list_targets(parse_dockerfile(_TEXT, {}, _PLATFORM))["targets"]
    assert [one.pop("location")["ranges"][0]["start"]["line"] for one in targets] == [9, 17, 19, 22, 29]
    assert targets == [
        {"name": "base", "description": "has the tools", "base": "$BASE", "platform": "$BUILDPLATFORM"},
        {"name": "other", "base": "base"},
        {"base": "scratch"},
        {"name": "build", "description": "is the program", "base": "base"},
        {"default": True, "base": "build"},
    ]


def test_what_a_target_takes() -> None:
    found = _outline("build")
    assert (found["name"], found["description"]) == ("build", "is the program")
    assert _arguments(found) == [
        ("VERSION", "1.2", "is what is compiled"),
        ("SUFFIX", "-slim", ""),
        ("BASE", "debian:1.2-slim", ""),
        ("MODE", "fast", ""),
        ("LEVEL", "fast", ""),
    ]
    assert [(one["name"], one.get("required", False)) for one in found["secrets"]] == [
        ("token", True),
        ("key", False),
    ]
    assert [(one["name"], one.get("required", False)) for one in found["ssh"]] == [
        ("default", False),
        ("host", True),
    ]
    lines = [one["start"]["line"] for one in found["ssh"][0]["location"]["ranges"]]
    assert lines == [24, 25]


def test_what_is_given_is_the_value() -> None:
    found = _arguments(_outline("base", MODE="small", VERSION="2", BASE="alpine"))
    assert found == [
        ("BASE", "alpine", ""),
        ("MODE", "small", "says how: fast or small"),
        ("VERSION", "2", ""),
    ]


def test_only_what_is_needed_counts() -> None:
    assert _arguments(_outline("other"))[-1] == ("LEFT", "out", "")
    assert _outline("2") == {}
    assert "LEFT" not in [name for name, _, _ in _arguments(_outline())]
    with pytest.raises(NotFound, match="'biuld' could not be found"):
        _outline("biuld")
