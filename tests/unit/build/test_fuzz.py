"""Whatever a Dockerfile says, it is understood or refused with its place; nothing else happens."""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.build.frontend.expand import expand
from runtime.build.frontend.lines import INSTRUCTIONS, DockerfileError
from runtime.build.frontend.stages import parse_dockerfile
from runtime.build.ignore import parse_ignore
from runtime.build.modes import parse_modes
from runtime.errors import InvalidArgument

_PIECES = st.sampled_from(
    [
        *INSTRUCTIONS,
        "\n",
        "\\\n",
        "\r\n",
        " ",
        "<<E",
        "<<-'E'",
        "E\n",
        "--from=",
        "[",
        '"',
        "'",
        "${A:-",
        "}",
        "$",
    ]
)
_TEXTS = st.lists(_PIECES | st.text(max_size=5), max_size=30).map("".join)


@settings(max_examples=200, deadline=None)
@given(_TEXTS)
def test_dockerfiles(text: str) -> None:
    with contextlib.suppress(DockerfileError):
        parse_dockerfile("FROM scratch\n" + text, {}, {})


@settings(max_examples=200, deadline=None)
@given(_TEXTS)
def test_words_modes_and_ignore_files(text: str) -> None:
    with contextlib.suppress(ValueError):
        expand(text, {"A": "x"})
    with contextlib.suppress(ValueError):
        parse_modes(text)
    with contextlib.suppress(InvalidArgument):
        parse_ignore(text)("some/path")
