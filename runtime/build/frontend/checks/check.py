"""All checks of a Dockerfile, as its directive or the build argument in its place wants them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from runtime.build.frontend.checks.meaning import PROXIES, check_meaning
from runtime.build.frontend.checks.rules import RULES, Finding, is_wanted
from runtime.build.frontend.checks.style import check_style
from runtime.build.frontend.directives import CHECK_ARGUMENT, Checking, read_checking
from runtime.build.frontend.expand import split_words
from runtime.build.frontend.lines import DockerfileError
from runtime.build.frontend.stages import Dockerfile
from runtime.container.config import ImageConfig

_PREDEFINED = (*PROXIES, "SOURCE_DATE_EPOCH")


def check_dockerfile(
    file: Dockerfile,
    arguments: Mapping[str, str],
    platform: Mapping[str, str],
    images: Mapping[str, ImageConfig],
    is_ignored: Callable[[str], bool],
    platforms: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Finding, ...]:
    """What is suspicious, in the order of the file. ``platforms``: of base images that are known. Raises
    DockerfileError for a directive that says nothing."""
    checking = checking_of(file, arguments)
    everything = [*check_style(file, is_ignored), *check_meaning(file, platform, images, platforms)]
    wanted = [finding for finding in everything if is_wanted(finding.rule, checking)]
    return tuple(sorted(wanted, key=lambda finding: (finding.number, finding.column)))


def checking_of(file: Dockerfile, arguments: Mapping[str, str]) -> Checking:
    """What the directive ``check`` says, or the build argument. Raises DockerfileError."""
    text = arguments.get(CHECK_ARGUMENT, file.directives.check)
    try:
        checking = read_checking(text)
    except ValueError as error:
        raise DockerfileError(str(error)) from None
    known = {rule.name.lower() for rule in RULES} | {"all"}
    for name in sorted((checking.skips | checking.experimental) - known):
        raise DockerfileError(f"check={text}: there is no check {name}")
    return checking


def unused_arguments(
    file: Dockerfile, arguments: Mapping[str, str], platform: Mapping[str, str]
) -> list[str]:
    """Build arguments that no ARG asks for."""
    asked = {
        word.partition("=")[0]
        for line in file.lines
        if line.name == "ARG"
        for word in split_words(line.rest, file.escape)
    }
    return sorted(
        name
        for name in arguments
        if name not in asked
        and name not in platform
        and name.upper() not in _PREDEFINED
        and not name.startswith("BUILDKIT_")
    )
