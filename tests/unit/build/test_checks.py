"""Build checks: one Dockerfile for each, and one that no check minds."""

from __future__ import annotations

import pytest

from runtime.build.frontend.checks.check import check_dockerfile, unused_arguments
from runtime.build.frontend.checks.rules import RULES
from runtime.build.frontend.lines import DockerfileError
from runtime.build.frontend.stages import parse_dockerfile, platform_arguments
from runtime.container.config import ImageConfig

_PLATFORM = platform_arguments("linux/amd64")
_IMAGES = {"debian": ImageConfig(env=("LANG=C",)), "shelled": ImageConfig(shell=("/bin/bash", "-c"))}
_ALL = "# check=experimental=all\n"


def _found(text: str, **arguments: str) -> list[tuple[str, int, str]]:
    file = parse_dockerfile(text, arguments, _PLATFORM)
    findings = check_dockerfile(
        file, arguments, _PLATFORM, _IMAGES, lambda path: path.endswith(".log"), {"foreign": "linux/arm64"}
    )
    return [(finding.rule.name, finding.number, finding.message) for finding in findings]


_CASES = [
    (
        "FROM foreign",
        "InvalidBaseImagePlatform",
        1,
        'Base image foreign was pulled with platform "linux/arm64", expected "linux/amd64" for current build',
    ),
    ("FROM scratch AS Base", "StageNameCasing", 1, "Stage name 'Base' should be lowercase"),
    ("FROM scratch as base", "FromAsCasing", 1, "'as' and 'FROM' keywords' casing do not match"),
    ("from scratch AS base", "FromAsCasing", 1, "'AS' and 'from' keywords' casing do not match"),
    ("FROM scratch\nENV a=b \\\n\n c=d", "NoEmptyContinuation", 2, "Empty continuation line"),
    (
        "FROM scratch\nENV a=b\ncopy x y",
        "ConsistentInstructionCasing",
        3,
        "Command 'copy' should match the case of the command majority (uppercase)",
    ),
    (
        "FROM scratch AS a\nFROM scratch AS a",
        "DuplicateStageName",
        2,
        'Duplicate stage name "a", stage names should be unique',
    ),
    (
        "FROM scratch AS context",
        "ReservedStageName",
        1,
        'Stage name should not use the same name as reserved stage "context"',
    ),
    (
        "FROM debian\nCMD run me",
        "JSONArgsRecommended",
        2,
        "JSON arguments recommended for CMD to prevent unintended behavior related to OS signals",
    ),
    (
        "FROM scratch\nMAINTAINER me",
        "MaintainerDeprecated",
        2,
        "Maintainer instruction is deprecated in favor of using label",
    ),
    (
        "ARG VERSION=1\nFROM debian:${VERSOIN:-1}x$VERSOIN",
        "UndefinedArgInFrom",
        2,
        "FROM argument 'VERSOIN' is not declared (did you mean VERSION?)",
    ),
    (
        "FROM debian\nARG NAME=x\nCOPY a $NAEM",
        "UndefinedVar",
        3,
        "Usage of undefined variable '$NAEM' (did you mean $NAME?)",
    ),
    (
        "FROM debian\nCOPY <<x /y\n$q\nx",
        "UndefinedVar",
        2,
        "Usage of undefined variable '$q'",
    ),
    (
        "FROM debian\nWORKDIR app/src",
        "WorkdirRelativePath",
        2,
        'Relative workdir "app/src" can have unexpected results if the base image changes',
    ),
    (
        'FROM scratch\nCMD ["a"]\nCMD ["b"]',
        "MultipleInstructionsDisallowed",
        2,
        "Multiple CMD instructions should not be used in the same stage because only the last one will be used",
    ),
    (
        "FROM scratch\nENV a b c",
        "LegacyKeyValueFormat",
        2,
        '"ENV key=value" should be used instead of legacy "ENV key value" format',
    ),
    (
        "FROM --platform=$TARGETPLATFORM debian",
        "RedundantTargetPlatform",
        1,
        "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
    ),
    (
        "FROM scratch\nARG GITHUB_TOKEN",
        "SecretsUsedInArgOrEnv",
        2,
        'Do not use ARG or ENV instructions for sensitive data (ARG "GITHUB_TOKEN")',
    ),
    (
        "FROM --platform=linux/arm64 debian",
        "FromPlatformFlagConstDisallowed",
        1,
        'FROM --platform flag should not use constant value "linux/arm64"',
    ),
    (
        "FROM scratch\nCOPY x.log /y",
        "CopyIgnoredFile",
        2,
        'Attempting to Copy file "x.log" that is excluded by .dockerignore',
    ),
    (
        "# something else\nFROM scratch AS base",
        "InvalidDefinitionDescription",
        2,
        "Comment for build stage should follow the format: `# base <description>`",
    ),
    (
        "FROM scratch\nEXPOSE 80/TCP",
        "ExposeProtoCasing",
        2,
        "Defined protocol '80/TCP' for EXPOSE command should be lowercase",
    ),
    (
        "FROM scratch\nEXPOSE 127.0.0.1:80:80",
        "ExposeInvalidFormat",
        2,
        "EXPOSE instruction should not define an IP address or host-port mapping, found '127.0.0.1:80:80'",
    ),
]


