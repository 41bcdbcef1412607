"""``RUN --mount`` to what a step is given. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Callable

from runtime.build import steps
from runtime.build.frontend.lines import Line
from runtime.build.frontend.mounts import parse_mount, secret_id


def convert_mount(
    line: Line, text: str, source_of: Callable[[str], steps.Step], number: int = 0
) -> steps.RunMount:
    """What ``text`` says; ``source_of`` finds what ``from`` names, ``number`` is how many mounts are before it.
    Raises DockerfileError."""
    try:
        mount = parse_mount(text)
    except ValueError as error:
        raise line.error(str(error), "--mount") from None
    target = posixpath.join("/", mount.target)
    name = mount.id
    match mount.type:
        case "ssh":
            name = name or "default"
            target = target if mount.target else f"/run/buildkit/ssh_agent.{number}"
        case "secret":
            name = secret_id(mount)
            has_file = bool(mount.target) or not mount.env
            target = posixpath.join("/run/secrets", mount.target or name) if has_file else ""
        case "cache":
            name = name or target
    selection = None
    if mount.type == "bind" or (mount.type == "cache" and mount.origin):
        selection = steps.Selection(
            source=source_of(mount.origin),
            patterns=(mount.source or ".",),
            keeps_owners=bool(mount.origin),
            place=line,
        )
    return steps.RunMount(
        type=mount.type,
        target=target,
        selection=selection,
        source=mount.source,
        read_only=mount.is_read_only,
        id=name,
        sharing=mount.sharing,
        mode=mount.mode,
        uid=mount.uid,
        gid=mount.gid,
        size=mount.size,
        required=mount.is_required,
        env=mount.env,
    )
