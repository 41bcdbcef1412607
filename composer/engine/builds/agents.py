"""``--ssh``: which agent's socket answers for which id."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack

from composer.engine.builds.contexts import Contexts
from runtime.build.worker.ssh_agents import agent_with
from runtime.errors import InvalidArgument, NotFound


async def agent_sockets(
    words: Sequence[str], env: Mapping[str, str], contexts: Contexts, held: AsyncExitStack
) -> dict[str, str]:
    """``default`` or ``ID[=SOCKET|KEY[,KEY]]`` each; without a path, the agent of whoever gave the command (``env``).
    For keys an agent is started, for the length of ``held``.

    Raises ComposerErrors for what is neither an agent's socket nor a key.
    """
    found: dict[str, str] = {}
    for word in words:
        name, _, text = word.partition("=")
        name = name or "default"
        if name in found:
            raise InvalidArgument(f"ssh {word}: there is one for the id {name} already")
        paths = [path for path in text.split(",") if path] or [env.get("SSH_AUTH_SOCK", "")]
        if not paths[0]:
            raise InvalidArgument(
                f"ssh {name}: there is no agent: SSH_AUTH_SOCK is not set",
                hint="eval $(ssh-agent), then ssh-add; or name a key: --ssh ID=FILE",
            )
        kinds = {_is_socket(word, path) for path in paths}
        if kinds == {True} and len(paths) == 1:
            found[name] = os.path.abspath(paths[0])
        elif kinds == {False}:
            directory = contexts.directory(held)
            found[name] = await held.enter_async_context(agent_with(paths, directory, env))
        else:
            raise InvalidArgument(f"ssh {word}: one socket, or keys, not both")
    return found


def _is_socket(word: str, path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError as error:
        raise NotFound(f"ssh {word}: {path}: {os.strerror(error.errno or 0)}") from None
