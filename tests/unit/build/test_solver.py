"""Which steps have to be done, in which order, and what their results depend on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runtime.build.frontend.lines import parse_lines
from runtime.build.solver.graph import Schedule, in_order, step_graph, to_do
from runtime.build.solver.keys import (
    GENERATION,
    chain_key,
    content_key,
    fresh_steps,
    is_independent,
    layer_key,
)
from runtime.build.steps import ContextSource, Copy, ImageSource, LayerStep, Run, Selection, Step

_PLACE = parse_lines("RUN x")[0]


def _image(reference: str = "base") -> ImageSource:
    return ImageSource(text=f"FROM {reference}", place=_PLACE, reference=reference)


def _run(below: Step, command: str, stage: str = "") -> Run:
    return Run(text=f"RUN {command}", place=_PLACE, below=below, words=(command,), stage=stage)


def _copy(below: Step | None, source: Step, *, links: bool = False, owner: str = "") -> Copy:
    selection = Selection(source=source, patterns=("a",))
    return Copy(
        text="COPY a /a",
        place=_PLACE,
        below=below,
        origin=selection,
        destination="/a",
        links=links,
        owner=owner,
    )


def _keys(steps: list[Step], contents: dict[Selection, str] | None = None) -> dict[Step, str]:
    keys: dict[Step, str] = {}
    for step in steps:
        is_layer = isinstance(step, LayerStep)
        keys[step] = chain_key(step, keys, contents or {}) if is_layer else step.text  # type: ignore[arg-type]
    return keys


def test_what_was_made_by_older_rules_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    base = _image()
    steps: list[Step] = [base, run := _run(base, "x"), link := _copy(run, run, links=True)]
    contents = {link.origin: "content"}

    def keys() -> list[str]:
        return [_keys(steps)[run], content_key(run, "below", contents), layer_key(link, contents)]

    before = keys()
    assert keys() == before
    monkeypatch.setattr("runtime.build.solver.keys.GENERATION", GENERATION + 1)
    assert not set(keys()) & set(before)


def test_only_what_a_target_needs_is_in_the_graph() -> None:
    base = _image()
    made, unused = _run(base, "make"), _run(base, "unused")
    last = _copy(_run(base, "install"), made)
    order = list(in_order(step_graph([last])))
    assert unused not in order and len(order) == 4 and order[0] is base and order[-1] is last


def test_what_is_before_known_results_is_not_done() -> None:
    base = _image()
    first = _run(base, "first")
    second = _run(first, "second")
    last = _run(second, "last")
    graph = step_graph([last])
    assert to_do(graph, [last], {second, base}) == {second, last}
    assert to_do(graph, [last], {last}) == {last}
    assert to_do(graph, [last], {base}) == {base, first, second, last}


def test_independent_steps_begin_together() -> None:
    base = _image()
    left, right = _run(base, "left"), _run(base, "right")
    last = _copy(left, right)
    schedule = Schedule(step_graph([last]), frozenset({left, right, last}))
    assert set(schedule.begin()) == {left, right} and schedule.begin() == []
    schedule.finish(right)
    assert schedule.begin() == []
    schedule.finish(left)
    assert schedule.begin() == [last] and not schedule.is_finished
    schedule.finish(last)
    assert schedule.is_finished


def test_a_chain_key_follows_from_all_that_is_before() -> None:
    base, other = _image(), _image("other")
    one, two = _run(_run(base, "a"), "b"), _run(_run(base, "a"), "b")
    assert _keys([base, one.below, one])[one] == _keys([base, two.below, two])[two]  # type: ignore[list-item]
    changed = _run(_run(other, "a"), "b")
    assert _keys([other, changed.below, changed])[changed] != _keys([base, one.below, one])[one]  # type: ignore[list-item]


def test_contents_of_a_context_count_and_nothing_else_of_it() -> None:
    base, context = _image(), ContextSource(text="context", place=_PLACE)
    step = _copy(base, context)
    assert step.origin is not None
    first = _keys([base, context, step], {step.origin: "1"})[step]
    assert first != _keys([base, context, step], {step.origin: "2"})[step]
    other = _copy(base, ContextSource(text="context elsewhere", place=_PLACE))
    assert other.origin is not None
    assert first == _keys([base, other.origin.source, other], {other.origin: "1"})[other]


def test_a_content_key_goes_on_after_a_step_that_came_out_the_same() -> None:
    one, other = _run(_image(), "x"), _run(_run(_image("b"), "y"), "x")
    assert content_key(one, "sha256:1", {}) == content_key(other, "sha256:1", {})
    assert content_key(one, "sha256:1", {}) != content_key(one, "sha256:2", {})


def test_a_linked_copy_does_not_depend_on_what_is_below() -> None:
    context = ContextSource(text="context", place=_PLACE)
    one, other = _copy(_image(), context, links=True), _copy(_image("b"), context, links=True)
    assert one.origin is not None and other.origin is not None
    assert layer_key(one, {one.origin: "1"}) == layer_key(other, {other.origin: "1"})
    assert is_independent(one) and is_independent(replace(one, owner="1:2"))
    assert not is_independent(_copy(_image(), context, links=True, owner="name"))
    assert not is_independent(_copy(_image(), context))


def test_proxies_and_values_of_secrets_are_in_no_key() -> None:
    plain = _run(_image(), "x")
    keys = [
        content_key(step, "", {}) for step in (plain, replace(plain, proxies=("HTTP_PROXY=http://u:p@h",)))
    ]
    assert keys[0] == keys[1]


def test_fresh_steps() -> None:
    base = _image()
    one, other = _run(base, "x", stage="Build"), _run(base, "y")
    assert fresh_steps(False, ("build",))(one) and not fresh_steps(False, ("build",))(other)
    assert fresh_steps(True, ())(other) and not fresh_steps(True, ())(base)
