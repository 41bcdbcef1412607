"""``network``: networks of this machine."""

from __future__ import annotations

from composer.api.client import API, quote
from composer.cli.arguments import Command, Flag, UsageError
from composer.cli.management.conventions import FILTER, FORCE, FORMAT, INSPECT_FORMAT, NO_TRUNC, QUIET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from composer.cli.arguments import Arguments
    from composer.cli.session import Session

TITLES = {
    "ID": "NETWORK ID", "Name": "NAME", "Driver": "DRIVER", "Scope": "SCOPE", "IPv4": "IPV4", "IPv6": "IPV6",
    "Internal": "INTERNAL", "Labels": "LABELS", "CreatedAt": "CREATED AT",
}  # fmt: skip


def run_ls(session: Session, arguments: Arguments) -> int:
    from composer.cli.management.conventions import parse_filters
    from composer.cli.output.tables import formatted, natural

    filters = parse_filters(arguments.list("filter"))
    found = session.client.request("GET", f"{API}/networks", {"filters": filters or None}).json()
    full = arguments.is_on("no-trunc")
    rows = [
        {
            "ID": network["Id"] if full else network["Id"][:12],
            "Name": network["Name"],
            "Driver": network["Driver"],
            "Scope": network["Scope"],
            "IPv4": str(bool(network.get("EnableIPv4"))).lower(),
            "IPv6": str(bool(network.get("EnableIPv6"))).lower(),
            "Internal": str(bool(network.get("Internal"))).lower(),
            "Labels": ",".join(f"{k}={v}" for k, v in (network.get("Labels") or {}).items()),
            "Label": _label_of(network),
            "CreatedAt": network.get("Created", "").replace("T", " ").replace("Z", " +0000 UTC"),
        }
        for network in sorted(found, key=lambda network: natural(network["Name"]))
    ]
    if arguments.is_on("quiet"):
        session.write("".join(f"{row['ID']}\n" for row in rows))
        return 0
    try:
        session.write(
            formatted(rows, TITLES, arguments.text("format"), default=("ID", "Name", "Driver", "Scope"))
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    return 0


def _label_of(network: dict[str, Any]) -> Callable[[str], str]:
    return lambda key: (network.get("Labels") or {}).get(key, "")


def labels(entries: list[str]) -> dict[str, str]:
    """``key=value`` entries, each with a key. Raises UsageError."""
    for entry in entries:
        if not entry.partition("=")[0]:
            raise UsageError(
                f'invalid argument "{entry}" for "--label" flag: invalid label \'{entry}\': empty name',
                is_flag=True,
            )
    return pairs(entries)


def pairs(entries: list[str]) -> dict[str, str]:
    """``key=value`` entries."""
    return {key: value for key, _, value in (entry.partition("=") for entry in entries)}


def ipam_configuration(
    subnets: list[str], given: dict[str, list[str]], auxiliary: dict[str, str]
) -> list[dict[str, Any]]:
    """Each subnet with the range, gateway and auxiliary addresses that lie in it. Raises UsageError."""
    from ipaddress import ip_network

    if not subnets and any(given.values()):
        raise UsageError("every ip-range or gateway must have a corresponding subnet")

    def parse(text: str, what: str) -> Any:
        try:
            return ip_network(text, strict=False)
        except ValueError:
            raise UsageError(f"Invalid {what} {text} : invalid CIDR address: {text}") from None

    pools = [(parse(subnet, "subnet"), {"Subnet": subnet}) for subnet in subnets]
    if any(one.overlaps(two) for n, (one, _) in enumerate(pools) for two, _ in pools[:n]):
        raise UsageError("multiple overlapping subnet configuration is not supported")

    def pool_of(text: str, what: str) -> dict[str, Any]:
        inner = parse(text, what)
        for subnet, pool in pools:
            if inner.version == subnet.version and inner.subnet_of(subnet):
                return pool
        raise UsageError(f"no matching subnet for {what} {text}")

    for name, what in (("IPRange", "range"), ("Gateway", "gateway")):
        for text in given[name]:
            pool = pool_of(text, what)
            if name in pool:
                raise UsageError(
                    f"cannot configure multiple {what}s ({text}, {pool[name]}) on the same subnet"
                )
            pool[name] = text
    for name, text in auxiliary.items():
        pool_of(text, "aux-address").setdefault("AuxiliaryAddresses", {})[name] = text
    return [pool for _, pool in pools]


def run_create(session: Session, arguments: Arguments) -> int:
    configuration = ipam_configuration(
        arguments.list("subnet"),
        {"IPRange": arguments.list("ip-range"), "Gateway": arguments.list("gateway")},
        pairs(arguments.list("aux-address")),
    )
    body = {
        "Name": arguments.words[0],
        "Driver": arguments.text("driver"),
        "Internal": arguments.is_on("internal"),
        "Attachable": arguments.is_on("attachable"),
        "EnableIPv4": arguments.is_on("ipv4"),
        "EnableIPv6": arguments.is_on("ipv6"),
        "Scope": arguments.text("scope"),
        "Ingress": arguments.is_on("ingress"),
        "ConfigOnly": arguments.is_on("config-only"),
        "ConfigFrom": {"Network": arguments.text("config-from")},
        "IPAM": {
            "Driver": arguments.text("ipam-driver"),
            "Options": pairs(arguments.list("ipam-opt")),
            "Config": configuration,
        },
        "Options": pairs(arguments.list("opt")),
        "Labels": labels(arguments.list("label")),
    }
    session.write(session.client.request("POST", f"{API}/networks/create", body=body).json()["Id"] + "\n")
    return 0


def run_rm(session: Session, arguments: Arguments) -> int:
    return remove_each(session, arguments, "networks")


def remove_each(session: Session, arguments: Arguments, kind: str) -> int:
    """Remove several things, name each that is gone, and go on after one that could not be removed."""
    from composer.cli.management.conventions import report_failures
    from runtime.errors import ComposerError, NotFound

    failures: list[ComposerError] = []
    for name in arguments.words:
        try:
            session.client.request("DELETE", f"{API}/{kind}/{quote(name)}")
            session.write(f"{name}\n")
        except NotFound as error:
            if not arguments.is_on("force"):
                failures.append(error)
        except ComposerError as error:
            if not (arguments.is_on("force") and error.status == 404):
                failures.append(error)
    return report_failures(session, failures)


def run_inspect(session: Session, arguments: Arguments) -> int:
    from composer.cli.management.conventions import inspect_each

    return inspect_each(session, arguments, lambda name: f"{API}/networks/{quote(name)}", "network")


def run_connect(session: Session, arguments: Arguments) -> int:
    network, container = arguments.words
    endpoint: dict[str, Any] = {
        "Aliases": arguments.list("alias"),
        "Links": arguments.list("link"),
        "DriverOpts": pairs(arguments.list("driver-opt")),
        "GwPriority": arguments.number("gw-priority") or 0,
        "IPAMConfig": {
            "IPv4Address": arguments.text("ip"),
            "IPv6Address": arguments.text("ip6"),
            "LinkLocalIPs": arguments.list("link-local-ip"),
        },
    }
    body = {"Container": container, "EndpointConfig": endpoint}
    session.client.request("POST", f"{API}/networks/{quote(network)}/connect", body=body)
    return 0


def run_disconnect(session: Session, arguments: Arguments) -> int:
    network, container = arguments.words
    body = {"Container": container, "Force": arguments.is_on("force")}
    session.client.request("POST", f"{API}/networks/{quote(network)}/disconnect", body=body)
    return 0


def run_prune(session: Session, arguments: Arguments) -> int:
    from composer.cli.management.conventions import confirm, parse_filters, show_pruned

    if not confirm(
        session, arguments, "This will remove all custom networks not used by at least one container."
    ):
        return 0
    filters = parse_filters(arguments.list("filter"))
    answer = session.client.request("POST", f"{API}/networks/prune", {"filters": filters or None}).json()
    return show_pruned(session, answer)


def run_graph(session: Session, arguments: Arguments) -> int:
    from composer.cli.management.network_graph import DRAWINGS, read_graph

    form = arguments.text("format")
    if form not in DRAWINGS:
        raise UsageError(f"--format {form}: it can be {', '.join(DRAWINGS)}")
    names = arguments.words or [
        network["Id"] for network in session.client.request("GET", f"{API}/networks").json()
    ]
    networks = [session.client.request("GET", f"{API}/networks/{quote(name)}").json() for name in names]
    if not arguments.words:
        networks = [network for network in networks if network["Containers"]]
    containers = session.client.request("GET", f"{API}/containers/json").json()
    session.write(DRAWINGS[form](read_graph(networks, containers)))
    return 0


_LS = Command("network ls [OPTIONS]", "List networks", run_ls, (FILTER, FORMAT, NO_TRUNC, QUIET), at_most=0)
_RM = Command(
    "network rm NETWORK [NETWORK...]",
    "Remove networks",
    run_rm,
    (Flag("force", "f", help="Do not complain about one that is not there"),),
    at_least=1,
)
COMMANDS = {
    "connect": Command(
        "network connect [OPTIONS] NETWORK CONTAINER",
        "Connect a container to a network",
        run_connect,
        (
            Flag("alias", kind="strings", help="Another name of the container on the network"),
            Flag("driver-opt", kind="strings", help="Option of the driver"),
            Flag("gw-priority", kind="int", help="The highest has the default route"),
            Flag("ip", kind="string", help="IPv4 address"),
            Flag("ip6", kind="string", help="IPv6 address"),
            Flag("link", kind="list", help="Another container under a name of one's own"),
            Flag("link-local-ip", kind="strings", help="Link-local address"),
        ),
        at_least=2,
        at_most=2,
    ),
    "create": Command(
        "network create [OPTIONS] NETWORK",
        "Make a network",
        run_create,
        (
            Flag("attachable", help="Accepted; every network is"),
            Flag("aux-address", kind="list", help="Address that is in use: NAME=ADDRESS"),
            Flag("config-from", kind="string", help="Take the settings of this network"),
            Flag("config-only", help="Nothing but settings, for others to take"),
            Flag("driver", "d", "string", "bridge, macvlan, ipvlan or overlay", "bridge"),
            Flag("gateway", kind="strings", help="Address of the bridge"),
            Flag("ingress", help="Not supported: there is no Swarm"),
            Flag("internal", help="Without a way outside"),
            Flag("ip-range", kind="strings", help="Containers' addresses come from this part of the subnet"),
            Flag("ipam-driver", kind="string", default="default", help="default is the only one"),
            Flag("ipam-opt", kind="list", help="Option of the IPAM driver; the default one only keeps it"),
            Flag("ipv4", help="With IPv4 addresses", default="true"),
            Flag("ipv6", help="With IPv6 addresses"),
            Flag("label", kind="list", help="Label: KEY=value"),
            Flag("opt", "o", "list", "Option of the driver: KEY=value"),
            Flag("scope", kind="string", help="local is the only one"),
            Flag("subnet", kind="strings", help="Subnet, such as 172.30.0.0/24"),
        ),
        at_least=1,
        at_most=1,
    ),
    "disconnect": Command(
        "network disconnect [OPTIONS] NETWORK CONTAINER",
        "Disconnect a container from a network",
        run_disconnect,
        (Flag("force", "f", help="Do not complain when it is not connected"),),
        at_least=2,
        at_most=2,
    ),
    "graph": Command(
        "network graph [OPTIONS] [NETWORK...]",
        "Draw who reaches whom",
        run_graph,
        (Flag("format", kind="string", default="text", help="text, mermaid or svg"),),
    ),
    "inspect": Command(
        "network inspect [OPTIONS] NETWORK [NETWORK...]",
        "Show all about networks",
        run_inspect,
        (INSPECT_FORMAT, Flag("verbose", "v", help="Accepted; there are no Swarm services to show")),
        at_least=1,
    ),
    "ls": _LS,
    "list": _LS,
    "prune": Command(
        "network prune [OPTIONS]",
        "Remove unused networks",
        run_prune,
        (Flag("filter", kind="filter", help="Only those with a property"), FORCE),
        at_most=0,
    ),
    "rm": _RM,
    "remove": _RM,
}
