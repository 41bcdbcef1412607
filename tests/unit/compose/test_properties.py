"""What holds for every project: merging is associative, printing and reading again changes nothing."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from composer.compose.choice import chosen_services
from composer.compose.merging import merge
from composer.compose.pipeline import load_tree
from composer.compose.rendering import document, render
from composer.compose.request import LoadRequest
from composer.compose.yaml_writer import to_yaml

WORD = st.text(alphabet="abcxyz", min_size=1, max_size=3)
TEXT = st.text(alphabet="ab1 .:/$#-'\"é", max_size=8)
NUMBER = st.integers(0, 70000)
VARIABLES = st.dictionaries(WORD, st.one_of(TEXT, NUMBER, st.none()), max_size=3)
PORT = st.fixed_dictionaries(
    {"target": st.integers(1, 65535)},
    optional={"published": st.integers(1, 65535).map(str), "protocol": st.sampled_from(["tcp", "udp"])},
)
DURATION = st.tuples(st.integers(0, 500), st.sampled_from(["ms", "s", "m", "h"])).map(
    lambda d: f"{d[0]}{d[1]}"
)
SIZE = st.tuples(st.integers(1, 500), st.sampled_from(["", "b", "k", "m", "g", "mb"])).map(
    lambda s: f"{s[0]}{s[1]}"
)
SERVICE = st.fixed_dictionaries(
    {"image": st.sampled_from(["a", "b:1", "registry.example:5000/c/d@sha256:" + "0" * 64])},
    optional={
        "command": st.one_of(st.none(), st.lists(TEXT, max_size=3)),
        "entrypoint": st.lists(TEXT, max_size=2),
        "environment": VARIABLES,
        "labels": st.dictionaries(WORD, TEXT, max_size=3),
        "ports": st.lists(PORT, max_size=3),
        "expose": st.lists(st.integers(1, 65535).map(str), max_size=2),
        "cap_add": st.lists(st.sampled_from(["NET_ADMIN", "SYS_TIME"]), max_size=2),
        "dns": st.lists(st.sampled_from(["1.1.1.1", "::1"]), max_size=2),
        "tmpfs": st.lists(st.sampled_from(["/a", "/b:size=1m"]), max_size=2),
        "volumes": st.lists(
            st.fixed_dictionaries(
                {
                    "type": st.just("bind"),
                    "source": st.sampled_from(["/s", "./x"]),
                    "target": st.sampled_from(["/t", "/u"]),
                },
                optional={"read_only": st.booleans()},
            ),
            max_size=2,
        ),
        "healthcheck": st.fixed_dictionaries(
            {"test": st.lists(TEXT, min_size=1, max_size=2).map(lambda words: ["CMD", *words])},
            optional={"interval": DURATION, "timeout": DURATION, "retries": st.integers(0, 9)},
        ),
        "mem_limit": SIZE,
        "stop_grace_period": DURATION,
        "sysctls": st.dictionaries(st.sampled_from(["net.core.somaxconn"]), st.integers(1, 9), max_size=1),
        "extra_hosts": st.dictionaries(WORD, st.just("10.0.0.1"), max_size=2),
        "read_only": st.booleans(),
        "privileged": st.booleans(),
        "hostname": WORD,
        "user": st.sampled_from(["1000", "root:root"]),
        "restart": st.sampled_from(["no", "always", "on-failure:3", "unless-stopped"]),
        "x-own": st.recursive(
            TEXT, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORD, inner, max_size=2)
        ),
    },
)
PROJECT = st.fixed_dictionaries({"services": st.dictionaries(WORD, SERVICE, min_size=1, max_size=3)})

MAPPINGS = st.fixed_dictionaries(
    {},
    optional={
        "image": WORD,
        "environment": st.dictionaries(WORD, TEXT, max_size=3),
        "labels": st.dictionaries(WORD, TEXT, max_size=3),
        "cap_add": st.lists(WORD, max_size=3),
        "command": st.lists(WORD, max_size=2),
        "deploy": st.fixed_dictionaries(
            {}, optional={"replicas": NUMBER, "labels": st.dictionaries(WORD, TEXT)}
        ),
        "healthcheck": st.fixed_dictionaries(
            {}, optional={"interval": DURATION, "test": st.lists(WORD, max_size=2)}
        ),
    },
)
FILE = st.fixed_dictionaries({"services": st.dictionaries(st.sampled_from(["a", "b"]), MAPPINGS, max_size=2)})


class OneFile:
    """A directory with a ``compose.yaml``."""

    def __init__(self, text: str) -> None:
        self.text = text

    def read(self, path: str) -> bytes | None:
        return self.text.encode() if self.is_file(path) else None

    def is_file(self, path: str) -> bool:
        return path == "/p/compose.yaml"

    def is_dir(self, path: str) -> bool:
        return path == "/p"

    def exists(self, path: str) -> bool:
        return self.is_file(path) or self.is_dir(path)


def printed(text: str, env: Mapping[str, str], *, is_json: bool = False) -> str:
    """What ``config`` prints of a file with ``text``."""
    tree = load_tree(LoadRequest(cwd="/p", env=env), OneFile(text))
    names = chosen_services(tree.tree, (), tree.profiles, tree.unready)
    return render(document(tree.tree, names, is_json=is_json), is_json=is_json)


@given(PROJECT)
@settings(max_examples=150, deadline=None)
def test_config_of_config_is_the_same(project: dict[str, Any]) -> None:
    once = printed(to_yaml(project).replace("$", "$$"), {})
    assert printed(once, {}) == once


@given(PROJECT)
@settings(max_examples=50, deadline=None)
def test_json_is_yaml_too(project: dict[str, Any]) -> None:
    text = to_yaml(project).replace("$", "$$")
    assert printed(printed(text, {}, is_json=True), {}, is_json=True) == printed(text, {}, is_json=True)


@given(FILE, FILE, FILE)
@settings(max_examples=150, deadline=None)
def test_merging_is_associative(one: dict[str, Any], two: dict[str, Any], three: dict[str, Any]) -> None:
    """Mappings merge key by key, sequences are appended, the rest is replaced: however files are grouped."""

    def both(base: Any, override: Any) -> Any:
        return merge(copy.deepcopy(base), copy.deepcopy(override))

    assert both(both(one, two), three) == both(one, both(two, three))


@given(FILE)
@settings(max_examples=50, deadline=None)
def test_an_empty_override_changes_nothing(file: dict[str, Any]) -> None:
    assert merge(copy.deepcopy(file), {}) == file
