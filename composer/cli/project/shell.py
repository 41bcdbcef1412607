"""``shell``: a shell on the project's networks, with the programs of this machine."""

from __future__ import annotations

import os

from composer.api.client import API
from composer.cli.arguments import Command, Flag
from runtime.errors import ComposerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from composer.cli.arguments import Arguments
    from composer.cli.session import Session

IMAGE = "composer.local/host"
"""The machine's own root, which what the shell writes does not change."""


def run_shell(session: Session, arguments: Arguments) -> int:
    """A container on all networks of the project, that goes when its command ends. The exit status is the command's."""
    project = session.resolve()
    name = project["Name"]
    filters = {"label": [f"com.docker.compose.project={name}"]}
    found = session.client.request("GET", f"{API}/networks", {"filters": filters}).json()
    networks = {network["Name"] for network in found}
    for container in project["Containers"]:
        networks |= set(container["Networks"])
    if wanted := arguments.list("network"):
        missing = [network for network in wanted if not {network, f"{name}_{network}"} & networks]
        if missing:
            raise ComposerError(
                f"project {name} has no network {missing[0]}",
                hint=f"its networks: {', '.join(sorted(networks)) or 'none'}",
            )
        networks = {network if network in networks else f"{name}_{network}" for network in wanted}
    if not networks:
        raise ComposerError(f"project {name} is on no network", hint="composer up -d makes its networks")
    body = _container(name, sorted(networks), arguments, session)
    container_id = session.client.request("POST", f"{API}/containers/create", body=body).json()["Id"]
    from composer.cli.project.attach import converse_with

    return converse_with(session, container_id, stdin=True, start=True)


def _container(name: str, networks: list[str], arguments: Arguments, session: Session) -> dict[str, Any]:
    is_terminal = os.isatty(0) and os.isatty(1)
    kept = ("TERM", "LANG", "LC_ALL", "HOME", "COLORTERM")
    return {
        "Image": IMAGE,
        "Hostname": f"{name}-shell"[:63],
        "Cmd": arguments.words or [session.env.get("SHELL") or "/bin/sh"],
        "Env": [f"{key}={session.env[key]}" for key in kept if key in session.env],
        "Tty": is_terminal,
        "OpenStdin": True,
        "StdinOnce": True,
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "WorkingDir": "/",
        "HostConfig": {"AutoRemove": True, "Init": True, "NetworkMode": networks[0]},
        "NetworkingConfig": {"EndpointsConfig": {network: {} for network in networks}},
    }


COMMANDS = {
    "shell": Command(
        "shell [OPTIONS] [COMMAND] [ARGS...]",
        "Open a shell on the project's networks, where its services' names resolve",
        run_shell,
        (Flag("network", kind="stringArray", help="Only on this network of the project"),),
        is_interspersed=False,
    )
}
