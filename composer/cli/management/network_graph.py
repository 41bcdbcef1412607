"""``network graph``: who reaches whom, as text, mermaid or SVG. Pure: from what the API says to a drawing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

ICC = "com.docker.network.bridge.enable_icc"
OUTSIDE = "outside"
HOST = "this host"


@dataclass(frozen=True, slots=True)
class Network:
    name: str
    driver: str
    is_internal: bool = False
    has_icc: bool = True
    """Its containers reach each other."""
    members: dict[str, str] = field(default_factory=dict)
    """Container -> its addresses on this network, in words."""

    @property
    def description(self) -> str:
        words = [self.driver]
        if self.is_internal:
            words.append("internal")
        if not self.has_icc:
            words.append("containers kept apart")
        return ", ".join(words)


@dataclass(frozen=True, slots=True)
class Graph:
    networks: tuple[Network, ...] = ()
    published: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Container -> its ports that are reached from outside, ``8080->80/tcp``."""
    shared: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Container -> others that are in its network namespace."""
    on_host: tuple[str, ...] = ()
    """Containers in the host's."""

    @property
    def containers(self) -> list[str]:
        return sorted({name for network in self.networks for name in network.members})

    def reached_from(self, container: str) -> dict[str, list[str]]:
        """Containers (and the outside) that ``container`` can connect to -> the networks that lead there."""
        found: dict[str, list[str]] = {}
        for network in self.networks:
            if container not in network.members:
                continue
            for other in sorted(network.members):
                if other != container and network.has_icc:
                    found.setdefault(other, []).append(network.name)
            if not network.is_internal:
                found.setdefault(OUTSIDE, []).append(network.name)
        return found


def read_graph(networks: Iterable[Mapping[str, Any]], containers: Sequence[Mapping[str, Any]]) -> Graph:
    """From inspected networks and listed containers, in Docker's form."""
    found = []
    for network in networks:
        options = network.get("Options") or {}
        members = {
            member["Name"]: ", ".join(
                address.partition("/")[0]
                for address in (member.get("IPv4Address"), member.get("IPv6Address"))
                if address
            )
            for member in (network.get("Containers") or {}).values()
        }
        found.append(
            Network(
                network["Name"],
                network["Driver"],
                bool(network.get("Internal")),
                options.get(ICC, "true").lower() not in ("false", "0", "f"),
                members,
            )
        )
    published = {}
    for container in containers:
        ports = dict.fromkeys(
            _port(port) for port in container.get("Ports") or () if port.get("PublicPort") is not None
        )
        if ports:
            published[_name(container)] = tuple(ports)
    by_id = {container.get("Id", ""): _name(container) for container in containers}
    shared: dict[str, tuple[str, ...]] = {}
    for container in containers:
        owner = by_id.get(_mode(container).removeprefix("container:"))
        if owner is not None:
            shared[owner] = tuple(sorted((*shared.get(owner, ()), _name(container))))
    on_host = tuple(sorted(_name(container) for container in containers if _mode(container) == "host"))
    return Graph(tuple(sorted(found, key=lambda network: network.name)), published, shared, on_host)


def _name(container: Mapping[str, Any]) -> str:
    return str(container["Names"][0].removeprefix("/"))


def _mode(container: Mapping[str, Any]) -> str:
    return str((container.get("HostConfig") or {}).get("NetworkMode") or "default")


def _port(port: Mapping[str, Any]) -> str:
    address = port.get("IP", "")
    host = "" if address in ("", "0.0.0.0", "::") else f"[{address}]:" if ":" in address else f"{address}:"
    return f"{host}{port['PublicPort']}->{port['PrivatePort']}/{port['Type']}"


def _from_where(port: str) -> str:
    """Who reaches a published port: what is on a loopback address is for this host alone."""
    return HOST if port.startswith(("127.", "[::1]")) else OUTSIDE


def draw_text(graph: Graph) -> str:
    lines = []
    for network in graph.networks:
        lines.append(f"{network.name} ({network.description})")
        width = max(map(len, network.members), default=0)
        lines += [f"  {name:<{width}}  {network.members[name]}".rstrip() for name in sorted(network.members)]
    for container in graph.containers:
        lines.append("")
        lines.append(container)
        lines += [f"  shared by {name}" for name in graph.shared.get(container, ())]
        lines += [f"  <- {_from_where(port)} {port}" for port in graph.published.get(container, ())]
        reached = graph.reached_from(container)
        lines += [f"  -> {name} ({', '.join(through)})" for name, through in reached.items()]
        if not reached:
            lines.append("  -> nobody")
    for container in graph.on_host:
        lines += ["", f"{container} (on this host's own network)"]
        lines += [f"  shared by {name}" for name in graph.shared.get(container, ())]
    return "".join(f"{line}\n" for line in lines)


