"""A step that has failed is shown to whoever builds: its container can be started once more, with a shell, before the
step is over.

It is the step's own container, on the changes that the step has made, with its mounts and secrets: these are held for
as long as the step is, so nothing has to be kept for it, and nothing is left after it.
"""

from __future__ import annotations

import posixpath
import stat
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

import trio
from msgspec.structs import replace

from composer.engine.projects.parts import Parts
from composer.engine.requests import Event, FailedStepEvent
from runtime.build.steps import Run
from runtime.build.worker.worker import FailedStep
from runtime.container.config import ContainerConfig, LogConfig
from runtime.files.tree import Tree

_SHELLS = ("sh", "ash", "bash", "dash", "fish", "ksh", "mksh", "yash", "zsh")
_FALLBACK = ("/bin/sh",)
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass
class Showing:
    """Shows one step of a command's builds: the first that fails. The others that fail meanwhile wait for that."""

    parts: Parts
    emit: Callable[[Event], Awaitable[None]]
    _turn: trio.Lock = field(default_factory=trio.Lock)
    _is_over: bool = False

    async def __call__(self, failed: FailedStep) -> None:
        async with self._turn:
            if self._is_over:
                return
            self._is_over = True
            container, step = self.parts.containers.get(failed.container), failed.step
            image = self.parts.images.resolve(container.image_id)
            layers = (
                self.parts.lifecycle.paths.container(container.id) / "upper",
                *(image.layers if image is not None else ()),
            )
            shell = await trio.to_thread.run_sync(find_shell, layers, step.shell, step.env)
            if shell:
                container.update(config=_with_shell(container.config, shell))
            await self.emit(
                FailedStepEvent(
                    container=container.name,
                    place=step.place.where,
                    command=step.text,
                    script=_script(step),
                    message=failed.error.message,
                    shell=shell,
                )
            )
            await container.is_removed.wait()


def _with_shell(config: ContainerConfig, shell: tuple[str, ...]) -> ContainerConfig:
    return replace(
        config,
        entrypoint=shell,
        command=(),
        tty=True,
        stdin_open=True,
        stdin_once=True,
        log=LogConfig(driver="none"),
    )


def _script(step: Run) -> str:
    if step.program is not None:
        return step.program[1].decode("utf-8", "replace")
    return step.words[-1] if "\n" in step.words[-1] else ""


def shell_of(words: Sequence[str]) -> tuple[str, ...]:
    """What to start of a SHELL for somebody who types: its program without the options, which are for scripts; of what
    starts a shell by options of its own, that shell.

    >>> shell_of(["/bin/bash", "-eo", "pipefail", "-c"])
    ('/bin/bash',)
    >>> shell_of(["busybox", "sh", "-c"]), shell_of(["conda", "run", "-n", "x", "/bin/bash", "-c"])
    (('busybox', 'sh'), ('/bin/bash',))
    """
    program = tuple(takewhile(lambda word: not word.startswith("-"), words))
    started = [word for word in words[len(program) :] if posixpath.basename(word) in _SHELLS]
    return tuple(started[:1]) or program


def find_shell(layers: Sequence[Path], shell: Sequence[str], env: Sequence[str]) -> tuple[str, ...]:
    """What SHELL starts, or else /bin/sh, if one of them is there; otherwise (). Blocking."""
    tree = Tree([layer for layer in layers if layer.is_dir()])
    path = next((item[5:] for item in env if item.startswith("PATH=")), "") or _PATH
    for words in (shell_of(shell), _FALLBACK):
        if words and _is_program(tree, words[0], path):
            return words
    return ()


def _is_program(tree: Tree, name: str, path: str) -> bool:
    places = [name] if "/" in name else [posixpath.join(directory, name) for directory in path.split(":")]
    for place in places:
        try:
            node = tree.resolve(place)[1]
        except OSError:
            continue
        if node is not None and stat.S_ISREG(node.status.st_mode) and node.status.st_mode & 0o111:
            return True
    return False
