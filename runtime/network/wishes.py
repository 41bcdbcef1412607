"""What a container asks of its place in a network, as far as that is wrong whatever the network is. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence

from runtime.errors import InvalidArgument, concerning
from runtime.network.ipam import parse_hardware_address
from runtime.network.model import check_interface_name, endpoint_options


def check_wishes(
    network: str,
    *,
    ipv4: str = "",
    ipv6: str = "",
    mac: str = "",
    link_local: Sequence[str] = (),
    interface_name: str = "",
    options: Mapping[str, str] | None = None,
) -> None:
    """Raises InvalidArgument about the value, in the words of Compose."""
    for version, address in ((4, ipv4), (6, ipv6)):
        if address:
            with concerning(f"ipv{version}_address"):
                _check_address(network, address.partition("/")[0], version)
    for number, address in enumerate(link_local):
        with concerning(f"link_local_ips[{number}]"):
            _check_address(network, address.partition("/")[0], 0)
    if mac:
        with concerning("mac_address"):
            parse_hardware_address(mac)
    if interface_name:
        with concerning("interface_name"):
            check_interface_name(interface_name, network)
    with concerning("driver_opts"):
        endpoint_options(options or {}, network)


def _check_address(network: str, text: str, version: int) -> None:
    """``version`` 0: of either kind."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        raise InvalidArgument(f"network {network}: {text!r} is no valid address") from None
    if version and found.version != version:
        raise InvalidArgument(f"network {network}: {text} is no IPv{version} address")
