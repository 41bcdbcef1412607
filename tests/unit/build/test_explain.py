"""Sentences that say why a step was done."""

from __future__ import annotations

import pytest

from runtime.build.solver.explain import BELOW, FILES, Outcome, Trace, explain

_NOW = Trace(
    "RUN make",
    {"the command": "1", "the variable X": "1", f"{FILES}. in context": "1", BELOW: "1"},
    {"a": "1"},
)


def _but(text: str = _NOW.text, files: dict[str, str] | None = None, **parts: str) -> Trace:
    changed = {name.replace("_", " "): value for name, value in parts.items()}
    return Trace(text, {**_NOW.parts, **changed}, _NOW.files if files is None else files)


@pytest.mark.parametrize(
    ("before", "outcome", "sentence"),
    [
        (_NOW, "cached", "nothing that it depends on has changed"),
        (None, "cached", "an equal step was done before"),
        (_but(the_command="0"), "cached", "what it reads was there before"),
        (None, "imported", "a cache elsewhere has it"),
        (None, "built", "it was never done here before"),
        (_NOW, "built", "nothing has changed, but its result is no longer in the cache"),
        (_but(the_variable_X="0"), "built", "the variable X has changed"),
        (_but(the_variable_Y="0"), "built", "the variable Y is gone"),
        (_but("RUN make x", the_command="0"), "built", "the instruction was 'RUN make x'"),
        (_but(what_is_below="0"), "built", "what it is put on has changed"),
        (
            _but(files={"a": "0", "b": "1"}, **{f"{FILES}. in context".replace(" ", "_"): "0"}),
            "built",
            "a has changed, b is gone",
        ),
    ],
)
def test_sentences(before: Trace | None, outcome: Outcome, sentence: str) -> None:
    assert explain(before, _NOW, outcome) == sentence


def test_what_was_asked_for() -> None:
    assert "--no-cache" in explain(_NOW, _NOW, "built", is_fresh=True)


def test_many_files_are_counted() -> None:
    before = _but(files={}, **{f"{FILES}._in_context": "0"})
    now = Trace(_NOW.text, _NOW.parts, {f"f{number}": "1" for number in range(9)})
    assert explain(before, now, "built") == f"{FILES}. in context have changed"
    before = _but(files={"f0": "0"}, **{f"{FILES}._in_context": "0"})
    assert explain(before, now, "built").endswith("and 4 more")
