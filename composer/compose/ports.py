"""The short form of ports: ``[[address:]host:]container[/protocol]``, with ranges."""

from __future__ import annotations

import re
from typing import Any

_BYTE = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = re.compile(rf"{_BYTE}(?:\.{_BYTE}){{3}}\Z")
PROTOCOLS = ("tcp", "udp", "sctp")


def parse_port(text: str) -> list[dict[str, Any]]:
    """The long forms of one short form, a range expanded, in Docker's order (by port as text).

    Raises ValueError.

    >>> parse_port("127.0.0.1:8080:80/udp")[0]["host_ip"]
    '127.0.0.1'
    """
    *front, last = text.split(":")
    host = front.pop() if front else ""
    address = ":".join(front)
    container, _, protocol = last.partition("/")
    protocol = protocol or "tcp"
    if address.startswith("["):
        address = _unbracketed(address)
    if address and not is_address(address):
        raise ValueError(f"invalid IP address: {address}")
    if not container:
        raise ValueError(f"no port specified: {text}<empty>")
    first, end = parse_range(container, "containerPort")
    if not first:
        raise ValueError(f"no target port: {text}")
    if protocol.lower() not in PROTOCOLS:
        raise ValueError(f"invalid proto: {protocol}")
    host_first = host_end = 0
    if host:
        host_first, host_end = parse_range(host, "hostPort")
        if end - first != host_end - host_first and end != first:
            raise ValueError(f"invalid ranges specified for container and host Ports: {container} and {host}")
    found = []
    for number in sorted(range(first, end + 1), key=str) if end > first else (first,):
        port: dict[str, Any] = {"mode": "ingress"}
        if address:
            port["host_ip"] = address
        port["target"] = number
        if host:
            published = host_first + number - first
            port["published"] = (
                f"{published}-{host_end}" if first == end and host_end > host_first else str(published)
            )
        port["protocol"] = protocol.lower()
        found.append(port)
    return found


def parse_range(text: str, what: str = "port") -> tuple[int, int]:
    """First and last of ``a`` or ``a-b``. Raises ValueError."""
    first, dash, end = text.partition("-")
    try:
        numbers = _number(first), _number(end if dash else first)
    except ValueError:
        raise ValueError(f"invalid {what}: {text}") from None
    if numbers[1] < numbers[0]:
        raise ValueError(f"invalid range specified for port: {text}")
    return numbers


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 20 or int(text) > 65535:
        raise ValueError
    return int(text)


def has_high_port(text: str) -> bool:
    """Whether a short form is wrong by a number that is too high for a port.

    >>> has_high_port("127.0.0.1:99999:80"), has_high_port("80:80:80:80")
    (True, False)
    """
    *front, last = text.split(":")
    numbers = re.findall("[0-9]+", f"{front[-1] if front else ''} {last}")
    return any(int(number[:20]) > 65535 for number in numbers)


def _unbracketed(address: str) -> str:
    if not address.endswith("]"):
        raise ValueError(f"invalid IP address: {address}")
    return address[1:-1]


def is_address(text: str) -> bool:
    """Whether ``text`` is an IPv4 or IPv6 address."""
    if _IPV4.match(text):
        return True
    from ipaddress import IPv6Address

    try:
        IPv6Address(text)
    except ValueError:
        return False
    return "%" not in text
