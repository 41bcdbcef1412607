"""Which addresses containers have on which network, by their records, kept as these change."""

from __future__ import annotations

from collections.abc import Iterator

from composer.engine.containers import Containers
from composer.engine.model import ContainerRecord
from runtime.network.leases import Leases


class AddressBook:
    """The leases of all networks. What a container is about to leave counts: it may still have the interface."""

    def __init__(self, containers: Containers) -> None:
        self._leases: dict[str, Leases] = {}
        containers.follow(self._follow)

    def of(self, network_id: str) -> Leases:
        return self._leases.setdefault(network_id, Leases())

    def _follow(self, before: ContainerRecord | None, after: ContainerRecord | None) -> None:
        if before and after and before.endpoints is after.endpoints and before.leaving is after.leaving:
            return
        if before is not None:
            for network_id, address in _addresses(before):
                leases = self._leases[network_id]
                leases.give_back(address, before.id)
                if not leases:
                    del self._leases[network_id]
        if after is not None:
            for network_id, address in _addresses(after):
                self.of(network_id).take(address, after.id)


def _addresses(record: ContainerRecord) -> Iterator[tuple[str, str]]:
    """(network id, address)"""
    for endpoint in (*record.endpoints.values(), *record.leaving.values()):
        for address in (endpoint.ipv4, endpoint.ipv6):
            if address:
                yield endpoint.network_id, address
