"""Services as a graph: who needs whom, in which order to start, stop and restart.

An edge ``web -> db`` says that web needs db. Edges come from ``depends_on`` and, as in Docker Compose, from
what implies it: ``links``, ``volumes_from``, and ``network_mode``, ``ipc``, ``pid`` with ``service:<name>``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from runtime.errors import ComposerError

if TYPE_CHECKING:
    import networkx as nx


Condition = Literal["service_started", "service_healthy", "service_completed_successfully"]
CONDITIONS: tuple[Condition, ...] = get_args(Condition)


@dataclass(frozen=True, slots=True)
class Dependency:
    """One thing that a service needs: another service, in a condition."""

    service: str
    condition: Condition = "service_started"
    required: bool = True
    restart: bool = False
    """Restart the dependent after the dependency was restarted or recreated."""


class CycleError(ComposerError):
    """Services that need each other."""

    status = 400

    def __init__(self, path: Sequence[str]) -> None:
        super().__init__(
            f"dependency cycle detected: {' -> '.join(path)}",
            hint="remove one of these dependencies (depends_on, links, volumes_from, network_mode, ipc, pid)",
        )
        self.path = tuple(path)


Dependencies = Mapping[str, tuple[Dependency, ...]]
"""Service -> what it needs directly. Services that are named but not keys do not exist (optional ones)."""


def service_graph(dependencies: Dependencies) -> nx.DiGraph[str]:
    """The graph with an edge from each service to each that it needs; edge attribute ``dependency``.

    Dependencies on services that are not there are left out (they were optional, or the loader refused them).
    Raises :class:`CycleError` naming the shortest path of a cycle.
    """
    import networkx as nx

    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(dependencies)
    for service, needs in dependencies.items():
        for need in needs:
            if need.service in dependencies:
                graph.add_edge(service, need.service, dependency=need)
    if not nx.is_directed_acyclic_graph(graph):
        raise CycleError(_shortest_cycle(graph))
    return graph


def _shortest_cycle(graph: nx.DiGraph[str]) -> list[str]:
    import networkx as nx

    cycles = [
        min(sorted(part), key=lambda node: (len(_cycle_through(graph, node)), node))
        for part in nx.strongly_connected_components(graph)
        if len(part) > 1 or any(graph.has_edge(node, node) for node in part)
    ]
    paths = [_cycle_through(graph, node) for node in cycles]
    return min(paths, key=lambda path: (len(path), path))


def _cycle_through(graph: nx.DiGraph[str], node: str) -> list[str]:
    import networkx as nx

    best: list[str] | None = None
    for successor in sorted(graph.successors(node)):
        if nx.has_path(graph, successor, node):
            path = [node, *nx.shortest_path(graph, successor, node)]
            best = path if best is None or len(path) < len(best) else best
    return best or [node]


def layers(dependencies: Dependencies) -> tuple[tuple[str, ...], ...]:
    """Services in the order of starting: each layer needs only what is in earlier ones; sorted within a
    layer."""
    import networkx as nx

    graph = service_graph(dependencies)
    return tuple(tuple(sorted(layer)) for layer in nx.topological_generations(graph.reverse(copy=False)))


def stop_layers(dependencies: Dependencies) -> tuple[tuple[str, ...], ...]:
    """Services in the order of stopping: nothing in a layer is needed by what is in later ones; each stops as
    early as it can."""
    import networkx as nx

    graph = service_graph(dependencies)
    return tuple(tuple(sorted(layer)) for layer in nx.topological_generations(graph))


def start_order(dependencies: Dependencies) -> tuple[str, ...]:
    """All services, dependencies first."""
    return tuple(service for layer in layers(dependencies) for service in layer)


def stop_order(dependencies: Dependencies) -> tuple[str, ...]:
    """All services, dependents first."""
    return tuple(service for layer in stop_layers(dependencies) for service in layer)


def with_dependencies(dependencies: Dependencies, selected: Iterable[str]) -> frozenset[str]:
    """``selected`` and everything that it needs, directly or not, as far as it exists."""
    found: set[str] = set()
    waiting = list(selected)
    while waiting:
        service = waiting.pop()
        if service in found or service not in dependencies:
            continue
        found.add(service)
        waiting.extend(need.service for need in dependencies[service])
    return frozenset(found)


def dependents_of(dependencies: Dependencies, services: Iterable[str]) -> frozenset[str]:
    """Everything that needs one of ``services``, directly or not; without ``services`` themselves unless
    needed."""
    wanted = set(services)
    found: set[str] = set()
    changed = True
    while changed:
        new = {
            service
            for service, needs in dependencies.items()
            if service not in found and any(need.service in wanted or need.service in found for need in needs)
        }
        found |= new
        changed = bool(new)
    return frozenset(found)


def restarted_with(dependencies: Dependencies, services: Iterable[str]) -> frozenset[str]:
    """Services to restart because one that they need with ``restart: true`` is restarted or recreated,
    directly or through another such; without ``services``."""
    cause = set(services)
    found: set[str] = set()
    changed = True
    while changed:
        new = {
            service
            for service, needs in dependencies.items()
            if service not in found
            and service not in cause
            and any(need.restart and (need.service in cause or need.service in found) for need in needs)
        }
        found |= new
        changed = bool(new)
    return frozenset(found)
