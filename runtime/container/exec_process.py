"""What a process beside a container's init is like: one that a command, a probe or a hook asked for, or one with this
machine's tools that looks into the container for a person. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from runtime.container.config import ContainerConfig, ImageConfig
from runtime.container.confinement import SecurityOptions, confine
from runtime.container.debugging import confine_debugging, debug_environment
from runtime.container.host_facts import HostFacts
from runtime.container.spec import effective_environment
from runtime.container.wire import Process, Tools
from runtime.errors import InvalidArgument
from runtime.kernel.users import check_user


def exec_process(
    config: ContainerConfig,
    image: ImageConfig,
    host: HostFacts,
    argv: Sequence[str],
    *,
    env: Sequence[str] = (),
    cwd: str = "",
    user: str = "",
    tty: bool = False,
    window: tuple[int, int] = (0, 0),
    privileged: bool = False,
    hostname: str = "",
    tools: Tools | None = None,
) -> Process:
    """A process confined as the container is; ``env`` adds to the container's. With ``tools`` it has these for its
    programs, may look at more, and is root unless ``user`` says otherwise. ``privileged`` gives the engine's
    capabilities; the container's filter of system calls and its profile stay, as in Docker. Raises InvalidArgument."""
    if not argv:
        raise InvalidArgument("no exec command specified")
    directory = config.working_dir or image.working_dir or "/"
    if tools is not None:
        theirs = effective_environment(config, image, hostname)
        return Process(
            argv=tuple(argv),
            env=debug_environment(theirs, tools, env),
            cwd=cwd,
            user=check_user(user),
            tty=tty,
            window=window,
            tools=replace(tools, cwd=directory),
            confinement=confine_debugging(config, host, privileged=privileged),
        )
    confinement = confine(config, host, SecurityOptions.parse(config.security_opt))
    if privileged:
        confinement = replace(confinement, bounding=host.capabilities, effective=host.capabilities)
    merged = replace(config, env=(*config.env, *env), tty=tty or config.tty)
    return Process(
        argv=tuple(argv),
        env=effective_environment(merged, image, hostname),
        cwd=cwd or directory,
        user=check_user(user or config.user or image.user),
        groups=() if user else config.group_add,
        tty=tty,
        window=window,
        image=config.image,
        confinement=confinement,
    )
