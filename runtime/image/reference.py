"""Names of images, in Docker's grammar: ``[registry[:port]/]path[:tag][@digest]``.

The grammar is that of the distribution project's reference package; a name without a registry is one of
docker.io, and one without a slash there is in ``library/``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from runtime.errors import InvalidArgument
from runtime.image.digest import Digest
from runtime.image.naming import DEFAULT_DOMAIN as DEFAULT_DOMAIN
from runtime.image.naming import DEFAULT_TAG, OFFICIAL, split_domain

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?", re.ASCII)
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")


@dataclass(frozen=True, slots=True)
class Reference:
    """A complete name. ``tag`` and ``digest`` may both be there; then the digest decides what is meant."""

    domain: str
    path: str
    tag: str = ""
    digest: Digest | None = None

    @property
    def name(self) -> str:
        """``docker.io/library/redis``."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """``redis``: without what Docker leaves out."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        rest = self.path.removeprefix(OFFICIAL)
        return self.path if "/" in rest else rest

    @property
    def familiar(self) -> str:
        """``redis:7``, ``ghcr.io/a/b@sha256:...``: the shortest text that parses to this reference."""
        return self.familiar_name + self._suffix

    @property
    def is_name_only(self) -> bool:
        return not self.tag and self.digest is None

    def with_default_tag(self) -> Reference:
        """The same with ``latest`` when there is neither tag nor digest."""
        if not self.is_name_only:
            return self
        return Reference(self.domain, self.path, DEFAULT_TAG)

    def with_digest(self, digest: Digest) -> Reference:
        """Name and digest, without a tag: Docker's RepoDigest."""
        return Reference(self.domain, self.path, "", digest)

    @property
    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        """The canonical form: ``docker.io/library/redis:7``."""
        return self.name + self._suffix


def parse_reference(text: str) -> Reference:
    """Parse and complete a name. Raises InvalidArgument: "invalid reference format" with what is wrong."""
    if not text:
        raise InvalidArgument("invalid reference format: the name is empty")
    if _IDENTIFIER.fullmatch(text):
        raise InvalidArgument(
            f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings",
            hint="An image id is written sha256:<id>.",
        )
    rest, at, digest_text = text.partition("@")
    digest = None
    if at:
        try:
            digest = Digest.parse(digest_text)
        except InvalidArgument as error:
            raise InvalidArgument(f"invalid reference format: {text}: {error.message}") from None
    colon = rest.rfind(":")
    tag = ""
    if colon > rest.rfind("/"):
        rest, tag = rest[:colon], rest[colon + 1 :]
        if not _TAG.fullmatch(tag):
            why = "the tag is empty" if not tag else f'"{tag[:140]}" is not a valid tag'
            raise InvalidArgument(f"invalid reference format: {text}: {why}")
    domain, path = split_domain(rest)
    if path != path.lower():
        raise InvalidArgument(
            f"invalid reference format: repository name ({rest}) must be lowercase",
            hint="" if " " in text else f"Write {text.replace(rest, rest.lower(), 1)}.",
        )
    if not _DOMAIN.fullmatch(domain):
        raise InvalidArgument(f'invalid reference format: {text}: "{domain}" is not a registry')
    if (port := domain.rpartition(":")[2]).isdigit() and int(port[:6]) > 65535:
        raise InvalidArgument(f"invalid reference format: {text}: {port[:6]} is not a port: there are 65535")
    if not _PATH.fullmatch(path):
        what = "there is no name" if not path else f'"{_offending(path)}" is not a valid name'
        raise InvalidArgument(f"invalid reference format: {text}: {what}")
    if len(path) > 255:
        raise InvalidArgument("repository name must not be more than 255 characters")
    return Reference(domain, path, tag, digest)


def _offending(path: str) -> str:
    for component in path.split("/"):
        if not re.fullmatch(_COMPONENT, component):
            return component
    return path


def parse_target(text: str) -> Reference:
    """What an image is to be called. Raises InvalidArgument."""
    reference = parse_reference(text).with_default_tag()
    if reference.digest is not None:
        raise InvalidArgument("refusing to create a tag with a digest reference")
    if reference.familiar_name == "sha256":
        raise InvalidArgument("refusing to create an ambiguous tag using digest algorithm as name")
    return reference
