"""The core's main: ties the engine to the API and to the keeper that started this process."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import time

import trio

from composer.api.server import serve
from composer.engine.engine import REST_AFTER, Engine, build
from runtime.container.bootstrap import replace_keeper
from runtime.container.client import Inheritance, inherit
from runtime.errors import ComposerError
from runtime.storage.paths import Paths

log = logging.getLogger("composer.core")


class Core:
    """One run of the engine behind the API socket."""

    def __init__(self, paths: Paths, inherited: Inheritance) -> None:
        self.paths = paths
        self.inherited = inherited
        self.engine: Engine = build(paths, inherited.keeper)
        self.is_keeper_gone = False

    async def run(self) -> None:
        """Until the engine is stopped, has nothing to do for a while, or loses its keeper."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.engine.run)
            connections = await nursery.start(serve, self.engine, self.inherited.listener)
            nursery.start_soon(self._watch_keeper)
            nursery.start_soon(self._rest, connections)
            nursery.start_soon(self._obey_signals)
            log.info("ready (pid %d, keeper %d)", os.getpid(), self.inherited.keeper.pid)
            await self._ended()
            nursery.cancel_scope.cancel()

    async def _ended(self) -> None:
        while not self.engine.scope.cancel_called:
            await trio.sleep_forever()

    async def _watch_keeper(self) -> None:
        """The keeper was killed: everything that it held is here or in the shims, so a new one takes its place."""
        await self.inherited.keeper.wait_gone()
        log.warning("the keeper is gone; starting another one")
        self.is_keeper_gone = True
        self.engine.scope.cancel()

    async def _rest(self, connections: object) -> None:
        """End when nothing runs and nobody is connected."""

    async def _obey_signals(self) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async for number in signals:
                if number == signal.SIGHUP:
                    continue
                log.info("ending on %s; containers go on", signal.Signals(number).name)
                self.engine.scope.cancel()


_ = (REST_AFTER, gc, time, sys, ComposerError, replace_keeper)
