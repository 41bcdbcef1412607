"""Dockerfile text to logical lines."""

from __future__ import annotations

import pytest

from runtime.build.frontend.lines import (
    DockerfileError,
    Heredoc,
    directives,
    heredoc_command,
    parse_lines,
)


def test_continuations_pass_over_comments_and_empty_lines() -> None:
    (line,) = parse_lines("RUN one \\\n  # comment\n\n  && two\n")
    assert (line.name, line.rest, line.number) == ("RUN", "one   && two", 1)


def test_the_escape_directive_changes_what_continues() -> None:
    lines = parse_lines("# escape=`\nRUN one `\n two\nCMD c:\\\n")
    assert [line.rest for line in lines] == ["one  two", "c:\\"]
    assert directives("# syntax=docker/dockerfile:1\n# escape=`\nFROM a") == {
        "syntax": "docker/dockerfile:1",
        "escape": "`",
    }


def test_flags_are_apart_from_the_rest() -> None:
    (line,) = parse_lines("COPY --from=build --link /a /b")
    assert line.flags == (("from", "build"), ("link", "true"))
    assert line.rest == "/a /b"


def test_heredocs() -> None:
    run, copy = parse_lines("RUN <<EOF\necho $a\nEOF\nCOPY <<-'x' /f\n\tone\n\tx\n")
    assert heredoc_command(run) == "echo $a\n"
    assert copy.heredocs == (Heredoc("x", "one\n", False),)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("FROM a\nRUNN x", "Dockerfile:2: unknown instruction: RUNN (did you mean RUN?)\n2 | RUNN x\n    ^"),
        ("RUN <<EOF\nx", "unterminated heredoc EOF"),
        ("RUN", "RUN requires at least one argument"),
        ("# nothing", "file with no instructions"),
        ("# escape=x\nRUN a", "invalid ESCAPE"),
    ],
)
def test_mistakes_are_told_with_their_place(text: str, told: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse_lines(text)
    assert told in caught.value.message
