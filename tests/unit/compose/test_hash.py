"""Hashes of services, compared with those that Docker Compose prints for the same files."""

from __future__ import annotations

import pytest

from composer.cli.project.config_lists import hashes
from composer.compose.errors import ComposeError
from composer.compose.pipeline import load_tree
from composer.compose.request import LoadRequest

FILE = r"""
name: shop
services:
  a: {image: debian:bookworm, environment: {X: "<1&2>"}, labels: {l: "a\u2028é$$"}}
  b: {image: debian:bookworm, build: ., depends_on: [a], scale: 2, pull_policy: always, develop: {watch: []}}
  c: {build: ., deploy: {replicas: 3}}
  p: {image: x, profiles: [more]}
"""


class Memory:
    """One file."""

    def read(self, path: str) -> bytes | None:
        return FILE.encode() if self.is_file(path) else None

    def is_file(self, path: str) -> bool:
        return path == "/p/compose.yaml"

    def is_dir(self, path: str) -> bool:
        return path == "/p"

    exists = is_file


def test_hashes_are_docker_composes() -> None:
    tree = load_tree(LoadRequest(cwd="/p"), Memory())
    assert hashes(tree, ["a", "b", "c"], "*").split()[::2] == ["a", "b", "c"]
    assert hashes(tree, ["a", "b", "c"], "b, a") == (
        "a 4bef685e9f219d92aab2aee84f1bfdb16bdee533ab014ea295672bba05fa725f\n"
        "b f340c4c6adb5610c126707b95a2538a6ddf245a9340364d37c05c409d094c830\n"
    )


@pytest.mark.parametrize(
    ("name", "message"), [("d", "no such service: d"), ("p", "no such service: p: disabled")]
)
def test_of_no_service(name: str, message: str) -> None:
    tree = load_tree(LoadRequest(cwd="/p"), Memory())
    with pytest.raises(ComposeError) as caught:
        hashes(tree, ["a", "b", "c"], f"a,{name}")
    assert caught.value.message == message
