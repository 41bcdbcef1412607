"""The drawings of ``network graph``."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

from composer.cli.management.network_graph import draw_mermaid, draw_svg, draw_text, read_graph


def member(name: str, address: str) -> dict[str, Any]:
    return {"Name": name, "IPv4Address": address, "IPv6Address": ""}


NETWORKS: list[dict[str, Any]] = [
    {
        "Name": "shop_front",
        "Driver": "bridge",
        "Options": {},
        "Containers": {"1": member("shop-web-1", "10.1.0.2/24"), "2": member("shop-api-1", "10.1.0.3/24")},
    },
    {
        "Name": "shop_back",
        "Driver": "bridge",
        "Internal": True,
        "Containers": {"2": member("shop-api-1", "10.2.0.2/24"), "3": member("shop-db-1", "10.2.0.3/24")},
    },
    {
        "Name": "apart",
        "Driver": "bridge",
        "Options": {"com.docker.network.bridge.enable_icc": "false"},
        "Internal": True,
        "Containers": {"4": member("<one>", "10.3.0.2/24"), "5": member("two", "10.3.0.3/24")},
    },
]
CONTAINERS: list[dict[str, Any]] = [
    {
        "Names": ["/shop-web-1"],
        "Ports": [
            {"IP": "0.0.0.0", "PublicPort": 8080, "PrivatePort": 80, "Type": "tcp"},
            {"IP": "::", "PublicPort": 8080, "PrivatePort": 80, "Type": "tcp"},
            {"IP": "127.0.0.1", "PublicPort": 9000, "PrivatePort": 9000, "Type": "udp"},
            {"PrivatePort": 443, "Type": "tcp"},
        ],
    },
]
SHARING: list[dict[str, Any]] = [
    {"Id": "a" * 64, "Names": ["/shop-db-1"]},
    {"Names": ["/shop-side-1"], "HostConfig": {"NetworkMode": f"container:{'a' * 64}"}},
    {"Names": ["/agent"], "HostConfig": {"NetworkMode": "host"}},
]
GRAPH = read_graph(NETWORKS, CONTAINERS)


def test_who_reaches_whom() -> None:
    assert GRAPH.reached_from("shop-api-1") == {
        "shop-db-1": ["shop_back"],
        "shop-web-1": ["shop_front"],
        "outside": ["shop_front"],
    }
    assert GRAPH.reached_from("shop-db-1") == {"shop-api-1": ["shop_back"]}
    assert GRAPH.reached_from("two") == {}
    assert GRAPH.published == {"shop-web-1": ("8080->80/tcp", "127.0.0.1:9000->9000/udp")}


def test_text() -> None:
    drawn = draw_text(GRAPH)
    assert "shop_back (bridge, internal)\n  shop-api-1  10.2.0.2\n  shop-db-1   10.2.0.3\n" in drawn
    assert "\nshop-web-1\n  <- outside 8080->80/tcp\n" in drawn
    assert "  <- this host 127.0.0.1:9000->9000/udp\n" in drawn
    assert "\ntwo\n  -> nobody\n" in drawn


def test_mermaid() -> None:
    lines = draw_mermaid(GRAPH).splitlines()
    assert lines[0] == "flowchart LR"
    assert '  c0(["&lt;one&gt;"])' in lines
    assert '  n2["shop_front<br/>bridge"]' in lines
    assert "  n2 --> outside" in lines and "  n1 --> outside" not in lines
    assert '  outside -- "8080-&gt;80/tcp" --> c3' in lines


def test_svg_is_well_formed() -> None:
    root = ElementTree.fromstring(draw_svg(GRAPH))
    spaces = {"s": "http://www.w3.org/2000/svg"}
    # Six endpoints, and the one network that leads outside.
    assert len(root.findall("s:line", spaces)) == 7
    assert "<one>" in [text.text for text in root.iterfind(".//s:text", spaces)]


def test_nothing() -> None:
    empty = read_graph([], [])
    assert draw_text(empty) == ""
    assert draw_mermaid(empty) == "flowchart LR\n"
    ElementTree.fromstring(draw_svg(empty))


def test_who_shares_a_network() -> None:
    graph = read_graph(NETWORKS, [*CONTAINERS, *SHARING])
    assert (graph.shared, graph.on_host) == ({"shop-db-1": ("shop-side-1",)}, ("agent",))
    text = draw_text(graph)
    assert "\nshop-db-1\n  shared by shop-side-1\n  -> shop-api-1 (shop_back)\n" in text
    assert text.endswith("\nagent (on this host's own network)\n")
    lines = draw_mermaid(graph).splitlines()
    assert '  c2(["shop-db-1<br/>shop-side-1"])' in lines
    assert '  h0(["agent"]) --- host' in lines and "  host((this host))" in lines
    root = ElementTree.fromstring(draw_svg(graph))
    shown = ["".join(one.itertext()) for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "with shop-side-1" in shown and "on this host's own network" in shown
    height = int(root.attrib["height"])
    assert all(int(one.attrib["y"]) < height for one in root.iter("{http://www.w3.org/2000/svg}text"))
