"""What is left out of the names of images. Pure, and imports nothing: the command needs no more to show a name."""

from __future__ import annotations

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
OFFICIAL = "library/"
_LEGACY_DOMAIN = "index.docker.io"


def split_domain(name: str) -> tuple[str, str]:
    """The registry and the rest of a name, with what Docker fills in; whether they are valid is not looked at."""
    first, slash, rest = name.partition("/")
    is_domain = slash and ("." in first or ":" in first or first == "localhost" or first != first.lower())
    domain, path = (first, rest) if is_domain else (DEFAULT_DOMAIN, name)
    if domain == _LEGACY_DOMAIN:
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in path:
        path = OFFICIAL + path
    return domain, path


def has_tag(name: str) -> bool:
    """Whether there is a tag or a digest."""
    return "@" in name or ":" in name.rpartition("/")[2]
