"""The core's main: ties the engine to the API and to the keeper that started this process."""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import logging
import os
import signal
import sys
from typing import NoReturn

import trio

from composer import __version__
from composer.api import interface, leaving
from composer.api.routes_succession import Successor
from composer.api.server import Connections, serve
from composer.engine.cells import first_of
from composer.engine.engine import REST_AFTER, Engine, build
from composer.engine.task_tree import task_stacks
from composer.installed import guard
from composer.own_log import set_up_logging
from composer.program import core_argv
from runtime.container.bootstrap import replace_keeper
from runtime.container.client import Inheritance, KeeperGone, hand_on, inherit
from runtime.crash_points import crash_point
from runtime.errors import ComposerError
from runtime.kernel import oom_kills, syscalls
from runtime.storage.paths import Paths

log = logging.getLogger("composer.core")

ENDING_WITHIN = 10.0
"""Seconds that an end on purpose may take: what is not done by then is finished by the next core."""
ARGV = core_argv()
"""How a keeper starts a core."""


class Core:
    """One run of the engine behind the API socket."""

    def __init__(self, paths: Paths, inherited: Inheritance) -> None:
        self.paths = paths
        self.keeper = inherited.keeper
        self.listener = inherited.listener
        self.lock = inherited.lock
        self.engine: Engine = build(paths, self.keeper)
        self.successor: Successor | None = None
        """The core that takes the place of this one when it has ended."""

    async def run(self) -> None:
        """Until the engine is stopped, told to end, or has had nothing to do for a while."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._obey_signals)
            nursery.start_soon(self._keep_keeper)
            nursery.start_soon(self._limit_ending)
            await nursery.start(self._run_engine, nursery.cancel_scope)
            served: interface.Engine = self.engine
            self._tell_version()
            leaving.open_door(self.paths.socket)
            connections: Connections = await nursery.start(serve, served, self.listener, self._give_way)
            crash_point("core.engine.served")
            await self.keeper.ready()
            await self._renew_keeper()
            nursery.start_soon(self._rest, connections)
            log.info("ready (pid %d, keeper %d)", os.getpid(), self.keeper.pid)
            gc.collect()
            gc.freeze()

    async def _run_engine(
        self, whole: trio.CancelScope, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """The engine ends on purpose only: tell the keeper, so that it ends too and starts no other core."""
        await self.engine.run(task_status=task_status)
        crash_point("core.engine.ending")
        if self.successor is None:
            self.paths.version.unlink(missing_ok=True)
            with trio.CancelScope(shield=True):
                try:
                    await self.keeper.end()
                except ComposerError as error:
                    log.warning("%s", error)
        whole.cancel()

    def _tell_version(self) -> None:
        """Where commands look before they ask for anything; without it they are told with the first answer."""
        with contextlib.suppress(OSError):
            new = self.paths.version.with_suffix(".new")
            new.write_text(__version__)
            new.chmod(0o644)
            new.replace(self.paths.version)

    def _give_way(self, successor: Successor) -> None:
        """End, so that another version goes on, in this very process: nothing is new for the keeper."""
        log.info("making room for composer %s; containers go on", successor.version)
        self.successor = successor
        self.engine.scope.cancel()

    async def _renew_keeper(self) -> None:
        """A keeper of another version than this core's gives way to one of the same; what it has forked lives on."""
        try:
            if await self.keeper.starts(ARGV):
                return
        except KeeperGone:
            return
        log.info("replacing the keeper (pid %d), which is of another version", self.keeper.pid)
        self.keeper.kill()

    def become_successor(self, successor: Successor) -> None:
        """Execute it with what this core has inherited. Raises OSError."""
        inheritance = hand_on(self.keeper, self.listener, self.lock)
        os.execve(successor.argv[0], successor.argv, {**os.environ, **inheritance})

    async def _limit_ending(self) -> None:
        """A core that does not come to its end is cut short, as a killed one would be, and says what held it up."""
        await self.engine.ending.wait()
        # Should even this task not come to run.
        faulthandler.dump_traceback_later(ENDING_WITHIN + 1, exit=True)
        await trio.sleep(ENDING_WITHIN)
        log.error("not ended after %.0f s; its tasks:\n%s", ENDING_WITHIN, task_stacks())
        self.keeper.kill()
        os._exit(1)

    async def _keep_keeper(self) -> None:
        """When the keeper is killed another takes its place: what it held is here or in the shims."""
        while True:
            await self.keeper.wait_gone()
            if self.engine.scope.cancel_called:
                return
            log.warning(
                "the keeper (pid %d) is gone%s; starting another one",
                self.keeper.pid,
                oom_kills.watch().reason(),
            )
            connection, pid = replace_keeper(self.paths, ARGV, self.listener.fileno(), self.lock)
            self.keeper.replace(connection, pid)
            with contextlib.suppress(KeeperGone):  # then the next one gets all of it
                await self.engine.sandboxes.publishing.store_again()

    async def _rest(self, connections: Connections) -> None:
        """End the engine when nothing runs and nobody has been connected for a while. Nothing ticks before that."""
        while True:
            if connections.count:
                await connections.changed()
                continue
            if not self.engine.is_idle:
                await first_of(connections.changed, self.engine.less_to_do)
                continue
            with trio.move_on_after(REST_AFTER):
                await connections.changed()
                continue
            if not await leaving.close_door(self.paths.socket, self.listener, lambda: connections.count):
                continue
            log.info("nothing to do for %.0f s: ending until the next command", REST_AFTER)
            self.engine.scope.cancel()
            return

    async def _obey_signals(self) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async for number in signals:
                if number != signal.SIGHUP:
                    log.info("ending on %s; containers go on", signal.Signals(number).name)
                    self.engine.scope.cancel()


def main() -> int:
    """Run the core; 0 after an end on purpose. The keeper starts another one after anything else."""
    set_up_logging()
    syscalls.prctl(syscalls.PR_SET_NAME, b"composer-core")
    os.umask(0o022)
    gc.set_threshold(20_000, 20, 20)
    gc.enable()  # see composer.program
    try:
        core = Core(Paths.from_environment(os.environ, os.geteuid()), inherit())
        trio.run(core.run)
        if core.successor is not None:
            core.become_successor(core.successor)
    except ComposerError as error:
        log.error("%s", f"{error}\n  {error.hint}" if error.hint else error)
        return 1
    except BaseException:
        log.exception("the core failed")
        return 1
    log.info("ended")
    return 0


def run() -> NoReturn:
    """What the core's command line calls."""
    sys.meta_path.insert(0, guard())
    sys.stdout.flush()
    os._exit(main())
