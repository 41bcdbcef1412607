"""Short forms to long forms."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from composer.compose.canonical import canonical
from composer.compose.ports import parse_port
from composer.compose.problem import Problem
from composer.compose.trace import Map, Origin, Seq, Text, origin_of
from composer.compose.volumes import clean_path, parse_volume


def service(**attributes: Any) -> dict[str, Any]:
    """The canonical form of one service's attributes."""
    tree = canonical({"services": {"a": attributes}})
    made: dict[str, Any] = tree["services"]["a"]
    return made


@pytest.mark.parametrize(
    ("attribute", "short", "long"),
    [
        ("build", ".", {"context": "."}),
        ("build", {"ssh": ["default", "k=v"]}, {"ssh": {"default": None, "k": "v"}}),
        ("build", {"additional_contexts": ["a=b"]}, {"additional_contexts": {"a": "b"}}),
        ("configs", ["c"], [{"source": "c"}]),
        ("depends_on", ["b"], {"b": {"condition": "service_started", "required": True}}),
        (
            "depends_on",
            {"b": {"condition": "service_healthy"}},
            {"b": {"condition": "service_healthy", "required": True}},
        ),
        ("devices", ["/a"], [{"source": "/a", "target": "/a", "permissions": "rwm"}]),
        ("devices", ["/a:/b:r"], [{"source": "/a", "target": "/b", "permissions": "r"}]),
        ("dns", "1.1.1.1", ["1.1.1.1"]),
        ("dns", "", []),
        ("env_file", "e", [{"path": "e", "required": True}]),
        ("env_file", [{"path": "e"}], [{"path": "e", "required": True}]),
        ("extends", "b", {"service": "b"}),
        ("gpus", "all", [{"count": "all"}]),
        ("label_file", "l", ["l"]),
        ("models", ["m"], {"m": None}),
        ("networks", ["n"], {"n": None}),
        ("volumes", ["/xy"], [{"type": "volume", "target": "/xy", "volume": {}}]),
    ],
)
def test_forms(attribute: str, short: Any, long: Any) -> None:
    assert service(**{attribute: short}) == {attribute: long}
    assert service(**{attribute: copy.deepcopy(long)}) == {attribute: long}, "a long form stays"


def test_parts_of_a_file() -> None:
    assert canonical({}) == {}
    assert canonical({"services": None, "networks": []}) == {"services": None, "networks": []}
    assert canonical({"services": {"a": None}}) == {"services": {"a": None}}
    assert canonical({"services": {"a": {"ports": {"b": 1}, "volumes": "x"}}})


def test_external_in_its_older_form() -> None:
    tree = canonical({"networks": {"n": {"external": {"name": "real"}}}})
    assert tree["networks"]["n"] == {"external": True, "name": "real"}
    with pytest.raises(Problem, match="different"):
        canonical({"volumes": {"v": {"external": {"name": "a"}, "name": "b"}}})


@pytest.mark.parametrize(
    ("attribute", "value", "at"),
    [
        ("ports", ["80", "x"], ("services", "a", "ports", 1)),
        ("volumes", [""], ("services", "a", "volumes", 0)),
        ("devices", ["a:b:c:d"], ("services", "a", "devices", 0)),
        ("build", {"ssh": ["x"]}, ("services", "a", "build", "ssh", 0)),
        ("build", {"additional_contexts": ["x"]}, ("services", "a", "build", "additional_contexts", 0)),
    ],
)
def test_what_is_wrong_is_told_where(attribute: str, value: Any, at: tuple[Any, ...]) -> None:
    with pytest.raises(Problem) as caught:
        service(**{attribute: copy.deepcopy(value)})
    assert caught.value.path == at


