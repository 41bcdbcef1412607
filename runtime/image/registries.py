"""What a store asks registries for. Whatever speaks to them is imported when one is asked for the first time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import trio

from runtime.image.content import Content
from runtime.image.registry.authentication import Credentials, CredentialSource
from runtime.image.registry.configuration import RegistryConfiguration
from runtime.image.registry.credentials import load_credentials

if TYPE_CHECKING:
    from runtime.image.pull import Puller
    from runtime.image.push import Pusher
    from runtime.image.registry.search import Found
    from runtime.image.shared_pulls import SharedPulls


@dataclass
class Registries:
    """For images of one store; ``env`` has proxies, and where credentials are."""

    content: Content
    configuration: RegistryConfiguration
    env: Mapping[str, str]

    @cached_property
    def puller(self) -> Puller:
        from runtime.image.pull import Puller

        return Puller(self.content, self.configuration, self.env)

    @cached_property
    def pulls(self) -> SharedPulls:
        """Those that are under way."""
        from runtime.image.shared_pulls import SharedPulls

        return SharedPulls(self.puller, self.content.catalogue)

    @cached_property
    def pusher(self) -> Pusher:
        from runtime.image.push import Pusher

        return Pusher(self.content, self.configuration, self.env)

    async def search(
        self,
        term: str,
        limit: int,
        filters: Mapping[str, Sequence[str]],
        credentials: CredentialSource | None = None,
    ) -> Sequence[Found]:
        """What the registry in ``term`` (else Docker Hub) finds. Raises as ``runtime.image.registry.search.search``."""
        from runtime.image.registry.search import parse_condition, search

        find = credentials or partial(load_credentials, self.env)
        return await search(self.configuration, term, limit, parse_condition(filters), find)

    async def login(self, domain: str, credentials: Credentials) -> None:
        """Ask the registry ``domain`` whether it accepts credentials. Raises Unauthorized, Unreachable."""
        from runtime.image.registry.connection import Connection

        connection = Connection(domain, self.configuration, credentials=lambda: credentials)
        try:
            await connection.login()
        finally:
            with trio.CancelScope(shield=True):
                await connection.aclose()
