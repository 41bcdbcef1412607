"""Dockerfile text to logical lines."""

from __future__ import annotations

import pytest

from runtime.build.frontend.directives import Checking, Directives, read_checking, read_directives
from runtime.build.frontend.lines import DockerfileError, Heredoc, heredoc_command, is_script, parse_lines


def test_continuations_pass_over_comments_and_empty_lines() -> None:
    (line,) = parse_lines("RUN one \\\n  # comment\n\n  && two\n")
    assert (line.name, line.rest, line.number) == ("RUN", "one   && two", 1)


def test_the_escape_directive_changes_what_continues() -> None:
    lines = parse_lines("RUN one `\n two\nCMD c:\\\n", escape="`")
    assert [line.rest for line in lines] == ["one  two", "c:\\"]


def test_directives() -> None:
    found = read_directives("# syntax=docker/dockerfile:1\n# escape=`\n#check=skip=all\nFROM a")
    assert found == Directives("`", "docker/dockerfile:1", "skip=all", 3)
    assert read_directives("# a comment\n# escape=`\nFROM a") == Directives()
    assert read_checking("skip=A,b;error=true") == Checking(frozenset({"a", "b"}), is_error=True)
    for wrong in ("skip", "skipp=a", "error=perhaps"):
        with pytest.raises(ValueError):
            read_checking(wrong)
    for wrong in ("# escape=x\n", "# syntax=a\n# syntax=b\n"):
        with pytest.raises(DockerfileError):
            read_directives(wrong)


def test_flags_are_apart_from_the_rest() -> None:
    (line,) = parse_lines("COPY --from=build --link /a /b")
    assert line.flags == (("from", "build"), ("link", "true"))
    assert line.rest == "/a /b"


def test_heredocs() -> None:
    run, copy = parse_lines("RUN <<EOF\necho $a\nEOF\nCOPY <<-'x' /f\n\tone\n\tx\n")
    assert heredoc_command(run) == "echo $a\n"
    assert copy.heredocs == (Heredoc("x", "one\n", False, "\tone\n"),)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("RUN cat <<a 3<<'b' >x\n1\na\n2\nb\n", ["a", "b"]),
        ('RUN echo "x<<y" $((1<<N))\n', []),
        ("RUN echo it's <<EOF\n", []),
        ("RUN cat <<EOF>f\nx\nEOF>f\n", ["EOF>f"]),
        ("ONBUILD COPY <<x /y\nz\nx\n", ["x"]),
        ("ENV a=<<EOF\n", []),
    ],
)
def test_where_heredocs_begin(text: str, names: list[str]) -> None:
    (line,) = parse_lines(text)
    assert [doc.name for doc in line.heredocs] == names


def test_heredocs_with_more_around_them_are_for_the_shell() -> None:
    (line,) = parse_lines("RUN python3 <<-EOF && x\n\tone\n\tEOF\n")
    assert not is_script(line)
    assert heredoc_command(line) == "python3 <<-EOF && x\n\tone\nEOF\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "FROM a\nRUNN x",
            "Dockerfile:2:1: unknown instruction: RUNN (did you mean RUN?)\n2 | RUNN x\n    ^",
        ),
        ("RUN a\nFOO x\nRUN <<E\nBAR\n", "unknown instruction: FOO"),
        ("RUN a\nFOO x\nRUN <<E\nBAR\n", "Dockerfile:3:5: unterminated heredoc E\n3 | RUN <<E\n        ^"),
        ("RUN <<EOF\nx", "unterminated heredoc EOF"),
        ("# nothing", "file with no instructions"),
    ],
)
def test_mistakes_are_told_with_their_place(text: str, told: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse_lines(text)
    assert told in caught.value.message


@pytest.mark.parametrize("rest", ["hello\n", "hello\nFROM b\nFOO\n", ""])
def test_what_follows_a_heredoc_without_end_is_its_text(rest: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse_lines(f"FROM a\nCOPY <<X <<EOF /\n1\nX\n{rest}")
    assert caught.value.message == (
        "Dockerfile:2:10: unterminated heredoc EOF\n2 | COPY <<X <<EOF /\n             ^"
    )


def test_what_comes_from_names_of_files_moves_no_cursor() -> None:
    (line,) = parse_lines("COPY x /y")
    message = line.error("not found (did you mean \x1b[31mred\udcff?)", "x").message
    assert (
        message == "Dockerfile:1:6: not found (did you mean \\x1b[31mred\\udcff?)\n1 | COPY x /y\n         ^"
    )
