"""post_start and pre_stop: commands that are run in a container just after its start and just before its end."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol

import trio
from msgspec.structs import replace

from composer.engine.chronicle import one_line, tell_hook
from composer.engine.containers import Container
from composer.engine.execs import Hear, tail_of
from composer.engine.model import Status
from runtime.container.config import Hook
from runtime.errors import ComposerError, Conflict

CUT_SHORT = (125, 137)
"""Exit codes of a hook that could not enter its container any more, and of one that was killed in it: maybe because the
container has ended."""
END_BOUND = 5.0
"""Seconds: every process of a container is killed before its first one has ended, and its end is told after that."""


class RunHook(Protocol):
    """Execs.run_hook: the exit code of a hook and the beginning of its output."""

    def __call__(
        self, container: Container, hook: Hook, hear: Hear | None = None
    ) -> Awaitable[tuple[int, bytes]]: ...


class HookFailed(ComposerError):
    """A pre_stop hook failed, so its container was not stopped."""

    def __init__(self, container: Container, hook: Hook, code: int, output: bytes) -> None:
        service = container.config.labels.get("com.docker.compose.service")
        ways_out = f"composer kill {service}" if service else f"composer container kill {container.name}"
        super().__init__(
            f"{container.name} runs on: its pre_stop {_failure(hook, code)}",
            hint="\n".join([*filter(None, [tail_of(output)]), f"`{ways_out}` ends it without its hooks"]),
        )
        self.failure = f"pre_stop {_failure(hook, code)}"
        """What happened, without what followed from it."""
        self.output = output


@dataclass
class Hooks:
    """Runs hooks, one after the other, to their ends: the first that fails is the last."""

    run: RunHook

    async def after_start(self, container: Container, hear: Hear | None) -> str:
        """Raises ComposerError when one fails, which stays to be seen for as long as that run is: as the container's
        ``State.Error``. When the container ends before they have, that is no failure of theirs: returns a warning then,
        else nothing. ``hear`` is given what they write, and nothing (``b""``) at the end of each."""
        begun = container.state.started_at
        for number, hook in enumerate(container.config.post_start):
            cut_short = f"{container.name} has ended before its post_start hook had: {' '.join(hook.command)}"
            try:
                code, output = await self.run(container, hook, hear)
                if hear is not None:
                    await hear(b"")
            except Conflict as error:
                if not _runs(container.state, begun):
                    return cut_short
                _note(container, begun, f"post_start hook {' '.join(hook.command)}: {error.message}", b"")
                raise error.within(f"post_start hook {' '.join(hook.command)}") from None
            if code in CUT_SHORT and await _has_ended(container, begun):
                return cut_short
            if code:
                _note(container, begun, f"post_start {_failure(hook, code)}", output)
                raise ComposerError(
                    f"post_start hook of {container.name} {_exited(hook, code)}", hint=tail_of(output)
                ).pointing_at(f"post_start[{number}]")
        return ""

    async def before_stop(self, container: Container) -> None:
        """Raises HookFailed when one fails. A container that ends meanwhile has no more of them."""
        begun = container.state.started_at
        for hook in container.config.pre_stop:
            if not container.state.is_alive:
                return
            try:
                code, output = await self.run(container, hook)
            except Conflict:
                return  # it has just ended
            if code in CUT_SHORT and await _has_ended(container, begun):
                return
            if code:
                tell_hook(container, f"pre_stop {_failure(hook, code)}", output)
                raise HookFailed(container, hook, code, output)


def _note(container: Container, begun: int, what: str, output: bytes) -> None:
    """Let a failure of the run that began then be found later."""
    tell_hook(container, what, output)
    if container.state.started_at == begun:
        said = one_line(output.decode(errors="replace"))
        error = f"{what}: {said}" if said else what
        container.set_status(replace(container.state, error=error))


def _failure(hook: Hook, code: int) -> str:
    return f"hook {_exited(hook, code)}"


def _exited(hook: Hook, code: int) -> str:
    return f"exited with status {code}: {' '.join(hook.command)}"


def _runs(status: Status, begun: int) -> bool:
    """The run that began then: what is restarted is another one."""
    return status.is_alive and status.started_at == begun


async def _has_ended(container: Container, begun: int) -> bool:
    with trio.move_on_after(END_BOUND):
        await container.status.wait_for(lambda status: not _runs(status, begun))
    return not _runs(container.state, begun)
