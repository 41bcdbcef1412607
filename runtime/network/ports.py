"""Published ports: chosen and reserved by binding the real socket, so that no one else can have them.

The socket stays open as long as the port is published. Connections do not normally reach it, since the
firewall sends them to the container before; ``proxy`` serves those that do.
"""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from runtime.errors import ComposerError, Conflict, InvalidArgument, concerning
from runtime.network.diag import find_listener, socket_owner
from runtime.network.model import Endpoint, Network
from runtime.network.ruleset import Forward

IPPROTO_SCTP = 132
_ATTEMPTS = 64
_BACKLOG = 512


class Binding(Protocol):
    """What is asked for (``PortBinding`` of the container's configuration)."""

    @property
    def container_port(self) -> int: ...
    @property
    def protocol(self) -> str: ...
    @property
    def host_ip(self) -> str: ...
    @property
    def host_port(self) -> int: ...
    @property
    def host_port_end(self) -> int: ...


class PublishedPort(msgspec.Struct, frozen=True, kw_only=True):
    """What is published: one port on one address. ``host_ip`` is "0.0.0.0" or "::" for all of a family."""

    container_port: int
    protocol: str
    host_ip: str
    host_port: int

    @property
    def key(self) -> str:
        """A name for the reserving socket, also good as a file name part: ``tcp-0.0.0.0-8080``."""
        return f"{self.protocol}-{self.host_ip}-{self.host_port}"

    def __str__(self) -> str:
        host = f"[{self.host_ip}]" if ":" in self.host_ip else self.host_ip
        return f"{host}:{self.host_port}->{self.container_port}/{self.protocol}"


class PortTaken(Conflict):
    """Somebody else has the port; who it is has not been asked yet, since of a range it does not matter."""

    def __init__(self, protocol: str, address: str, port: int) -> None:
        super().__init__(
            f"Bind for {_shown(address, port)} failed: port is already allocated",
            hint="publish another host port, or stop what holds this one",
        )
        self.protocol, self.address, self.port = protocol, address, port

    def with_holder(self, owner: Owner) -> Conflict:
        """The same, saying who holds the port. Takes some milliseconds on a machine of many processes."""
        holder = owner(self.protocol, self.address, self.port, 0)
        holder = holder or _holder(self.protocol, self.address, self.port, owner)
        return (
            Conflict(f"{self.message}: {self.port} is held by {holder}", hint=self.hint) if holder else self
        )


class Reservation(NamedTuple):
    """A published port and the socket that holds it."""

    port: PublishedPort
    socket: socket.socket


Owner = Callable[[str, str, int, int], str]
"""(protocol, host address, port, pid) -> which container of ours has it published or, if a pid is given, has that
process; in words, "" for none."""


def _nobody(protocol: str, host_ip: str, port: int, pid: int) -> str:
    return ""


def reserve_ports(
    bindings: Iterable[Binding],
    *,
    default_host_ip: str = "",
    families: Collection[int] = (4, 6),
    owner: Owner = _nobody,
) -> list[Reservation]:
    """Reserve all of ``bindings``, or none.

    A binding without host address gets IPv4 and IPv6 (where the host has it) under one number.
    ``default_host_ip`` is the network's own default for those; addresses of other families than ``families`` (4 and 6)
    are passed over, since containers are reached without the host's there. Fixed ports come first, so that ephemeral
    ones do not take them. Raises Conflict naming who holds a port, InvalidArgument for an address that is
    not the host's: about ``ports[n]``, the binding's number.
    """
    reservations: list[Reservation] = []
    numbered = list(enumerate(bindings))
    numbered.sort(key=lambda one: (not one[1].host_port, one[1].host_port_end > one[1].host_port))
    try:
        for number, binding in numbered:
            asked = (binding.host_ip or default_host_ip).strip("[]")
            addresses = [asked] if asked else ["0.0.0.0", "::"] if _has_ipv6() else ["0.0.0.0"]
            addresses = [one for one in addresses if (6 if ":" in one else 4) in families]
            if addresses:
                with concerning(f"ports[{number}]"):
                    reservations += _reserve(binding, addresses, owner)
    except BaseException:
        release(reservations)
        raise
    return reservations


def release(reservations: Iterable[Reservation]) -> None:
    for reservation in reservations:
        reservation.socket.close()


def _reserve(binding: Binding, addresses: Sequence[str], owner: Owner) -> list[Reservation]:
    last = max(binding.host_port, binding.host_port_end)
    tries = range(binding.host_port, last + 1) if binding.host_port else [0] * _ATTEMPTS
    for port in tries:
        try:
            return _bind(binding, addresses, port)
        except PortTaken as error:
            taken = error
    failure = taken.with_holder(owner)
    if last == binding.host_port:
        raise failure from None
    raise Conflict(
        f"Bind for {addresses[0]}:{binding.host_port}-{last} failed: no port of the range is free "
        f"({failure.message})"
    )


