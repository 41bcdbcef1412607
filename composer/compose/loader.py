"""``load_project``: the whole way from a request to a typed project."""

from __future__ import annotations

from composer.compose.model import Project
from composer.compose.request import LoadRequest, Reader


def load_project(request: LoadRequest, reader: Reader) -> Project:
    """Load, merge, validate and resolve.

    Raises :class:`ComposeError` with the places of what is wrong, innermost first.
    """
    from composer.compose.pipeline import load_tree, locate
    from composer.compose.problem import Problem
    from composer.compose.typed import typed_project

    tree = load_tree(request, reader)
    try:
        return typed_project(tree)
    except Problem as problem:
        raise locate(request, reader, problem) from None
