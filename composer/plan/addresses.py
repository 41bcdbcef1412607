"""An address of a project's own on which its published ports keep their numbers: two checkouts run side by side."""

from __future__ import annotations

import hashlib
import ipaddress

from msgspec.structs import replace

from composer.compose.model import Project, Service
from composer.compose.own_words import EXTENSION, own_words
from runtime.errors import InvalidArgument

LOOPBACK = ipaddress.IPv4Network("127.0.0.0/8")


def address_of(name: str, working_dir: str) -> str:
    """The loopback address 127.x.y.z of the project ``name`` in ``working_dir``: always the same, and hardly ever
    another's. Not in 127.0.0.0/16, where hosts and resolvers have theirs."""
    digest = hashlib.sha256(f"{name}\0{working_dir}".encode()).digest()
    number = int.from_bytes(digest[:8], "big")
    number, last = divmod(number, 254)
    number, third = divmod(number, 256)
    return f"127.{number % 254 + 1}.{third}.{last + 1}"


def asked_address(project: Project) -> str:
    """What ``x-composer: {address: ...}`` at the top of the file says; "" without. Raises InvalidArgument."""
    value = own_words(project.extensions).get("address", "")
    if not isinstance(value, str):
        raise InvalidArgument(f"{EXTENSION}.address: {value!r} is neither auto nor an address of 127.0.0.0/8")
    return value


def with_address(project: Project, address: str) -> Project:
    """``project`` with the ports that name no host address published on ``address``: "auto" or one of
    127.0.0.0/8; "" changes nothing. Raises InvalidArgument."""
    if not address:
        return project
    if address == "auto":
        address = address_of(project.name, project.working_dir)
    else:
        try:
            is_loopback = ipaddress.IPv4Address(address) in LOOPBACK
        except ValueError:
            is_loopback = False
        if not is_loopback:
            raise InvalidArgument(
                f"address {address!r} is neither auto nor an address of 127.0.0.0/8",
                hint="other addresses are named with each port: 192.0.2.1:8080:80",
            )
    return replace(
        project,
        services={name: _publish_on(service, address) for name, service in project.services.items()},
        disabled_services={
            name: _publish_on(service, address) for name, service in project.disabled_services.items()
        },
    )


def _publish_on(service: Service, address: str) -> Service:
    ports = tuple(port if port.host_ip else replace(port, host_ip=address) for port in service.ports)
    return replace(service, ports=ports) if ports != service.ports else service
