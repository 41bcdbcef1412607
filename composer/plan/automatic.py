"""Services whose images are built again when, and only when, an input has changed."""

from __future__ import annotations

from composer.compose.model import Project, Service
from composer.compose.own_words import EXTENSION, own_words
from runtime.errors import InvalidArgument


def is_automatic(project: Project, service: Service) -> bool:
    """Whether ``x-composer: {build: auto}`` holds for a service: its own word, else the one at the top of the file.
    Raises InvalidArgument for another word."""
    for extensions in (service.extensions, project.extensions):
        own = own_words(extensions)
        if "build" in own:
            if own["build"] not in ("auto", "", None):
                raise InvalidArgument(f"{EXTENSION}.build: {own['build']!r} is not auto")
            return own["build"] == "auto" and service.build is not None
    return False
