"""Stages and what a target needs."""

from __future__ import annotations

import pytest

from runtime.build.frontend.lines import DockerfileError
from runtime.build.frontend.stages import no_such_stage, parse_dockerfile
from runtime.errors import NotFound

_TEXT = """ARG V=1
FROM debian:$V AS Base
RUN a
FROM base AS unused
RUN b
FROM scratch
COPY --from=base /a /
"""


def test_a_target_needs_only_what_it_is_made_from() -> None:
    file = parse_dockerfile(_TEXT, {"V": "2"}, {})
    assert [stage.base for stage in file.stages] == ["debian:2", "base", "scratch"]
    assert [stage.number for stage in file.needed()] == [0, 2]
    assert [stage.number for stage in file.needed("UNUSED")] == [0, 1]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (_TEXT, "the file has 3 stages, by number and name: 0 (base), 1 (unused), 2"),
        ("FROM scratch\n", "the file has one stage, without a name (--target 0)"),
        ("FROM scratch AS app\n", "the file has one stage, called app"),
        ("FROM scratch AS zzy\n", "did you mean zzy?"),
    ],
)
def test_a_target_that_there_is_not(text: str, hint: str) -> None:
    with pytest.raises(NotFound) as caught:
        parse_dockerfile(text, {}, {}).needed("zzz")
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("name", "is_base", "told"),
    [
        ("bild", False, "no stage is called bild (did you mean the stage build?)"),
        ("bild", True, "no stage is called bild (did you mean the stage build?)"),
        ("Build", False, "the stage build comes only after this line"),
        ("other", False, "no stage is called other"),
        ("other", True, ""),
        ("registry.example/other:1", False, ""),
    ],
)
def test_a_name_that_is_neither_a_stage_nor_an_image(name: str, is_base: bool, told: str) -> None:
    assert no_such_stage(name, ["build"], is_base=is_base) == told


@pytest.mark.parametrize("text", ["RUN a", "ARG A=1", "FROM a b", "FROM ${x}", "FROM --plat=x a"])
def test_what_is_no_dockerfile(text: str) -> None:
    with pytest.raises(DockerfileError):
        parse_dockerfile(text, {}, {})