def _shown(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _bind(binding: Binding, addresses: Sequence[str], port: int) -> list[Reservation]:
    made: list[Reservation] = []
    number = port
    try:
        for address in addresses:
            bound = bind_socket(binding.protocol, address, number)
            number = bound.getsockname()[1]
            published = PublishedPort(
                container_port=binding.container_port,
                protocol=binding.protocol,
                host_ip=address,
                host_port=number,
            )
            made.append(Reservation(published, bound))
    except BaseException:
        release(made)
        raise
    return made


def bind_socket(protocol: str, address: str, port: int) -> socket.socket:
    """The socket that reserves ``address:port`` (0: any free one), listening if it is TCP or SCTP.

    Raises PortTaken or InvalidArgument, the latter also where the kernel has no SCTP: then nothing in a container has.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    number = IPPROTO_SCTP if protocol == "sctp" else 0
    shown = _shown(address, port)
    try:
        made = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, number)
    except OSError as error:
        if protocol == "sctp" and error.errno in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT):
            raise InvalidArgument(
                f"Bind for {shown} failed: this kernel has no SCTP, neither here nor in containers",
                hint="load its module (modprobe sctp); a kernel without one needs CONFIG_IP_SCTP",
            ) from None
        raise ComposerError(f"Bind for {shown} failed: {error.strerror}") from error
    try:
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, port))
        if kind == socket.SOCK_STREAM:
            made.listen(_BACKLOG)
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(protocol, address, port) from None
        if error.errno == errno.EADDRNOTAVAIL:
            raise InvalidArgument(
                f"Bind for {shown} failed: {address} is not an address of this host",
                hint="publish on an address that the host has, or leave the address out",
            ) from None
        raise ComposerError(f"Bind for {shown} failed: {error.strerror or error}") from error
    return made


def _holder(protocol: str, address: str, port: int, owner: Owner) -> str:
    try:
        listener = find_listener(protocol, address, port)
        found = socket_owner(listener.inode) if listener and listener.inode else None
    except OSError:
        return ""
    if found:
        name, pid = found
        container = owner(protocol, address, port, pid) or foreign_container(pid)
        return f"{name}, pid {pid}" + (f", {container}" if container else "")
    return f"a process of uid {listener.uid}" if listener else ""


def foreign_container(pid: int, proc: Path = Path("/proc")) -> str:
    """Which container of another engine the process is in, or forwards to (docker-proxy), in words; "" for none."""
    try:
        words = (proc / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
        cgroups = (proc / str(pid) / "cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    if words[0].endswith("docker-proxy") and "-container-ip" in words:
        address = words[words.index("-container-ip") + 1 :][:1]
        return f"for Docker's container at {address[0]}" if address else ""
    match = _FOREIGN.search(cgroups)
    return f"container {match[2][:12]} of {match[1].capitalize()}" if match else ""


_FOREIGN = re.compile(r"/(docker|podman|libpod|containerd|crio)[-/]([0-9a-f]{64})\b")


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::", 0))
    except OSError:
        return False
    return True


def plan_forwards(ports: Iterable[PublishedPort], endpoint: Endpoint) -> list[Forward]:
    """What the firewall has to send where. IPv6 to a container without is left to the proxy."""
    forwards = []
    for port in ports:
        address = endpoint.address6 if ":" in port.host_ip else endpoint.address4
        if address:
            forwards.append(
                Forward(port.protocol, port.host_ip, port.host_port, address, port.container_port)
            )
    return forwards


def plan_openings(bindings: Iterable[Binding], network: Network, endpoint: Endpoint) -> list[Forward]:
    """What the firewall has to let through to the container's own addresses."""
    openings = []
    for binding in bindings:
        for family, address in ((4, endpoint.address4), (6, endpoint.address6)):
            is_open = network.gateway_mode(family) == "routed" or bool(network.trusted_links)
            if address and is_open:
                openings.append(Forward(binding.protocol, "", 0, address, binding.container_port))
    return openings


def proxy_target(port: PublishedPort, endpoint: Endpoint) -> tuple[str, int]:
    """(address, port) that connections reaching the listener itself go to."""
    preferred = (endpoint.address6, endpoint.address4) if ":" in port.host_ip else (endpoint.address4, "")
    return next((address for address in preferred if address), endpoint.address6), port.container_port


_EXPOSED = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?\Z")


def parse_exposed(text: str) -> list[tuple[int, str]]:
    """(port, protocol) of an ``expose`` entry: ``80``, ``80/udp``, ``3000-3005/tcp``. Raises
    InvalidArgument."""
    match = _EXPOSED.match(text)
    first = int(match[1]) if match else 0
    last = int(match[2] or match[1]) if match else 0
    if match is None or not 0 < first <= last < 65536:
        raise InvalidArgument(
            f"{text!r} is no valid port to expose", hint="write it as 80, 80/udp or 3000-3005"
        )
    return [(port, match[3] or "tcp") for port in range(first, last + 1)]
