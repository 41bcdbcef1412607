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


MERGED = {
    "/p/compose.yaml": (
        "services:\n"
        "  web:\n"
        "    image: x:${TAG}\n"
        "    user: me\n"
        "    env_file: web.env\n"
        "    environment: {LEVEL: info, OWN: 1}\n"
        '    ports: ["80:80"]\n'
        "    command: [a]\n"
    ),
    "/p/compose.override.yaml": (
        "services:\n"
        "  web:\n"
        "    user: !reset null\n"
        "    environment: [LEVEL=debug]\n"
        '    ports: ["81:81"]\n'
        "    command: [b]\n"
    ),
    "/p/web.env": "LEVEL=file\nSECRET=${TAG}\n",
    "/p/.env": "OTHER=1\nTAG=7\n",
}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (
            "services.web.environment.LEVEL",
            "services.web.environment.LEVEL: debug\n"
            "  from /p/compose.override.yaml:4:19\n"
            "    4 |     environment: [LEVEL=debug]\n"
            "  instead of /p/compose.yaml:6:26\n"
            "    6 |     environment: {LEVEL: info, OWN: 1}\n"
            "  instead of /p/web.env:1:1\n"
            "    1 | LEVEL=file\n"
            "  by way of /p/compose.yaml:5:15\n",
        ),
        (
            "services.web.environment.SECRET",
            "services.web.environment.SECRET: 7\n"
            "  from /p/web.env:2:1\n"
            "    2 | SECRET=${TAG}\n"
            "  by way of /p/compose.yaml:5:15\n"
            "  with ${TAG} = 7 (/p/.env:2)\n",
        ),
        (
            "services.web.ports",
            "services.web.ports:\n"
            '  [0] {"mode": "ingress", "target": 80, "published": "80", "protocol": "tcp"}  (/p/compose.yaml:7:13)\n'
            '  [1] {"mode": "ingress", "target": 81, "published": "81", "protocol": "tcp"}  '
            "(/p/compose.override.yaml:5:13)\n"
            "  from /p/compose.override.yaml:5:12\n"
            '    5 |     ports: ["81:81"]\n'
            "  merged with /p/compose.yaml:7:12\n"
            '    7 |     ports: ["80:80"]\n',
        ),
        (
            "services.web.command",
            "services.web.command:\n"
            "  [0] b  (/p/compose.override.yaml:6:15)\n"
            "  from /p/compose.override.yaml:6:14\n"
            "    6 |     command: [b]\n"
            "  instead of /p/compose.yaml:8:14\n"
            "    8 |     command: [a]\n",
        ),
        (
            "services.web.networks",
            "services.web.networks:\n  default: null  (filled in)\n  nobody wrote it: Compose fills it in\n",
        ),
    ],
)
def test_what_was_merged(path: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "FILES", MERGED)
    assert explain(load_traced(LoadRequest(cwd="/p"), Memory()), path) == text


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("services.web.user", "/p/compose.override.yaml takes it away (!reset or !override)"),
        ("web.image", "did you mean services.web.image?"),
        ("services.web.ports.7", "it has [0] to [1]"),
        (".", "for instance services.web.image"),
    ],
)
def test_what_is_not_there(path: str, hint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "FILES", MERGED)
    with pytest.raises(ComposeError) as caught:
        explain(load_traced(LoadRequest(cwd="/p"), Memory()), path)
    assert caught.value.hint == hint


INCLUDING = {
    "/p/compose.yaml": """\
include: [inc/compose.yaml]
services:
  web:
    image: x:1
    environment: [A, B, "C=${SHELL_SET}", D]
    labels: {l1: "${A}", l2: plain, l3: "$$A"}
    ports: ["${A}:80"]
""",
    "/p/.env": "OTHER=1\nA=7\n",
    "/p/inc/compose.yaml": "services: {cache: {image: y:1, environment: {INC: '${INC:-none}'}}}\n",
    "/p/inc/.env": "INC=own\n",
}


class Included(Memory):
    def read(self, path: str) -> bytes | None:
        return INCLUDING[path].encode() if path in INCLUDING else None

    def is_file(self, path: str) -> bool:
        return path in INCLUDING

    def is_dir(self, path: str) -> bool:
        return path in ("/p", "/p/inc")


@pytest.mark.parametrize(
    ("path", "variables"),
    [
        ("web.environment.A", ["with ${A} = 7 (/p/.env:2)"]),
        ("web.environment.B", ["with ${B}, which is not set"]),
        ("web.environment.C", ["with ${SHELL_SET} = s (from the environment)"]),
        ("web.environment.D", ["with ${D} = d (from the environment)"]),
        ("web.labels.l1", ["with ${A} = 7 (/p/.env:2)"]),
        ("web.labels.l2", []),
        ("web.labels.l3", []),
        ("web.ports[0].published", ["with ${A} = 7 (/p/.env:2)"]),
        ("cache.environment.INC", ["with ${INC} = own (/p/inc/.env:1)"]),
    ],
)
def test_the_variables_that_took_part_in_a_value_and_no_others(path: str, variables: list[str]) -> None:
    """Also where others stand on its line, where a name stands without a value, and in included projects."""
    shell = {"SHELL_SET": "s", "D": "d"}
    loaded = load_traced(LoadRequest(cwd="/p", env=shell), Included())
    said = explain(loaded, f"services.{path}", shell).splitlines()
    assert [line.strip() for line in said if line.startswith("  with")] == variables
