"""What a step's result depends on, as keys of the cache. Pure.

A step has two keys. Its *chain key* follows from the Dockerfile, the images and the contents of contexts alone:
it is known before anything is done, and when it is in the cache, all before it is unnecessary. Its *content key*
follows from the results of what it reads: after a step that was done again and came out the same, the cache goes on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

from runtime.build.steps import Copy, LayerStep, Selection, Step

Contents = Mapping[Selection, str]
"""The digest of what a selection has: names, kinds, modes, owners as far as they are kept, contents; no times."""


GENERATION = 2
"""Of the rules by which steps make layers, a part of every key: what was made by rules that no longer hold is no
result. To be raised when a step would now be refused, or come out otherwise, that an older version has done (2: names
that begin with ``.wh.``)."""


def digest(value: object) -> str:
    """Of a value made of numbers, texts, bytes and tuples."""
    return hashlib.sha256(repr(value).encode("utf-8", "surrogatepass")).hexdigest()


def chain_key(step: LayerStep, keys: Mapping[Step, str], contents: Contents) -> str:
    """By the chain keys of its inputs; contents of other steps' results need not be known."""
    below = keys[step.below] if step.below is not None else ""
    read = tuple(
        contents.get(item) or (keys[item.source], *selection_facts(item)) for item in step.selections
    )
    return digest(("chain", GENERATION, type(step).__name__, below, facts_of(step), read))


def content_key(step: LayerStep, below: str, contents: Contents) -> str:
    """By what is ``below`` (its chain id) and the contents of all that it reads."""
    read = tuple(contents[item] for item in step.selections)
    return digest(("content", GENERATION, type(step).__name__, below, facts_of(step), read))


def layer_key(step: Copy, contents: Contents) -> str:
    """Of a ``COPY --link``: its layer, whatever it is put on."""
    return content_key(step, "", contents)


def is_independent(step: Step) -> bool:
    """Whether a step's layer has nothing to do with what is below. The name of an owner is looked up there."""
    return isinstance(step, Copy) and step.links and all(part.isdecimal() for part in _owner(step))


def _owner(step: Copy) -> list[str]:
    return [part for part in step.owner.split(":") if part]


def facts_of(step: Step) -> tuple[tuple[str, object], ...]:
    own = tuple(step.facts.items())
    if isinstance(step, LayerStep) and step.latest is not None:
        return (*own, ("SOURCE_DATE_EPOCH", step.latest))
    return own


def selection_facts(item: Selection) -> tuple[object, ...]:
    return (item.patterns, item.exclude, item.keeps_parents, item.keeps_owners)


Fresh = Callable[[Step], bool]
"""Whether a step is to be done again whatever the cache has."""


def fresh_steps(is_fresh: bool, stages: tuple[str, ...]) -> Fresh:
    """What ``--no-cache`` and ``--no-cache-filter`` ask for."""
    names = {name.lower() for name in stages}
    return lambda step: isinstance(step, LayerStep) and (is_fresh or step.stage.lower() in names)
