from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from composer.plan.graph import (
    CycleError,
    Dependency,
    dependents_of,
    layers,
    restarted_with,
    start_order,
    stop_layers,
    stop_order,
    with_dependencies,
)


def needs(**edges: str) -> dict[str, tuple[Dependency, ...]]:
    """``web="db cache!"``: web needs db and cache, cache with ``restart: true``."""
    return {
        service: tuple(Dependency(n.rstrip("!"), restart=n.endswith("!")) for n in names.split())
        for service, names in edges.items()
    }


SHOP = needs(web="api cache", api="db! migrate", migrate="db", db="", cache="", mail="", top="api!")


def test_layers_start_what_is_needed_first() -> None:
    assert layers(SHOP) == (("cache", "db", "mail"), ("migrate",), ("api",), ("top", "web"))


def test_what_nothing_needs_stops_at_once() -> None:
    assert stop_layers(SHOP) == (("mail", "top", "web"), ("api", "cache"), ("migrate",), ("db",))


@pytest.mark.parametrize(
    ("edges", "path"),
    [
        ({"a": "b", "b": "a"}, "a -> b -> a"),
        ({"a": "a"}, "a -> a"),
        ({"a": "b", "b": "c", "c": "b"}, "b -> c -> b"),
        ({"a": "b", "b": "c", "c": "a d", "d": "c"}, "c -> d -> c"),
    ],
)
def test_a_cycle_is_named(edges: dict[str, str], path: str) -> None:
    with pytest.raises(CycleError) as caught:
        start_order(needs(**edges))
    assert caught.value.message == f"dependency cycle detected: {path}"


@pytest.mark.parametrize(
    ("selected", "found"),
    [("web", "api cache db migrate web"), ("db", "db"), ("mail top", "api db mail migrate top"), ("", "")],
)
def test_selection_brings_what_it_needs(selected: str, found: str) -> None:
    assert sorted(with_dependencies(SHOP, selected.split())) == found.split()


def test_dependents() -> None:
    assert dependents_of(SHOP, ["db"]) == {"migrate", "api", "web", "top"}
    assert dependents_of(SHOP, ["mail"]) == set()


def test_restart_goes_through_restart_edges_only() -> None:
    assert restarted_with(SHOP, ["db"]) == {"api", "top"}
    assert restarted_with(SHOP, ["migrate"]) == set()


def test_missing_services_are_left_out() -> None:
    assert start_order(needs(a="gone b", b="")) == ("b", "a")


NAMES = [f"s{n}" for n in range(8)]


@st.composite
def acyclic(draw: st.DrawFn) -> dict[str, tuple[Dependency, ...]]:
    shuffled = draw(st.permutations(NAMES))
    return {
        name: tuple(
            Dependency(n, restart=draw(st.booleans()))
            for n in sorted(draw(st.sets(st.sampled_from(shuffled[:index]))) if index else ())
        )
        for index, name in enumerate(shuffled)
    }


@given(acyclic())
def test_orders_respect_every_dependency(graph: dict[str, tuple[Dependency, ...]]) -> None:
    order = start_order(graph)
    assert sorted(order) == sorted(NAMES)
    for service, dependencies in graph.items():
        assert all(order.index(d.service) < order.index(service) for d in dependencies)
    stopping = stop_order(graph)
    assert sorted(stopping) == sorted(NAMES)
    for service, dependencies in graph.items():
        assert all(stopping.index(d.service) > stopping.index(service) for d in dependencies)


@given(acyclic(), st.sets(st.sampled_from(NAMES)))
def test_selection_is_closed_and_monotone(
    graph: dict[str, tuple[Dependency, ...]], selected: set[str]
) -> None:
    found = with_dependencies(graph, selected)
    assert selected <= found
    assert with_dependencies(graph, found) == found
    assert restarted_with(graph, selected) <= dependents_of(graph, selected)
