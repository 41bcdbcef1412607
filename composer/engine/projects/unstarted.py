"""``run --rm`` makes its container, then attaches and starts it: when it is killed in between, nobody else would remove
what it has made."""

from __future__ import annotations

import contextlib

import trio

from composer.engine.containers import Container
from composer.engine.lifecycle import Lifecycle
from composer.plan import labels
from runtime.errors import ComposerError

PATIENCE = 30.0
"""Seconds for a command to start what it has made: less than an engine takes that has nothing to do to end."""


def is_to_start(container: Container) -> bool:
    """Whether it was made to be started at once, and has not been."""
    is_oneoff = container.config.labels.get(labels.ONEOFF, "").lower() == "true"
    return container.config.auto_remove and is_oneoff and container.state.status == "created"


def see_to(container: Container, lifecycle: Lifecycle) -> None:
    """Begin to watch over one that was made just now, or that an engine that died has left."""
    if is_to_start(container) and lifecycle.nursery is not None:
        lifecycle.nursery.start_soon(remove_unless_started, container, lifecycle)


async def remove_unless_started(container: Container, lifecycle: Lifecycle) -> None:
    """Wait for its start or removal; remove it when nobody starts it, and nobody is attached who is about to."""
    with trio.move_on_after(PATIENCE):
        await container.status.wait_for(lambda status: status.status != "created")
    if is_to_start(container) and not container.pending_attach and not container.is_removed.is_set():
        with contextlib.suppress(ComposerError):  # somebody else did
            await lifecycle.remove(container.id, volumes=True)
