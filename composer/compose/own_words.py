"""``x-composer``: which mappings of that name are ours, and which of their words mean nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from composer.compose.model import Service
from composer.compose.trace import Path
from runtime.nearest import nearest

EXTENSION = "x-composer"
FILE_KEYS = ("address", "build", "silence")
SERVICE_KEYS = ("build", "silence")


_TEMPLATE = frozenset(Service.__struct_fields__) - {*FILE_KEYS}


class Stray(NamedTuple):
    """A word that is passed over, and where it stands."""

    message: str
    path: Path


def own_words(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    """The ``x-composer`` of a file or a service; empty without, and for what is somebody's template of a service."""
    own = mapping.get(EXTENSION)
    return own if isinstance(own, dict) and _TEMPLATE.isdisjoint(own) else {}


def stray_words(mapping: Mapping[str, Any], path: Path, codes: Iterable[str]) -> list[Stray]:
    """Those of the file's (``path`` is empty) or a service's own ``x-composer``, with ``codes`` to silence."""
    own = own_words(mapping)
    keys = SERVICE_KEYS if path else FILE_KEYS
    where = (*path, EXTENSION)
    found = []
    for key in map(str, own):
        if key not in keys:
            close = nearest(key, keys)
            meant = f"did you mean {close}?" if close else ", ".join(keys) + " are"
            if key in FILE_KEYS:
                meant = "it has a place at the top of the file only"
            found.append(
                Stray(
                    f"{EXTENSION} of {'a service' if path else 'the file'} has no {key}: {meant}",
                    (*where, key),
                )
            )
    words = own.get("silence", [])
    if not isinstance(words, list):
        found.append(Stray(f"{EXTENSION}.silence is a list of words", (*where, "silence")))
        return found
    known = tuple(codes)
    for i, word in enumerate(map(str, words)):
        if word not in known:
            close = nearest(word, known)
            meant = f"did you mean {close}?" if close else ", ".join(known) + " are"
            found.append(Stray(f"no warning is called {word}: {meant}", (*where, "silence", i)))
    return found