@pytest.mark.parametrize(("text", "rule", "number", "message"), _CASES)
def test_what_is_found(text: str, rule: str, number: int, message: str) -> None:
    assert _found(_ALL + text) == [(rule, number + 1, message)]
    assert _found(f"# check=skip={rule}\n{text}") == []
    assert _found(text, BUILDKIT_DOCKERFILE_CHECK="skip=all") == []


def test_a_default_that_names_no_image() -> None:
    text = "ARG TAG\nFROM debian:$TAG"
    message = "Default value for ARG debian:$TAG results in empty or invalid base image name"
    assert _found(text, TAG="12") == [("InvalidDefaultArgInFrom", 2, message)]


@pytest.mark.parametrize(
    "text",
    [
        "ARG V=1\nFROM debian:$V AS build\nFROM --platform=$BUILDPLATFORM debian AS native\n",
        "FROM --platform=linux/arm64 debian AS build_arm64\n",
        "FROM debian\nARG A\nENV B=$A$LANG C=${UNKNOWN:-x} D='$x' PUBLIC_KEY=1\nWORKDIR /a\nWORKDIR b\n",
        "FROM debian AS a\nENV X=1\nWORKDIR /a\nFROM a\nENV Y=$X\nWORKDIR b\n",
        "FROM unknown\nENV A=$NOBODY_KNOWS\n",
        "FROM shelled\nCMD a b\n",
        'FROM scratch\nSHELL ["a"]\nENTRYPOINT b\nEXPOSE 80/udp $P 90\nARG P\n'.replace("$P ", ""),
        'from scratch as a\nrun ["x"]\n',
        "FROM scratch\nCOPY --from=debian x.log /\nCOPY $PATH <<e /y/\n'\ne\n",
        "FROM scratch\nARG HTTP_PROXY\nENV P=$HTTP_PROXY$https_proxy\n",
    ],
)
def test_what_no_check_minds(text: str) -> None:
    assert _found(text) == []


def test_experimental_checks_have_to_be_asked_for() -> None:
    assert _found("FROM scratch\nCOPY x.log /y") == []


def test_every_check_has_a_case() -> None:
    tried = {rule for _, rule, _, _ in _CASES} | {"InvalidDefaultArgInFrom"}
    assert tried == {rule.name for rule in RULES}
    assert {rule.name: rule.url for rule in RULES}["JSONArgsRecommended"].endswith("/json-args-recommended/")


def test_a_directive_that_says_nothing() -> None:
    for text in ("skip=Nope", "skipp=all"):
        with pytest.raises(DockerfileError):
            _found(f"# check={text}\nFROM scratch")


def test_arguments_that_nobody_asks_for() -> None:
    file = parse_dockerfile("ARG A\nFROM scratch\nARG B=1 C\n", {}, {})
    given = dict.fromkeys(("A", "B", "C", "D", "http_proxy", "BUILDKIT_INLINE_CACHE"), "")
    assert unused_arguments(file, given, {}) == ["D"]
