"""Networks in Docker's JSON, both ways. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from composer.api.container_network_json import endpoint_id
from composer.api.times import rfc3339
from composer.api.wire import NetworkBody, unsupported
from composer.engine.model import NetworkAttachment
from runtime.errors import InvalidArgument
from runtime.network.model import Network


def network_pools(body: NetworkBody) -> list[dict[str, Any]]:
    """The pools asked for; raises InvalidArgument for what a network here cannot be."""
    if not body.name:
        raise InvalidArgument("a network needs a name", hint='Give "Name".')
    if body.ingress:
        raise unsupported("Ingress")
    if body.scope not in ("", "local"):
        raise unsupported("Scope", body.scope)
    return [
        {
            "subnet": pool.subnet,
            "ip_range": pool.ip_range,
            "gateway": pool.gateway,
            "aux_addresses": pool.auxiliary_addresses,
        }
        for pool in body.ipam.config
    ]


def network_json(network: Network, attachments: Iterable[NetworkAttachment] = ()) -> dict[str, Any]:
    """A network as ``inspect`` shows it; ``list`` leaves ``attachments`` out."""
    return {
        "Name": network.name,
        "Id": network.id,
        "Created": rfc3339(network.created),
        "Scope": "local",
        "Driver": "null" if network.driver == "none" else network.driver,
        "EnableIPv4": network.enable_ipv4,
        "EnableIPv6": network.enable_ipv6,
        "IPAM": {
            "Driver": "default",
            "Options": network.ipam_options,
            "Config": [_pool(pool) for pool in network.pools],
        },
        "Internal": network.internal,
        "Attachable": network.attachable,
        "Ingress": False,
        "ConfigFrom": {"Network": network.config_from},
        "ConfigOnly": network.config_only,
        "Containers": {
            attachment.container_id: _attachment(network, attachment) for attachment in attachments
        },
        "Options": network.options,
        "Labels": network.labels,
    }


def _pool(pool: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {"Subnet": pool.subnet}
    if pool.ip_range:
        fields["IPRange"] = pool.ip_range
    if pool.gateway:
        fields["Gateway"] = pool.gateway
    if pool.aux_addresses:
        fields["AuxiliaryAddresses"] = pool.aux_addresses
    return fields


def _attachment(network: Network, attachment: NetworkAttachment) -> dict[str, str]:
    endpoint = attachment.endpoint
    return {
        "Name": attachment.name,
        "EndpointID": endpoint_id(attachment.container_id, network.id),
        "MacAddress": endpoint.mac,
        "IPv4Address": f"{endpoint.ipv4}/{endpoint.prefix}" if endpoint.ipv4 else "",
        "IPv6Address": f"{endpoint.ipv6}/{endpoint.prefix6}" if endpoint.ipv6 else "",
    }
