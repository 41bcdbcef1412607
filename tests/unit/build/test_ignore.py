"""What .dockerignore leaves out."""

from __future__ import annotations

import pytest

from runtime.build.ignore import parse_ignore
from runtime.errors import InvalidArgument


@pytest.mark.parametrize(
    ("rules", "path", "is_ignored"),
    [
        ("", "a", False),
        ("node_modules", "node_modules/x/y", True),
        ("node_modules", "sub/node_modules", False),
        ("**/node_modules", "sub/node_modules/x", True),
        ("*.md\n!README.md", "README.md", False),
        ("*.md\n!README.md", "b.md", True),
        ("/build/", "build/x", True),
        ("*/temp*", "a/temporary", True),
        ("*/temp*", "a/b/temporary", False),
        ("temp?", "tempa", True),
        ("# x\n[ab].txt", "a.txt", True),
        ("*\n!src", "src/main.c", False),
        ("a/**.md", "a/b.md", False),
        ("a/**.md", "a/b/.md", True),
        ("a**", "ab/c", True),
        ("**.md", "a/b.md", True),
        ("**b/c*", "b/c", True),
        ("**b/c*", "ab/c", False),
        ("[!a]", "!", True),
        ("[^\\]]", "]", False),
        ("\\[a", "[a", True),
    ],
)
def test_rules(rules: str, path: str, is_ignored: bool) -> None:
    assert parse_ignore(rules)(path) is is_ignored


@pytest.mark.parametrize("pattern", ["[a", "a\\", "[]a]", "[^]", "[a-]", "[-a]", "[z-a]", "!", "x/[^"])
def test_patterns_that_are_none(pattern: str) -> None:
    with pytest.raises(InvalidArgument, match="f:2: "):
        parse_ignore(f"a\n{pattern}\n", "f")
