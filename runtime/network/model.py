"""Networks and what a container has in one: the values that the other modules decide and act on."""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Mapping

import msgspec

from runtime.errors import InvalidArgument, concerning
from runtime.network import overlay

BRIDGE_PREFIX = "cmp-"
DRIVERS = ("bridge", "macvlan", "ipvlan", "overlay", "host", "none")
DIRECT_DRIVERS = ("macvlan", "ipvlan")
"""Containers are beside the host on the network of a link of the host's, not behind it."""

SMALLEST_MTU6 = 1280
"""RFC 8200, section 5: with less the kernel takes IPv6 from the link."""

_OPTION = "com.docker.network.bridge."
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*\Z")
_INTERFACE = re.compile(r"[^\s/:]{1,15}\Z")


Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network


@functools.lru_cache(maxsize=4096)
def parse_prefix(text: str) -> Subnet:
    """What is known to be one. Kept: each start of a container asks some ten times for the same few."""
    return ipaddress.ip_network(text, strict=False)


class Pool(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One subnet of a network (Docker's IPAMConfig). All in text; "" where nothing was asked for."""

    subnet: str = ""
    ip_range: str = ""
    gateway: str = ""
    aux_addresses: dict[str, str] = {}


class Network(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A network with its subnets decided."""

    id: str
    """64 hex digits."""
    name: str
    driver: str = "bridge"
    internal: bool = False
    attachable: bool = False
    enable_ipv4: bool = True
    enable_ipv6: bool = False
    pools: tuple[Pool, ...] = ()
    """Subnet and gateway filled in by ``ipam.plan_pools``; at most one of each family where there is a bridge."""
    has_chosen_subnet: bool = False
    """Nobody asked for the IPv4 subnet: another one may take its place while no container is on the network."""
    options: dict[str, str] = {}
    """Driver options as given."""
    ipam_options: dict[str, str] | None = None
    """Kept to be shown, as Docker's own IPAM driver does; None where nobody spoke of any."""
    labels: dict[str, str] = {}
    config_only: bool = False
    """Nothing but settings for other networks; pools are as they were given."""
    config_from: str = ""
    """Name of the network that these settings were taken from."""
    created: int = 0
    """Nanoseconds since the epoch."""

    @property
    def bridge(self) -> str:
        """Name of the bridge link."""
        return self.options.get(f"{_OPTION}name") or BRIDGE_PREFIX + self.id[:10]

    @property
    def has_bridge(self) -> bool:
        """Containers are on a bridge of ours, which for an overlay network goes on in other hosts."""
        return self.driver in ("bridge", "overlay")

    @property
    def is_direct(self) -> bool:
        """Containers are on the host's own network, through ``parent``: nothing is forwarded or published."""
        return self.driver in DIRECT_DRIVERS

    @property
    def parent(self) -> str:
        """The host's link that containers of a direct network share."""
        return self.options.get("parent", "")

    @property
    def link_mode(self) -> str:
        """Of macvlan: bridge, vepa, private or passthru. Of ipvlan: l2, l3 or l3s."""
        return self.options.get(f"{self.driver}_mode") or ("l2" if self.driver == "ipvlan" else "bridge")

    @property
    def link_flag(self) -> str:
        """Of ipvlan: bridge, private or vepa; "" where nothing was asked for."""
        return self.options.get("ipvlan_flag", "")

    @property
    def interface_prefix(self) -> str:
        """What the names of containers' interfaces begin with."""
        return self.options.get("com.docker.network.container_iface_prefix") or "eth"

    def has_bridge_address(self, pool: Pool) -> bool:
        """The bridge has the gateway's address of ``pool``; without, another machine on the bridge is the router, or
        the network is kept from this host as well."""
        family = 6 if ":" in pool.subnet else 4
        if self.gateway_mode(family) == "isolated":
            return False
        return family == 6 or not _boolean(self.options, f"{_OPTION}inhibit_ipv4", False)

    def gateway_mode(self, family: int) -> str:
        """nat, nat-unprotected, routed or isolated, for the addresses of ``family`` (4 or 6)."""
        return self.options.get(f"{_OPTION}gateway_mode_ipv{family}") or "nat"

    def families_in_mode(self, mode: str) -> tuple[int, ...]:
        return tuple(family for family in (4, 6) if self.gateway_mode(family) == mode)

    @property
    def mtu(self) -> int:
        """0: the kernel's default."""
        default = overlay.mtu_of(self.options) if self.driver == "overlay" else 0
        return int(self.options.get("com.docker.network.driver.mtu") or default)

    @property
    def has_icc(self) -> bool:
        """Containers of this network may talk to each other."""
        return _boolean(self.options, f"{_OPTION}enable_icc", True)

    def is_masqueraded(self, family: int) -> bool:
        """What leaves this network with an address of ``family`` (4 or 6) takes one of the host."""
        wanted = _boolean(self.options, f"{_OPTION}enable_ip_masquerade", True)
        return not self.internal and wanted and self.gateway_mode(family) != "routed"

    @property
    def trusted_links(self) -> tuple[str, ...]:
        """Links of the host from which published ports may be reached at the containers' own addresses."""
        listed = self.options.get(f"{_OPTION}trusted_host_interfaces", "")
        return tuple(link.strip() for link in listed.split(":") if link.strip())

    @property
    def sources(self) -> tuple[str, ...]:
        """Addresses of the host that masqueraded traffic takes, instead of those of the way that it goes."""
        given = ((4, "com.docker.network.host_ipv4"), (6, "com.docker.network.host_ipv6"))
        return tuple(
            self.options[key]
            for family, key in given
            if self.options.get(key) and self.is_masqueraded(family)
        )

    @property
    def host_binding(self) -> str:
        """Host address for published ports that name none; "" means all."""
        return self.options.get(f"{_OPTION}host_binding_ipv4", "")

    @property
    def pool4(self) -> Pool | None:
        return next((pool for pool in self.pools if ":" not in pool.subnet), None)

    @property
    def pool6(self) -> Pool | None:
        return next((pool for pool in self.pools if ":" in pool.subnet), None)

    def gateway_of(self, address: str) -> str:
        """The next hop for a container with ``address`` (without length): that of the pool which it is from."""
        held = ipaddress.ip_address(address)
        for pool in self.pools:
            if held in parse_prefix(pool.subnet):
                return pool.gateway
        return ""

    @property
    def gateway4(self) -> str:
        """The bridge's IPv4 address, without length; "" if the network has none."""
        return self.pool4.gateway if self.pool4 else ""

    @property
    def gateway6(self) -> str:
        return self.pool6.gateway if self.pool6 else ""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A container's place in a network. Addresses are prefixes (``172.18.0.2/16``), "" where it has none."""

    network_id: str
    ipv4: str = ""
    ipv6: str = ""
    mac: str = ""
    link_local: tuple[str, ...] = ()
    priority: int = 0
    gw_priority: int = 0
    interface_name: str = ""
    sysctls: dict[str, str] = {}

    @property
    def address4(self) -> str:
        """Without the length."""
        return self.ipv4.partition("/")[0]

    @property
    def address6(self) -> str:
        return self.ipv6.partition("/")[0]


def validate_network(network: Network) -> None:
    """Raise InvalidArgument for a name, driver or option that cannot be served; subnets are ``ipam``'s
    concern."""
    if not _NAME.match(network.name):
        raise InvalidArgument(
            f"invalid network name {network.name!r}",
            hint="a name starts with a letter or digit and goes on with letters, digits, '_', '.' and '-'",
        )
    if network.config_only:
        return
    with concerning("driver"):
        validate_driver(network.driver, network.name)
    with concerning("driver_opts"):
        _validate_options(network)
    if not (network.enable_ipv4 or network.enable_ipv6) and (network.has_bridge or network.is_direct):
        raise InvalidArgument(f"network {network.name}: IPv4 or IPv6 must be enabled")
    if network.enable_ipv6 and 0 < network.mtu < SMALLEST_MTU6:
        raise InvalidArgument(
            f"network {network.name}: IPv6 needs an MTU of at least {SMALLEST_MTU6}, not {network.mtu}"
        ).pointing_at("driver_opts")


def _validate_options(network: Network) -> None:
    if network.is_direct:
        _validate_direct(network)
    else:
        for key, value in network.options.items():
            if network.driver == "overlay" and key in (*overlay.OPTIONS, "encrypted", f"{_OPTION}name"):
                continue
            _validate_option(network.name, key, value)
        if network.driver == "overlay":
            _validate_overlay(network)
        if not network.internal and network.families_in_mode("isolated"):
            raise InvalidArgument(
                f"network {network.name}: gateway mode isolated is for internal networks",
                hint="make the network internal, or leave the mode out",
            )


def validate_driver(driver: str, name: str) -> None:
    """Raise InvalidArgument for a network driver that is not one of :data:`DRIVERS`."""
    if driver in DRIVERS:
        return
    raise InvalidArgument(
        f"network {name}: driver {driver!r} is not supported", hint=f"supported drivers: {', '.join(DRIVERS)}"
    )


def validate_ipam_driver(driver: str, name: str) -> None:
    """Raise InvalidArgument for an IPAM driver that is not ours."""
    if driver not in ("", "default"):
        raise InvalidArgument(
            f"network {name}: IPAM driver {driver!r} is not supported", hint="supported: default"
        )


def _validate_overlay(network: Network) -> None:
    overlay.given_ranges(network)
    if "encrypted" in network.options:
        raise InvalidArgument(
            f"network {network.name}: overlay networks are not encrypted",
            hint="let the hosts talk over WireGuard or IPsec, and name its addresses as peers",
        )
    if f"{_OPTION}name" in network.options or not network.bridge.startswith(BRIDGE_PREFIX):
        raise InvalidArgument(f"network {network.name}: the bridge of an overlay network has no other name")


_ENABLE = "com.docker.network.enable_ipv"


def enabled_families(options: Mapping[str, str], network: str) -> dict[int, bool]:
    """What driver options say on IPv4 (4) and IPv6 (6), as older Docker had it, for those that they speak of.
    Raises InvalidArgument."""
    found = {}
    for family in (4, 6):
        value = options.get(f"{_ENABLE}{family}")
        if value is not None and value.lower() not in _BOOLEANS:
            raise InvalidArgument(
                f"network {network}: option {_ENABLE}{family} must be true or false, not {value!r}"
            )
        if value is not None:
            found[family] = _boolean(options, f"{_ENABLE}{family}", True)
    return found


_ENDPOINT = "com.docker.network.endpoint."
_INTERFACE_SYSCTL = re.compile(r"net\.[a-z0-9]+\.[a-z]+\.IFNAME\.[a-z0-9_]+\Z")


def check_interface_name(name: str, network: str) -> str:
    """The name itself. Raises InvalidArgument for what the kernel would refuse."""
    if not _INTERFACE.match(name) or name in (".", ".."):
        raise InvalidArgument(
            f"network {network}: {name!r} is no valid name for an interface",
            hint="up to 15 characters without spaces, '/' and ':'",
        )
    return name


def endpoint_options(options: Mapping[str, str], network: str) -> tuple[str, dict[str, str]]:
    """(name of the interface or "", sysctls) of an endpoint's driver options, as Docker has them; in sysctls ``IFNAME``
    stands for the interface. Raises InvalidArgument for an option that is not known."""
    name, sysctls = "", {}
    for key, value in options.items():
        if key == f"{_ENDPOINT}ifname":
            name = check_interface_name(value, network)
        elif key == f"{_ENDPOINT}sysctls":
            for entry in filter(None, value.split(",")):
                sysctl, equals, setting = entry.partition("=")
                if not equals or not _INTERFACE_SYSCTL.match(sysctl.strip()):
                    raise InvalidArgument(
                        f"network {network}: {entry!r} is no sysctl of an interface",
                        hint="write it as net.ipv4.conf.IFNAME.log_martians=1",
                    )
                sysctls[sysctl.strip()] = setting.strip()
        else:
            raise InvalidArgument(f"network {network}: endpoint option {key!r} is not supported")
    return name, sysctls


_LINK_MODES = {"macvlan": ("bridge", "vepa", "private", "passthru"), "ipvlan": ("l2", "l3", "l3s")}
_LINK_FLAGS = ("bridge", "private", "vepa")


def _validate_direct(network: Network) -> None:
    name, driver = network.name, network.driver
    if not network.parent:
        raise InvalidArgument(
            f"network {name}: driver {driver} needs the link of the host that containers share",
            hint="name it: driver_opts: {parent: eth0}",
        )
    if not _INTERFACE.match(network.parent):
        raise InvalidArgument(f"network {name}: {network.parent!r} is no valid name for a link")
    for key, value in network.options.items():
        if key == "com.docker.network.driver.mtu":
            _validate_option(name, key, value)
        elif key == "ipvlan_flag" and driver == "ipvlan":
            if value not in _LINK_FLAGS:
                raise InvalidArgument(
                    f"network {name}: ipvlan_flag {value!r} is not supported",
                    hint=f"supported: {', '.join(_LINK_FLAGS)}",
                )
        elif key == "com.docker.network.container_iface_prefix":
            _validate_option(name, key, value)
        elif key not in ("parent", f"{driver}_mode"):
            raise InvalidArgument(f"network {name}: driver option {key!r} is not supported")
    if network.link_mode not in _LINK_MODES[driver]:
        raise InvalidArgument(
            f"network {name}: {driver}_mode {network.link_mode!r} is not supported",
            hint=f"supported: {', '.join(_LINK_MODES[driver])}",
        )


_BOOLEANS = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}
_IGNORED = {f"{_OPTION}default_bridge", "com.docker.network.enable_ipv4", "com.docker.network.enable_ipv6"}

_PREFIX = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]{0,11}\Z")
_MODES = ("nat", "nat-unprotected", "routed", "isolated")
_ADDRESSES = {
    f"{_OPTION}host_binding_ipv4": 4,
    "com.docker.network.host_ipv4": 4,
    "com.docker.network.host_ipv6": 6,
}
_GATEWAY_MODES = {f"{_OPTION}gateway_mode_ipv4", f"{_OPTION}gateway_mode_ipv6"}


def _boolean(options: Mapping[str, str], key: str, default: bool) -> bool:
    return _BOOLEANS.get(options.get(key, "").lower(), default)


def _validate_option(name: str, key: str, value: str) -> None:
    if key in (f"{_OPTION}enable_icc", f"{_OPTION}enable_ip_masquerade", f"{_OPTION}inhibit_ipv4"):
        if value.lower() not in _BOOLEANS:
            raise InvalidArgument(f"network {name}: option {key} must be true or false, not {value!r}")
    elif key == "com.docker.network.driver.mtu":
        if not value.isdecimal() or not 68 <= int(value) <= 65535:
            raise InvalidArgument(f"network {name}: option {key} must be between 68 and 65535, not {value!r}")
    elif key == "com.docker.network.container_iface_prefix":
        if not _PREFIX.match(value):
            raise InvalidArgument(
                f"network {name}: {value!r} is no valid beginning of an interface's name",
                hint="a letter and up to 11 more letters, digits, '_' and '-'",
            )
    elif key in _GATEWAY_MODES:
        if value not in _MODES:
            raise InvalidArgument(
                f"network {name}: {key} {value!r} is not supported", hint=f"supported: {', '.join(_MODES)}"
            )
    elif key == f"{_OPTION}trusted_host_interfaces":
        for link in filter(None, map(str.strip, value.split(":"))):
            if not _INTERFACE.match(link):
                raise InvalidArgument(f"network {name}: {link!r} is no valid name for a link")
    elif key in _ADDRESSES:
        _validate_address(name, key, value, _ADDRESSES[key])
    elif key == f"{_OPTION}name":
        if not _INTERFACE.match(value) or value in (".", ".."):
            raise InvalidArgument(
                f"network {name}: {value!r} is no valid name for a link",
                hint="up to 15 characters without spaces, '/' and ':'",
            )
    elif key not in _IGNORED:
        raise InvalidArgument(f"network {name}: driver option {key!r} is not supported")


def _validate_address(name: str, key: str, value: str, version: int) -> None:
    try:
        found = ipaddress.ip_address(value)
    except ValueError:
        found = None
    if value and (found is None or found.version != version):
        raise InvalidArgument(f"network {name}: option {key} must be an IPv{version} address, not {value!r}")
