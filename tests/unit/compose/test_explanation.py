"""Where values come from."""

from __future__ import annotations

import pytest

from composer.compose.errors import ComposeError
from composer.compose.explanation import explain, parse_path
from composer.compose.pipeline import load_traced
from composer.compose.request import LoadRequest
from composer.compose.tree import Tree

FILES = {
    "/p/compose.yaml": (
        "services:\n"
        "  a.b:\n"
        "    extends: {file: base.yaml, service: base}\n"
        '    image: "x:${TAG}"\n'
        "    environment: [URL=http://h]\n"
        '    ports: ["80:80"]\n'
    ),
    "/p/base.yaml": "services:\n  base:\n    image: old\n    user: me\n",
}


class Memory:
    """Files in a mapping."""

    def read(self, path: str) -> bytes | None:
        return FILES[path].encode() if path in FILES else None

    def is_file(self, path: str) -> bool:
        return path in FILES

    def is_dir(self, path: str) -> bool:
        return path == "/p"

    def exists(self, path: str) -> bool:
        return path in FILES or path == "/p"


@pytest.fixture(scope="module")
def tree() -> Tree:
    return load_traced(LoadRequest(cwd="/p", env={"TAG": "1", "HOME": "/"}), Memory())


@pytest.mark.parametrize(
    ("path", "lines"),
    [
        (
            "services.a.b.image",
            [
                "services.a.b.image: x:1",
                "  from /p/compose.yaml:4:12",
                '    4 |     image: "x:${TAG}"',
                "  with ${TAG} = 1",
                "  instead of /p/base.yaml:3:12",
                "    3 |     image: old",
                "  by way of /p/compose.yaml:3:41",
            ],
        ),
        (
            "services.a.b.user",
            [
                "services.a.b.user: me",
                "  from /p/base.yaml:4:11",
                "    4 |     user: me",
                "  by way of /p/compose.yaml:3:41",
            ],
        ),
        (
            "services.a.b.environment.URL",
            [
                "services.a.b.environment.URL: http://h",
                "  from /p/compose.yaml:5:19",
                "    5 |     environment: [URL=http://h]",
            ],
        ),
        (
            "services.a.b.ports[0].target",
            [
                "services.a.b.ports[0].target: 80",
                "  from /p/compose.yaml:6:13",
                '    6 |     ports: ["80:80"]',
            ],
        ),
        (
            "networks.default.name",
            ["networks.default.name: p_default", "  nobody wrote it: Compose fills it in"],
        ),
    ],
)
def test_explanations(tree: Tree, path: str, lines: list[str]) -> None:
    assert explain(tree, path).splitlines() == lines


def test_a_path_that_leads_nowhere(tree: Tree) -> None:
    with pytest.raises(ComposeError) as caught:
        explain(tree, "services.a.b.imgae")
    assert caught.value.hint == "did you mean image?"


def test_paths() -> None:
    assert parse_path("a.b-c[10].d") == ("a", "b-c", 10, "d")
    assert parse_path("") == ()
