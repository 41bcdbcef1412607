"""``load_project``: the whole way from a request to a typed project."""

from __future__ import annotations

from composer.compose.model import Project
from composer.compose.request import LoadRequest, Reader


def load_project(request: LoadRequest, reader: Reader) -> Project:
    """Load, merge, validate and resolve.

    Raises :class:`ComposeError` with the places of what is wrong, innermost first.
    """
    from composer.compose.pipeline import load_tree
    from composer.compose.typed import typed_project

    return typed_project(load_tree(request, reader))
