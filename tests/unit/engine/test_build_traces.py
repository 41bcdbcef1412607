"""In which order the reasons of a build's steps are told."""

from __future__ import annotations

from composer.engine.builds.traces import by_stage
from runtime.build.frontend.lines import parse_lines
from runtime.build.steps import Run

_PLACE = parse_lines("RUN x")[0]


def _run(stage: str, number: int) -> Run:
    return Run(
        text=f"RUN {stage}{number}", place=_PLACE, below=None, words=("x",), stage=stage, number=number
    )


def test_each_stage_stands_together_before_those_that_read_it() -> None:
    mixed = [_run("b", 1), _run("a", 1), _run("a", 0), _run("b", 2), _run("a", 2), _run("b", 3)]
    assert [step.text for step in by_stage(mixed)] == ["RUN a1", "RUN a2", "RUN b1", "RUN b2", "RUN b3"]
