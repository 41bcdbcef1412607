"""More mistakes of the same files: what is known to be wrong is left out, and the rest is looked at again.

Each stage tells all that it finds, but a stage that found something ends the load. So that one run shows what has to be
mended, later stages see the files without what earlier ones refused. Relations between services are not looked at then:
what was left out would be missed everywhere, unless it was below an attribute of a service or resource. Only a load
that has failed pays for it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any

from composer.compose.trace import Key, Origin

ROUNDS = 5
"""How often it is tried again; each round finds all that one stage has to say."""
LINES = 4000
"""How many lines all rounds together may read, so that what is large and wrong is told of soon."""
Place = tuple[str, int, int]
"""File, line and column."""


def rounds_for(lines: int) -> int:
    """How often files of so many lines are looked at again.

    >>> rounds_for(100), rounds_for(2000), rounds_for(100_000)
    (5, 2, 1)
    """
    return max(1, min(ROUNDS, LINES // max(lines, 1)))


def may_relate(left_out: Iterable[str]) -> bool:
    """Whether references can be looked at without what was at these paths: all names are still there.

    >>> may_relate(["services.web.ports[0]"]), may_relate(["services.web"]), may_relate(["services.web.extends"])
    (True, False, False)
    """
    return all(
        path.count(".") >= 2 and not path.startswith("include") and ".extends" not in path
        for path in left_out
    )


def follows(path: str, known: Collection[str]) -> bool:
    """Whether what is wrong at ``path`` may be wrong only because something at or below it was left out.

    >>> follows("services.web", ["services.web.image"]), follows("services.web.image", ["services.db.image"])
    (True, False)
    """
    return any(other.startswith((f"{path}.", f"{path}[")) for other in known)


def as_written(path: str, left_out: Collection[str]) -> str:
    """``path`` with indices as in the file, where they count what was left out of the lists.

    >>> as_written("services.web.ports[0].target", ["services.web.ports[0]", "services.web.ports[2]"])
    'services.web.ports[1].target'
    """
    done = ""
    for part in re.split(r"(\[\d+\])", path):
        if part.startswith("[") and done:
            index = int(part[1:-1])
            gone = sorted(
                int(other[len(done) + 1 : -1])
                for other in left_out
                if re.fullmatch(re.escape(done) + r"\[\d+\]", other)
            )
            for other in gone:
                index += other <= index
            part = f"[{index}]"
        done += part
    return done


def leave_out(tree: Any, places: Collection[Place]) -> set[Place | None]:
    """Remove keys and items written at ``places`` from a traced tree, in place; the places that were found.

    Of several at one place the innermost counts: a mapping in block style begins where its first key does.
    """
    done: set[Place | None] = set()
    wanted: set[Place | None] = set(places)
    if isinstance(tree, dict):
        for key in list(tree):
            inside = leave_out(tree[key], places)
            here = {_place(key.at), _place(key.value_at)} & wanted if isinstance(key, Key) else set()
            if here - inside:
                del tree[key]
            done |= inside | here
    elif isinstance(tree, list):
        for index in range(len(tree) - 1, -1, -1):
            inside = leave_out(tree[index], places)
            place = _place(getattr(tree[index], "at", None))
            if place in wanted and place not in inside:
                del tree[index]
                inside.add(place)
            done |= inside
    return done


def _place(origin: Origin | None) -> Place | None:
    return (origin.file, origin.line, origin.column) if origin is not None else None


def written_value(line: str, column: int) -> str:
    """The scalar that begins at a column of a line, as it is written; "" for a mapping or a list there.

    >>> written_value("a: {b: ${C}, d: e}", 8), written_value("a: {b: c}", 4)
    ('${C}', '')
    """
    value = line[column - 1 :]
    if not column or value.startswith(("{", "[")):
        return ""
    return value.partition(" #")[0].partition(", ")[0].rstrip("}] ") + ("}" if "${" in value else "")
