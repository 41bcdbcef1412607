"""The checks that there are, and what one of them finds."""

from __future__ import annotations

import re
from dataclasses import dataclass

from runtime.build.frontend.directives import Checking
from runtime.build.frontend.lines import Line, excerpt


@dataclass(frozen=True, slots=True)
class Rule:
    """A check. ``is_experimental``: it runs only when it is asked for."""

    name: str
    description: str
    is_experimental: bool = False

    @property
    def url(self) -> str:
        """Docker's page about it."""
        words = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", self.name).lower()
        return f"https://docs.docker.com/go/dockerfile/rule/{words}/"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something suspicious, and where it is."""

    rule: Rule
    message: str
    file: str
    number: int
    column: int
    text: str
    """The line."""

    def __str__(self) -> str:
        return f"{self.file}:{self.number}:{self.column}: {self.rule.name}: {self.message}"

    @property
    def excerpt(self) -> str:
        return excerpt(self.number, self.column, self.text)


def found(rule: Rule, line: Line, message: str, part: str = "") -> Finding:
    """A finding in ``line``, where it has ``part``."""
    number, column, text = line.place(part)
    return Finding(rule, message, line.file, number, column, text)


def is_wanted(rule: Rule, checking: Checking) -> bool:
    """Whether the directive lets a check run."""
    name = rule.name.lower()
    if "all" in checking.skips or name in checking.skips:
        return False
    return not rule.is_experimental or "all" in checking.experimental or name in checking.experimental


STAGE_NAME_CASING = Rule("StageNameCasing", "Stage names should be lowercase")
FROM_AS_CASING = Rule("FromAsCasing", "The 'as' keyword should match the case of the 'from' keyword")
NO_EMPTY_CONTINUATION = Rule("NoEmptyContinuation", "Empty lines within an instruction are read as mistakes")
CONSISTENT_CASING = Rule(
    "ConsistentInstructionCasing", "All instructions should be in one case, either upper or lower"
)
DUPLICATE_STAGE = Rule("DuplicateStageName", "Stage names should be unique")
RESERVED_STAGE = Rule("ReservedStageName", "Reserved words should not be used as stage names")
JSON_ARGS = Rule(
    "JSONArgsRecommended", "A shell between a container and its program keeps signals from the program"
)
MAINTAINER = Rule("MaintainerDeprecated", "The MAINTAINER instruction is deprecated, a label says the same")
UNDEFINED_ARG = Rule("UndefinedArgInFrom", "FROM knows only ARGs that come before the first FROM")
UNDEFINED_VAR = Rule("UndefinedVar", "Variables should be defined before their use")
WORKDIR_RELATIVE = Rule(
    "WorkdirRelativePath",
    "What a relative WORKDIR means depends on the base image, unless an absolute one is before",
)
MULTIPLE = Rule(
    "MultipleInstructionsDisallowed", "Of several of these instructions in a stage only the last one counts"
)
LEGACY_FORMAT = Rule("LegacyKeyValueFormat", "The old form with a blank should not be used")
REDUNDANT_PLATFORM = Rule("RedundantTargetPlatform", "The target platform is what FROM takes anyway")
SECRETS = Rule("SecretsUsedInArgOrEnv", "What ARG and ENV say can be read by everybody who has the image")
INVALID_DEFAULT = Rule(
    "InvalidDefaultArgInFrom", "Without build arguments the name of the base image should be one, too"
)
BASE_PLATFORM = Rule("InvalidBaseImagePlatform", "The base image is of another platform than what is built")
CONST_PLATFORM = Rule("FromPlatformFlagConstDisallowed", "A constant platform ties the build to it")
COPY_IGNORED = Rule("CopyIgnoredFile", "What .dockerignore leaves out cannot be copied", is_experimental=True)
DESCRIPTION = Rule(
    "InvalidDefinitionDescription",
    "A comment above a stage or argument begins with its name",
    is_experimental=True,
)
EXPOSE_CASING = Rule("ExposeProtoCasing", "Protocols in EXPOSE should be lowercase")
EXPOSE_FORMAT = Rule(
    "ExposeInvalidFormat", "EXPOSE names ports of the container, no addresses and host ports"
)
RULES = tuple(value for value in list(globals().values()) if isinstance(value, Rule))
