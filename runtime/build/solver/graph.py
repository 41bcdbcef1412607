"""The graph of a build: every step that a target needs, and which of them may be done at a moment. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from runtime.build.steps import Step

if TYPE_CHECKING:
    import networkx as nx


def step_graph(targets: Iterable[Step]) -> nx.DiGraph[Step]:
    """The targets and all that they need, with an edge from each step to those that read it."""
    import networkx as nx

    graph: nx.DiGraph[Step] = nx.DiGraph()
    waiting = list(targets)
    graph.add_nodes_from(waiting)
    seen: set[Step] = set()
    while waiting:
        step = waiting.pop()
        if step in seen:
            continue
        seen.add(step)
        for needed in step.inputs:
            graph.add_edge(needed, step)
            waiting.append(needed)
    return graph


def in_order(graph: nx.DiGraph[Step]) -> Iterator[Step]:
    """Each step after those that it needs."""
    import networkx as nx

    return iter(nx.topological_sort(graph))


def to_do(graph: nx.DiGraph[Step], targets: Iterable[Step], known: AbstractSet[Step]) -> frozenset[Step]:
    """The steps whose results are needed, given those whose results are ``known``: what only known steps need is not
    among them."""
    found: set[Step] = set()
    waiting = list(targets)
    while waiting:
        step = waiting.pop()
        if step in found:
            continue
        found.add(step)
        if step not in known:
            waiting.extend(graph.predecessors(step))
    return frozenset(found)


class Schedule:
    """Which of some steps can begin: those whose inputs among them are finished."""

    def __init__(self, graph: nx.DiGraph[Step], steps: AbstractSet[Step]) -> None:
        self._after = {
            step: [reader for reader in graph.successors(step) if reader in steps] for step in steps
        }
        self._missing = {step: sum(1 for one in graph.predecessors(step) if one in steps) for step in steps}
        self._ready = [step for step in in_order(graph) if self._missing.get(step) == 0]
        self._left = len(steps)

    @property
    def is_finished(self) -> bool:
        return self._left == 0

    def begin(self) -> list[Step]:
        """The steps that can begin now; each is given once."""
        ready, self._ready = self._ready, []
        return ready

    def finish(self, step: Step) -> None:
        """A step is done: others may have become ready."""
        self._left -= 1
        for reader in self._after[step]:
            self._missing[reader] -= 1
            if self._missing[reader] == 0:
                self._ready.append(reader)
