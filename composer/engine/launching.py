"""From a container's record to what the shim needs: gathers layers, volumes, namespaces and the sandbox."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import trio
from msgspec.structs import replace

from composer.engine.containers import Container, Containers
from composer.engine.model import ExecConfig
from composer.engine.networking.sandboxes import Sandboxes
from composer.engine.volumes import Volumes
from runtime.container.cdi import Edits
from runtime.container.cdi_files import make_nodes, read_registry
from runtime.container.config import ContainerConfig, Hook, Mount
from runtime.container.exec_process import exec_process
from runtime.container.host import find_tools, place_of
from runtime.container.host_facts import HostFacts
from runtime.container.spec import LaunchInputs, build_launch_spec
from runtime.container.wire import ExecSpec, LaunchSpec, Process, Tools
from runtime.errors import ComposerError, Conflict
from runtime.image.store import ImageStore
from runtime.storage.files import storage_error
from runtime.storage.paths import Paths
from runtime.storage.volumes import Tmpfs


@dataclass
class Launching:
    """Prepares starts and execs. Everything it makes on the way is undone by ``Sandboxes.release``."""

    containers: Containers
    volumes: Volumes
    images: ImageStore
    sandboxes: Sandboxes
    paths: Paths
    host: HostFacts
    devices_of: Callable[
        [ContainerConfig], tuple[Sequence[tuple[str, str, int, int, int, int, int]], Sequence[str]]
    ]
    """Device nodes and cgroup rules for the devices that a configuration names."""

    async def prepare(self, container: Container) -> LaunchSpec:
        """Make what must be there before a start (network, files), and decide the rest. Raises ComposerError."""
        if container.is_remnant:
            raise ComposerError(
                f"container {container.name} cannot be started again: what it was made from is lost with the engine's "
                "database",
                hint=f"composer container rm {container.name}, then make it anew",
            )
        edits = await self.named_devices(container.config)
        config = self._effective(container, edits)
        image = self.images.resolve(container.image_id)
        if image is None:
            raise ComposerError(
                f"the image of container {container.name} ({container.image_ref}) is gone",
                hint=f"composer image pull {container.image_ref}, then up again",
            )
        run_dir, state_dir = self.paths.container_run(container.id), self.paths.container(container.id)
        for directory in (run_dir, state_dir):
            try:
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise storage_error(error, "create", directory) from error
        sandbox = await self.sandboxes.prepare(container)
        devices, rules = self.devices_of(config)
        named, named_rules = make_nodes(edits.nodes, place_of)
        devices, rules = (*devices, *named), (*rules, *named_rules)
        layers: Sequence[Path] = image.layers
        if config.debugs:
            upper = self.paths.container(config.debugs) / "upper"
            layers = [upper, *layers] if upper.is_dir() else layers
        spec = build_launch_spec(
            LaunchInputs(
                id=container.id,
                name=container.name,
                config=config,
                image=container.image,
                layers=layers,
                state_dir=state_dir,
                run_dir=run_dir,
                hostname=self._hostname(container),
                host=self.host,
                sandbox=sandbox,
                volumes={
                    name: Path(self.volumes.mountpoint(name))
                    for name in {
                        *container.record.volumes.values(),
                        *(m.source for m in config.mounts if m.type == "volume" and m.source),
                    }
                },
                anonymous={
                    target: Path(self.volumes.mountpoint(name))
                    for target, name in container.record.volumes.items()
                    if name in container.record.anonymous
                },
                images={
                    mount.source: self._layers_of(mount.source)
                    for mount in config.mounts
                    if mount.type == "image"
                },
                devices=devices,
                device_rules=rules,
                join=self._join(config),
            )
        )
        if config.debugs:
            shown = self.containers.get(config.debugs)
            asked = ExecConfig(
                cmd=config.command or (),
                env=config.env,
                user=config.user,
                working_dir=config.working_dir,
                tty=config.tty,
                console_size=config.console_size,
                privileged=config.privileged,
            )
            return replace(spec, process=await self._debug_process(shown, asked))
        return spec

    def _hostname(self, container: Container) -> str:
        """As it was written into the container's /etc/hostname; "" where that is gone."""
        try:
            return (self.paths.container_run(container.id) / "hostname").read_text().strip()
        except FileNotFoundError:
            return ""

    def _layers_of(self, reference: str) -> Sequence[Path]:
        image = self.images.resolve(reference)
        if image is None:
            raise ComposerError(
                f"image {reference} (to be mounted) is not here", hint=f"composer image pull {reference}"
            )
        return image.layers

    async def named_devices(self, config: ContainerConfig) -> Edits:
        """What the devices that are asked for by name add. Raises InvalidArgument."""
        if not config.device_requests:
            return Edits()
        registry = await trio.to_thread.run_sync(read_registry)
        return registry.edits(config.device_requests)

    def _effective(self, container: Container, edits: Edits) -> ContainerConfig:
        """The configuration with inherited mounts, volumes' driver options, the host image's binds and what devices
        bring along put in."""
        config = container.config
        inherited = self.containers.inherited_mounts(config)
        taken = {mount.target for mount in config.mounts}
        brought = [mount for mount in edits.mounts if mount.target not in taken]
        mounts = [self._resolve_volume(mount) for mount in config.mounts]
        mounts += [self._resolve_volume(m) for target, m in inherited.items() if target not in taken]
        image = self.images.resolve(container.image_id)
        binds = [
            Mount(type="bind", source=str(source), target=target, read_only=True, propagation="rprivate")
            for source, target in (image.binds if image is not None else ())
        ]
        env, files = container.unrecorded
        return replace(
            config,
            mounts=(*binds, *mounts, *brought),
            env=(*config.env, *env, *edits.env),
            files=(*config.files, *files),
            group_add=(*config.group_add, *edits.groups),
        )

    def _resolve_volume(self, mount: Mount) -> Mount:
        """A volume with driver options is not a directory of ours: mount what they say."""
        if mount.type != "volume" or not mount.source:
            return mount
        source = self.volumes.source(mount.source)
        if isinstance(source, Tmpfs):
            return Mount(type="tmpfs", target=mount.target, read_only=mount.read_only, options=source.options)
        return mount

    def _join(self, config: ContainerConfig) -> dict[str, int]:
        joins: dict[str, int] = {}
        modes = {
            "pid": config.pid_mode,
            "ipc": config.ipc_mode,
            "uts": config.uts_mode,
            "net": config.network_mode,
        }
        for kind, mode in modes.items():
            if mode.startswith("container:"):
                joins[kind] = self._init_of(mode.removeprefix("container:"), kind)
        return joins

    def _init_of(self, ref: str, kind: str) -> int:
        other = self.containers.get(ref)
        if other.shim is None or not other.state.is_alive:
            raise Conflict(f"cannot join the {kind} namespace of container {other.name}: it is not running")
        if kind == "ipc" and other.config.ipc_mode in ("", "private", "none"):
            raise Conflict(
                f"can't join IPC of container {other.name}: non-shareable IPC",
                hint="set ipc: shareable for that one",
            )
        return other.shim.pid

    def exec_spec(
        self,
        container: Container,
        argv: Sequence[str],
        *,
        env: Sequence[str] = (),
        cwd: str = "",
        user: str = "",
        tty: bool = False,
        privileged: bool = False,
    ) -> ExecSpec:
        """A process beside the container's own, confined as it is."""
        asked = ExecConfig(
            cmd=tuple(argv), env=tuple(env), working_dir=cwd, user=user, tty=tty, privileged=privileged
        )
        return ExecSpec(process=self._process(container, asked))

    async def debug_spec(self, container: Container, asked: ExecConfig) -> ExecSpec:
        """A process beside the container's own, with this machine's programs."""
        return ExecSpec(process=await self._debug_process(container, asked))

    async def _debug_process(self, container: Container, asked: ExecConfig) -> Process:
        return self._process(container, asked, await trio.to_thread.run_sync(find_tools))

    def _process(self, container: Container, asked: ExecConfig, tools: Tools | None = None) -> Process:
        return exec_process(
            container.config,
            container.image,
            self.host,
            asked.cmd,
            env=asked.env,
            cwd=asked.working_dir,
            user=asked.user,
            tty=asked.tty,
            window=asked.console_size,
            privileged=asked.privileged,
            hostname=self._hostname(container),
            tools=tools,
        )

    def hook_spec(self, container: Container, hook: Hook) -> ExecSpec:
        """A post_start or pre_stop hook."""
        return self.exec_spec(
            container,
            hook.command,
            env=hook.env,
            cwd=hook.working_dir,
            user=hook.user,
            privileged=hook.privileged,
        )
