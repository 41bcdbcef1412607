"""Stages and what a target needs."""

from __future__ import annotations

import pytest

from runtime.build.frontend.lines import DockerfileError
from runtime.build.frontend.stages import parse_dockerfile
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
    with pytest.raises(NotFound):
        file.needed("nope")


@pytest.mark.parametrize("text", ["RUN a", "ARG A=1", "FROM a b", "FROM ${x}", "FROM --plat=x a"])
def test_what_is_no_dockerfile(text: str) -> None:
    with pytest.raises(DockerfileError):
        parse_dockerfile(text, {}, {})
