"""Looking into a container with this machine's programs: beside its processes, or into the files that it has left.

A running container gets one more process (an exec). One that does not run is shown by a container of its own, which
goes with its command: the files are those of the other one, and what is changed in them is changed in a layer of this
one; volumes and binds are the real ones.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from msgspec.structs import replace

from composer.engine.containers import Container, Containers
from composer.engine.execs import Execs
from composer.engine.model import ExecConfig
from composer.engine.volumes import Volumes
from runtime.container.config import ContainerConfig, Healthcheck, ImageConfig, LogConfig, Mount
from runtime.container.host import debugging_shell

LABEL = "composer.debugs"
"""On the container that shows another one's files: that one's id."""


@dataclass
class Debugging:
    containers: Containers
    execs: Execs
    volumes: Volumes

    async def open(self, ref: str, config: ExecConfig) -> tuple[Literal["Exec", "Container"], str]:
        """What is to be started (an exec or a container), and its id. Without a command it is a shell; a first word
        of "-c" stands for a shell, too, which then gets all the words."""
        container = self.containers.get(ref)
        if not config.cmd or config.cmd[0] == "-c":
            config = replace(config, cmd=(*debugging_shell(), *config.cmd))
        config = replace(config, debugs=True)
        if container.state.is_alive:
            return "Exec", await self.execs.create(ref, config)
        return "Container", self._container_for(container, config)

    def _container_for(self, container: Container, config: ExecConfig) -> str:
        name = f"debug-{container.name}-{secrets.token_hex(2)}"
        shown = ContainerConfig(
            image=container.image_ref,
            command=config.cmd,
            env=config.env,
            working_dir=config.working_dir,
            user=config.user,
            hostname=container.config.hostname or container.id[:12],
            labels={LABEL: container.id},
            tty=config.tty,
            console_size=config.console_size,
            stdin_open=config.attach_stdin,
            stdin_once=True,
            healthcheck=Healthcheck(test=("NONE",)),
            auto_remove=True,
            mounts=tuple(self._mounts(container)),
            files=tuple(file for file in container.config.files if _is_there(file.source)),
            devices=tuple(device for device in container.config.devices if _is_there(device.source)),
            device_cgroup_rules=container.config.device_cgroup_rules,
            shm_size=container.config.shm_size,
            network_mode="none",
            privileged=config.privileged,
            resources=container.config.resources,
            log=LogConfig(driver="none"),
            debugs=container.id,
        )
        made = self.containers.add(
            shown,
            name,
            image_id=container.image_id,
            image=ImageConfig(),
            volumes=self.volumes,
            endpoints={},
        )
        made.unrecorded = container.unrecorded
        return made.id

    def _mounts(self, container: Container) -> Iterator[Mount]:
        """What the container mounts and is still there, in the same places."""
        own = {mount.target: mount for mount in container.config.mounts}
        inherited = self.containers.inherited_mounts(container.config)
        for mount in {**inherited, **own}.values():
            if mount.type != "volume" and (mount.type != "bind" or _is_there(mount.source)):
                yield replace(mount, create_host_path=False)
        for target, name in container.record.volumes.items():
            if self.volumes.find(name) is not None:
                asked = own.get(target) or Mount(type="volume", target=target)
                yield replace(asked, source=name, nocopy=True)


def _is_there(source: str) -> bool:
    return not source or os.path.lexists(source)
