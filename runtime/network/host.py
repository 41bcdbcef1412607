"""Facts about the host's own network: its addresses, and whom it asks for names."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from pathlib import Path

from runtime.kernel.netlink import rtnetlink
from runtime.kernel.netlink.transport import NETLINK_ROUTE, NetlinkSocket


def host_addresses() -> frozenset[str]:
    """The host's own addresses, without lengths."""
    with NetlinkSocket(NETLINK_ROUTE) as rtnl:
        decoded = map(rtnetlink.decode_address, rtnl.query(rtnetlink.dump_addresses()))
        return frozenset(address.prefix.partition("/")[0] for address in decoded if address)


def read_resolv_conf() -> str:
    """The host's resolv.conf; where that only names systemd-resolved's stub, the servers behind the stub,
    since these can also be asked while the stub restarts. "" when there is none."""
    text = _read("/etc/resolv.conf")
    if parse_nameservers(text) == ("127.0.0.53",):
        return _read("/run/systemd/resolve/resolv.conf") or text
    return text


def nameservers() -> tuple[str, ...]:
    """The servers that the host asks, in order."""
    return parse_nameservers(read_resolv_conf())


def parse_nameservers(text: str) -> tuple[str, ...]:
    """``nameserver`` lines of a resolv.conf (resolv.conf(5)); what is no address is passed over."""
    servers = []
    for words in _directives(text):
        if words[0] == "nameserver" and len(words) > 1:
            try:
                ipaddress.ip_address(words[1])
            except ValueError:
                continue
            servers.append(words[1])
    return tuple(servers)


def parse_search(text: str) -> tuple[str, ...]:
    """Search domains of a resolv.conf: the last ``search`` or ``domain`` line counts."""
    found: tuple[str, ...] = ()
    for words in _directives(text):
        if words[0] in ("search", "domain"):
            found = tuple(words[1:])
    return found


def parse_options(text: str) -> tuple[str, ...]:
    """``options`` of a resolv.conf."""
    return tuple(word for words in _directives(text) if words[0] == "options" for word in words[1:])


def _directives(text: str) -> Iterable[list[str]]:
    for line in text.splitlines():
        words = line.split()
        if words and not words[0].startswith(("#", ";")):
            yield words


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