def draw_mermaid(graph: Graph) -> str:
    """A flowchart of https://mermaid.js.org: networks as boxes, containers round, the outside a circle."""
    names = {name: f"c{number}" for number, name in enumerate(graph.containers)}
    lines = ["flowchart LR"]
    for name, key in names.items():
        inside = "<br/>".join(map(_label, (name, *graph.shared.get(name, ()))))
        lines.append(f'  {key}(["{inside}"])')
    for number, name in enumerate(graph.on_host):
        inside = "<br/>".join(map(_label, (name, *graph.shared.get(name, ()))))
        lines.append(f'  h{number}(["{inside}"]) --- host')
    has_host, has_outside = bool(graph.on_host), False
    for number, network in enumerate(graph.networks):
        lines.append(f'  n{number}["{_label(network.name)}<br/>{_label(network.description)}"]')
        edge = "---" if network.has_icc else "-.-"
        for name in sorted(network.members):
            lines.append(f"  {names[name]} {edge} n{number}")
        if not network.is_internal:
            lines.append(f"  n{number} --> {OUTSIDE}")
            has_outside = True
    for name, ports in graph.published.items():
        if name in names:
            for port in ports:
                is_host = _from_where(port) == HOST
                lines.append(f'  {"host" if is_host else OUTSIDE} -- "{_label(port)}" --> {names[name]}')
                has_host, has_outside = has_host or is_host, has_outside or not is_host
    if has_host:
        lines.insert(1, f"  host(({HOST}))")
    if has_outside:
        lines.insert(1, f"  {OUTSIDE}(({OUTSIDE}))")
    return "".join(f"{line}\n" for line in lines)


def _label(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace(">", "&gt;").replace("<", "&lt;")


_ROW, _LEFT, _MIDDLE, _RIGHT, _BOX, _WIDTH = 56, 20, 360, 700, 240, 820


def draw_svg(graph: Graph) -> str:
    """Containers on the left, with their published ports; networks in the middle; the outside on the right. A line for
    each endpoint, dashed where the containers of a network are kept apart."""
    containers = _in_picture(graph)
    rows = max(len(containers), len(graph.networks), 1)
    height = 20 + (rows + len(graph.on_host)) * _ROW
    alone = {name: 28 + (rows + number) * _ROW for number, name in enumerate(graph.on_host)}
    places = dict(zip(containers, _spread(len(containers), rows), strict=True))
    levels = _spread(len(graph.networks), rows)
    lines, boxes = [], []
    for network, y in zip(graph.networks, levels, strict=True):
        colour = "#fdecea" if network.is_internal else "#e8f1fd"
        boxes.append(_box(_MIDDLE, y, _BOX, 4, colour, network.name, network.description))
        dashes = "" if network.has_icc else ' stroke-dasharray="4 4"'
        for name in sorted(network.members):
            rest = f"{dashes}><title>{escape(network.members[name])}</title>"
            lines.append(_line(_LEFT + _BOX, places[name], _MIDDLE, y, rest))
        if not network.is_internal:
            lines.append(_line(_MIDDLE + _BOX, y, _RIGHT, (height - 60) // 2, ">"))
    for name, y in places.items():
        below = [f"with {other}" for other in graph.shared.get(name, ())]
        below += graph.published.get(name, ())
        boxes.append(_box(_LEFT, y, _BOX, 20, "#eaf6ec", name, ", ".join(below)))
    for name in graph.on_host:
        below = ["on this host's own network", *(f"with {other}" for other in graph.shared.get(name, ()))]
        boxes.append(_box(_LEFT, alone[name], _BOX, 20, "#f4f4f4", name, ", ".join(below)))
    if any(not network.is_internal for network in graph.networks):
        boxes.append(_box(_RIGHT, (height - 60) // 2, _WIDTH - _RIGHT - 20, 20, "#f4f4f4", OUTSIDE, ""))
    shapes = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
        f'height="{height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
    ]
    return "\n".join((*shapes, *lines, *boxes, "</svg>")) + "\n"


def _in_picture(graph: Graph) -> list[str]:
    """Containers in the order of their networks, so that few lines cross."""
    found: dict[str, list[int]] = {}
    for position, network in enumerate(graph.networks):
        for name in network.members:
            found.setdefault(name, []).append(position)
    return sorted(found, key=lambda name: (sum(found[name]) / len(found[name]), name))


def _spread(count: int, rows: int) -> list[int]:
    """Where the upper edges of ``count`` boxes are, over the height of ``rows``."""
    return [20 + (2 * n + 1) * rows * _ROW // (2 * count) - _ROW // 2 for n in range(count)]


def _line(x: int, y: int, to_x: int, to_y: int, rest: str) -> str:
    return f'<line x1="{x}" y1="{y + 20}" x2="{to_x}" y2="{to_y + 20}" stroke="#667"{rest}</line>'


def _box(x: int, y: int, width: int, radius: int, colour: str, title: str, below: str) -> str:
    middle = x + width // 2
    title, below, whole = _fitting(title, width // 8), _fitting(below, width // 6), f"{title}: {below}"
    return (
        f"<g><title>{escape(whole.removesuffix(': '))}</title>"
        f'<rect x="{x}" y="{y}" width="{width}" height="40" rx="{radius}" fill="{colour}" stroke="#667"/>'
        f'<text x="{middle}" y="{y + (17 if below else 24)}" text-anchor="middle">{escape(title)}</text>'
        f'<text x="{middle}" y="{y + 33}" text-anchor="middle" font-size="10" fill="#556">{escape(below)}</text></g>'
    )


def _fitting(text: str, length: int) -> str:
    """What has room in a box; the whole is shown by who points at it."""
    return text if len(text) <= length else text[: length - 1] + "…"


DRAWINGS = {"text": draw_text, "mermaid": draw_mermaid, "svg": draw_svg}
