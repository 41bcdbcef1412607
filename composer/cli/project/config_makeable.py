"""Whether something can be made of a file: what ``up`` would refuse for what stands in it, ``config`` says.

``config -q``, which has nothing else to say, fails then. The document is printed all the same, as Docker Compose does,
which finds all this only when it makes things.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from composer.compose.request import LoadRequest, Reader
    from composer.compose.tree import Tree
    from runtime.errors import ComposerError


def check_makeable(
    request: LoadRequest, reader: Reader, tree: Tree, warn: Callable[[str], None] | None
) -> None:
    """Tell ``warn`` what nothing can be made of, with its place; without ``warn`` that is an error.

    Raises ComposeError, and Problem for what cannot be read as values."""
    from composer.compose.typed import typed_project
    from composer.makeable.project import faults

    found = faults(typed_project(tree))
    if not found:
        return
    from composer.compose.errors import ComposeError
    from composer.compose.explanation import parse_path, places
    from composer.compose.pipeline import in_order, joined, load_traced

    traced = load_traced(request, reader)
    for one in found:
        one.locations = places(traced, parse_path(one.about))
    if warn is None:
        raise joined(found, ComposeError(""))
    for one in in_order(found):
        warn(f"{_where(one)}{one.message} (`up` refuses it)")


def _where(error: ComposerError) -> str:
    """The place, and what stands there where the message does not say it."""
    if not error.locations:
        return ""
    first = error.locations[0]
    is_named = not first.path or error.message.startswith(first.path)
    return f"{first}: " if is_named else f"{first}: {first.path}: "
