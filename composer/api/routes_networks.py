"""Networks: ``/networks/...`` of the Docker Engine API."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from composer.api.container_create import endpoint_config
from composer.api.container_filters import has_labels, has_pattern
from composer.api.interface import Engine
from composer.api.messages import Answer, Request, Response, json_response
from composer.api.network_json import network_json, network_pools
from composer.api.routes_containers import is_pruned, until_bound
from composer.api.routing import Route
from composer.api.wire import ConnectBody, DisconnectBody, NetworkBody, decode_body
from runtime.errors import ComposerError, InvalidArgument
from runtime.network.model import Network

_LIST_FILTERS = frozenset({"dangling", "driver", "id", "label", "name", "scope", "type"})
_PRUNE_FILTERS = frozenset({"label", "label!", "until"})
BUILT_IN = ("bridge", "host", "none")


def _check_filters(filters: dict[str, list[str]]) -> None:
    """Raises InvalidArgument for values that a filter cannot have, in Docker's words."""
    for value in filters.get("type", ()):
        if value not in ("builtin", "custom"):
            raise InvalidArgument(f"invalid filter: 'type'='{value}'")
    for value in filters.get("dangling", ()):
        if value.lower() not in ("0", "1", "true", "false"):
            raise InvalidArgument(
                'invalid value for filter \'dangling\', must be "true" (or "1"), or "false" (or "0")'
            )


def routes(engine: Engine) -> list[Route]:
    own = NetworkRoutes(engine)
    return [
        Route("GET", "/networks", own.list_networks),
        Route("POST", "/networks/create", own.create),
        Route("POST", "/networks/prune", own.prune),
        Route("GET", "/networks/{id}", own.inspect),
        Route("DELETE", "/networks/{id}", own.remove),
        Route("POST", "/networks/{id}/connect", own.connect),
        Route("POST", "/networks/{id}/disconnect", own.disconnect),
    ]


@dataclass(frozen=True, slots=True)
class NetworkRoutes:
    engine: Engine

    async def list_networks(self, request: Request) -> Answer:
        filters = request.query.filters(_LIST_FILTERS)
        _check_filters(filters)
        found = [network for network in self.engine.networks.list() if self._is_listed(network, filters)]
        return json_response([network_json(network) for network in found])

    def _is_listed(self, network: Network, filters: dict[str, list[str]]) -> bool:
        if not has_labels(network.labels, filters.get("label", ())):
            return False
        if "dangling" in filters and self._is_used(network) == (
            filters["dangling"][0].lower() in ("1", "true")
        ):
            return False
        kind = "builtin" if network.name in BUILT_IN else "custom"
        tests: dict[str, Callable[[str], bool]] = {
            "driver": lambda value: value == ("null" if network.driver == "none" else network.driver),
            "id": lambda value: has_pattern(network.id, value),
            "name": lambda value: has_pattern(network.name, value),
            "scope": lambda value: value == "local",
            "type": lambda value: value == kind,
        }
        return all(
            any(tests[key](value) for value in values) for key, values in filters.items() if key in tests
        )

    def _is_used(self, network: Network) -> bool:
        return network.name in BUILT_IN or any(
            network.name in container.endpoints for container in self.engine.containers.list(True)
        )

    def _get(self, request: Request) -> Network:
        return self.engine.networks.get(request.params["id"])

    async def inspect(self, request: Request) -> Answer:
        network = self._get(request)
        return json_response(network_json(network, self.engine.networks.attachments(network.id)))

    async def create(self, request: Request) -> Answer:
        body = decode_body(await request.json(dict), NetworkBody)
        network = await self.engine.networks.create(
            body.name,
            {"": "bridge", "null": "none"}.get(body.driver, body.driver),
            options=body.options,
            labels=body.labels,
            internal=body.internal,
            attachable=body.attachable,
            enable_ipv4=body.enable_ipv4,
            enable_ipv6=body.enable_ipv6,
            pools=network_pools(body),
            ipam_driver=body.ipam.driver,
            ipam_options=body.ipam.options,
            config_only=body.config_only,
            config_from=(body.config_from or {}).get("Network") or "",
        )
        return json_response({"Id": network.id, "Warning": ""}, 201)

    async def remove(self, request: Request) -> Answer:
        await self.engine.networks.remove(self._get(request).id)
        return Response(204)

    async def connect(self, request: Request) -> Answer:
        body = decode_body(await request.json(dict), ConnectBody)
        if not body.container:
            raise InvalidArgument("a container is needed", hint='Give "Container".')
        container = self.engine.containers.get(body.container)
        network = self._get(request)
        await self.engine.networks.connect(
            network.id, container.id, endpoint_config(network.name, body.endpoint_config)
        )
        return Response(200)

    async def disconnect(self, request: Request) -> Answer:
        body = decode_body(await request.json(dict), DisconnectBody)
        container = self.engine.containers.get(body.container)
        network = self._get(request)
        await self.engine.networks.disconnect(network.id, container.id, body.force)
        return Response(200)

    async def prune(self, request: Request) -> Answer:
        filters = request.query.filters(_PRUNE_FILTERS)
        bound = until_bound(filters.get("until", []), time.time_ns())
        removed = []
        for network in list(self.engine.networks.list()):
            if (
                network.config_only
                or self._is_used(network)
                or network.created > bound
                or not is_pruned(network.labels, filters)
            ):
                continue
            try:
                await self.engine.networks.remove(network.id)
            except ComposerError:
                continue  # taken into use meanwhile
            removed.append(network.name)
        return json_response({"NetworksDeleted": removed or None})
