"""``--ssh``: which agent's socket answers for which id."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence

from runtime.errors import InvalidArgument, NotFound


def agent_sockets(words: Sequence[str], env: Mapping[str, str]) -> dict[str, str]:
    """``default`` or ``ID[=SOCKET]`` each; without a socket, the agent of whoever gave the command (``env``).

    Raises InvalidArgument and NotFound for what is no agent's socket.
    """
    found: dict[str, str] = {}
    for word in words:
        name, _, path = word.partition("=")
        if "," in path:
            raise InvalidArgument(f"ssh {word}: several keys for one id are for an agent: ssh-add them")
        path = path or env.get("SSH_AUTH_SOCK", "")
        if not path:
            raise InvalidArgument(
                f"ssh {name or 'default'}: there is no agent: SSH_AUTH_SOCK is not set",
                hint="eval $(ssh-agent), then ssh-add",
            )
        try:
            mode = os.stat(path).st_mode
        except OSError as error:
            raise NotFound(f"ssh {word}: {path}: {os.strerror(error.errno or 0)}") from None
        if not stat.S_ISSOCK(mode):
            raise InvalidArgument(
                f"ssh {word}: {path} is no agent's socket: composer reads no keys",
                hint=f"give the key to an agent: ssh-add {path}",
            )
        found[name or "default"] = os.path.abspath(path)
    return found
