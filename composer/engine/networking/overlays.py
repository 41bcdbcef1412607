"""Overlay networks that containers are on: names are exchanged with their other hosts."""

from __future__ import annotations

import logging

import trio

from composer.engine.networking.networks import Networks
from runtime.errors import ComposerError
from runtime.network import overlay
from runtime.network.host import host_addresses
from runtime.network.model import Network
from runtime.network.overlay_names import OverlayNames

log = logging.getLogger(__name__)


class Overlays:
    """Follows the bridges of overlay networks."""

    def __init__(self, networks: Networks, names: OverlayNames) -> None:
        self._networks = networks
        self._names = names

    async def run(self) -> None:
        """Exchange names on each overlay network as long as its rules are there, until cancelled."""
        scopes: dict[str, trio.CancelScope] = {}
        async with trio.open_nursery() as nursery:
            while True:
                changed = self._networks.bridges_changed
                active = {n.id: n for n in self._networks.list() if self._networks.is_active(n)}
                for network_id in scopes.keys() - active.keys():
                    scopes.pop(network_id).cancel()
                for network_id in active.keys() - scopes.keys():
                    scopes[network_id] = trio.CancelScope()
                    nursery.start_soon(self._run, active[network_id], scopes[network_id])
                await changed.wait()

    async def _run(self, network: Network, scope: trio.CancelScope) -> None:
        try:
            own = overlay.own_address(network, host_addresses())
            with scope:
                await self._names.run(network, own)
        except* (OSError, ComposerError) as errors:
            for error in errors.exceptions:
                log.warning("network %s: names of other hosts are not known: %s", network.name, error)
