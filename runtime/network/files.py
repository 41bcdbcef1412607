"""The files that tell a container about its network: hosts and resolv.conf. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from runtime.errors import InvalidArgument, concerning
from runtime.network.host import parse_nameservers, parse_options, parse_search
from runtime.network.sandbox import RESOLVER_ADDRESS

_LOCAL = "127.0.0.1\tlocalhost\n"
_LOCAL6 = (
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::0\tip6-localnet\n"
    "ff00::0\tip6-mcastprefix\n"
    "ff02::1\tip6-allnodes\n"
    "ff02::2\tip6-allrouters\n"
)


def hosts_file(
    hostname: str,
    *,
    domainname: str = "",
    addresses: Sequence[str] = (),
    extra_hosts: Iterable[str] = (),
    gateways: Sequence[str] = (),
) -> str:
    """``/etc/hosts`` of a container (hosts(5)).

    ``addresses`` are its own (prefixes or bare), ``extra_hosts`` ``name=address`` (or ``name:address``),
    where the address ``host-gateway`` stands for ``gateways``. Raises InvalidArgument for what would not be
    one entry.
    """
    lines = [_LOCAL, _LOCAL6]
    for name, targets in resolve_extra_hosts(extra_hosts, gateways):
        lines += [f"{target}\t{name}\n" for target in targets]
    if hostname:
        names = f"{hostname}.{domainname} {hostname}" if domainname else hostname
        _check_text(names, "hostname")
        if "." in hostname and not domainname:
            names = f"{hostname} {hostname.partition('.')[0]}"
        lines += [f"{address.partition('/')[0]}\t{names}\n" for address in addresses if address]
    return "".join(lines)


def resolve_extra_hosts(
    extra_hosts: Iterable[str], gateways: Sequence[str]
) -> list[tuple[str, Sequence[str]]]:
    """(name, its addresses), entry by entry. Raises InvalidArgument."""
    found = []
    for entry in extra_hosts:
        name, target = parse_extra_host(entry)
        targets = gateways if target == "host-gateway" else [target]
        if not targets:
            raise InvalidArgument(
                f"extra_hosts: {entry!r}: there is no gateway to the host on the container's networks"
            )
        found.append((name, targets))
    return found


def parse_extra_host(entry: str) -> tuple[str, str]:
    """(name, address or ``host-gateway``). Raises InvalidArgument."""
    separator = "=" if "=" in entry else ":"
    name, found, address = entry.partition(separator)
    address = address.strip().removeprefix("[").removesuffix("]")
    name = name.strip()
    if found and name and address == "host-gateway":
        return _check_name(name, entry), address
    try:
        if not found or not name:
            raise ValueError
        # What stands behind % is anything at all to it, line breaks too.
        ipaddress.ip_address(_check_word(address))
    except ValueError:
        raise InvalidArgument(
            f"extra_hosts: {entry!r} is not of the form name=address",
            hint="for instance db.example=192.0.2.7, or host.internal=host-gateway",
        ) from None
    return _check_name(name, entry), address


def _check_word(text: str) -> str:
    if any(character.isspace() or not character.isprintable() for character in text):
        raise ValueError
    return text


def _check_name(name: str, entry: str) -> str:
    _check_text(name, "extra_hosts")
    if any(character in name for character in " \t#"):
        raise InvalidArgument(f"extra_hosts: {entry!r}: a host's name has no blanks and no '#'")
    return name


def _check_text(text: str, what: str) -> str:
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise InvalidArgument(f"{what}: {text!r} has control characters")
    return text


def check_resolver_options(dns: Sequence[str], search: Sequence[str], options: Sequence[str]) -> None:
    """Raises InvalidArgument for what cannot stand in a resolv.conf, about ``dns``, ``dns_search`` or ``dns_opt``."""
    for name, values in (("dns", dns), ("dns_search", search), ("dns_opt", options)):
        for number, value in enumerate(values):
            with concerning(f"{name}[{number}]"):
                _check_text(value, name)
                if not value or any(character.isspace() for character in value):
                    raise InvalidArgument(f"{name}: {value!r} is not one word")
                if name == "dns":
                    _check_server(value)


def _check_server(server: str) -> None:
    try:
        ipaddress.ip_address(server.partition("%")[0])
    except ValueError:
        raise InvalidArgument(f"dns: {server!r} is no valid address") from None


def resolv_conf(
    host_text: str,
    *,
    has_resolver: bool = True,
    dns: Sequence[str] = (),
    search: Sequence[str] = (),
    options: Sequence[str] = (),
) -> str:
    """``/etc/resolv.conf`` of a container (resolv.conf(5)), made from the host's and what was asked for.

    With the embedded resolver that is the only server, and ``dns`` are those that it forwards to; without
    (``network_mode: host`` or ``none``) ``dns`` or else the host's own are named. ``search: ["."]`` means
    none.
    """
    check_resolver_options(dns, search, options)
    servers: Sequence[str] = [RESOLVER_ADDRESS] if has_resolver else dns or parse_nameservers(host_text)
    domains = list(search) or list(parse_search(host_text))
    chosen = list(options) or list(parse_options(host_text))
    if has_resolver and not any(option.startswith("ndots:") for option in chosen):
        chosen.append("ndots:0")
    lines = []
    if domains and domains != ["."]:
        lines.append(f"search {' '.join(domains)}\n")
    lines += [f"nameserver {server}\n" for server in servers]
    if chosen:
        lines.append(f"options {' '.join(chosen)}\n")
    return "".join(lines)