def test_what_has_a_variable_in_it_may_be_right() -> None:
    service: dict[str, Any] = {
        "ports": ["${P}"],
        "volumes": ["${V}::"],
        "devices": ["${A}:${B}:${C}:${D}"],
        "build": {"ssh": ["$KEY"], "additional_contexts": ["$CONTEXT"], "sbom": True},
    }
    wanted = copy.deepcopy(service)
    wanted["build"] = {"ssh": {"$KEY": None}, "additional_contexts": ["$CONTEXT"], "sbom": "true"}
    assert canonical({"services": {"a": service}}, lenient=True) == {"services": {"a": wanted}}


def test_places_are_kept() -> None:
    port = Text("80-81")
    port.at = Origin("f", 3, 9)
    ports = Seq([port])
    ports.at = Origin("f", 3, 7)
    made = canonical({"services": {"a": {"ports": ports}}})
    second = made["services"]["a"]["ports"][1]
    assert isinstance(second, Map)
    assert origin_of(made, ("services", "a", "ports", 1)) == Origin("f", 3, 9)


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("80", [("", 80, None, "tcp")]),
        ("8080:80", [("", 80, "8080", "tcp")]),
        (":80", [("", 80, None, "tcp")]),
        ("127.0.0.1:8080:80/udp", [("127.0.0.1", 80, "8080", "udp")]),
        ("127.0.0.1::80", [("127.0.0.1", 80, None, "tcp")]),
        ("[::1]:1:2", [("::1", 2, "1", "tcp")]),
        ("::1:1:2", [("::1", 2, "1", "tcp")]),
        ("1-3:80", [("", 80, "1-3", "tcp")]),
        ("9-10:9-10", [("", 10, "10", "tcp"), ("", 9, "9", "tcp")]),
        ("80/SCTP", [("", 80, None, "sctp")]),
    ],
)
def test_ports(text: str, ports: list[tuple[str, int, str | None, str]]) -> None:
    made = [(p.get("host_ip", ""), p["target"], p.get("published"), p["protocol"]) for p in parse_port(text)]
    assert made == ports


@pytest.mark.parametrize(
    "text",
    ["", ":", "x", "80/", "70000", "1-2:3-5", "3-1", "host:1:2", "256.1.1.1:1:2", "-1", "80/ip", "0", "٣"],
)
def test_what_is_no_port(text: str) -> None:
    if text == "80/":
        assert parse_port(text)[0]["protocol"] == "tcp"
        return
    with pytest.raises(ValueError, match=r"[Pp]ort|proto|range|IP"):
        parse_port(text)


@pytest.mark.parametrize(
    ("text", "volume"),
    [
        ("/xy", {"type": "volume", "target": "/xy", "volume": {}}),
        ("/x", {"type": "volume", "target": "/x"}),
        ("data:/x", {"type": "volume", "source": "data", "target": "/x", "volume": {}}),
        ("data:/x:ro", {"type": "volume", "source": "data", "target": "/x", "read_only": True, "volume": {}}),
        ("data:/x:nocopy", {"type": "volume", "source": "data", "target": "/x", "volume": {"nocopy": True}}),
        ("./a:/x", {"type": "bind", "source": "./a", "target": "/x", "bind": {"create_host_path": True}}),
        (
            "/a:/x:rw,z,rshared",
            {
                "type": "bind",
                "source": "/a",
                "target": "/x",
                "bind": {"selinux": "z", "propagation": "rshared", "create_host_path": True},
            },
        ),
        ("C:\\a:/x", {"type": "bind", "source": "C:\\a", "target": "/x", "bind": {"create_host_path": True}}),
        ("v:/x", {"type": "volume", "target": "v:/x", "volume": {}}),
    ],
)
def test_volumes(text: str, volume: dict[str, Any]) -> None:
    assert parse_volume(text) == volume


@pytest.mark.parametrize("text", ["", "aa:bb:cc:dd", "data:/x:ro:y", ":/x"])
def test_what_is_no_volume(text: str) -> None:
    with pytest.raises(ValueError, match=r"empty|colons"):
        parse_volume(text)


def test_paths_are_cleaned() -> None:
    assert clean_path("//a/../b/") == "/b"
    assert clean_path("") == "."
