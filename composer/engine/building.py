"""Building an image: the stages of a Dockerfile one after another, each step from the cache when nothing that it
reads has changed.

The cache is a record in the database for each step (key: what it depends on, value: the image after it), written
when the layer is complete: whatever ends the engine, a record is true or not there. RUN is a container of ours whose
upper directory becomes the layer.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import msgspec
import trio
from msgspec.structs import replace

from composer.engine.build_copy import place_copy, read_copy
from composer.engine.build_mounts import StepMounts, step_mounts
from composer.engine.build_options import BuildOptions
from composer.engine.projects.parts import Parts
from runtime.build.frontend.expand import json_words
from runtime.build.frontend.lines import DockerfileError, Line, heredoc_command, is_script, parse_lines
from runtime.build.frontend.settings import SETTINGS, assignments, configure, environment
from runtime.build.frontend.stages import (
    Dockerfile,
    Stage,
    arguments_of,
    expanded,
    parse_dockerfile,
    platform_arguments,
)
from runtime.build.ignore import Ignore
from runtime.build.worker import copying
from runtime.build.worker.layer_tar import Placed, digest_placed, write_changes, write_placed
from runtime.container.config import ContainerConfig, FileContent, Healthcheck, ImageConfig
from runtime.errors import ComposerError, InvalidArgument, NotFound
from runtime.files.tree import Tree
from runtime.image.model import Image
from runtime.storage.paths import Paths
from runtime.storage.state import StateDatabase

KIND = "build-step"
_STEP = "composer.build.step"
"""Label of the containers of steps: those that a killed engine leaves are removed when the next one starts."""
_LAST_LINES = 20
"""Of a failed step's output, in its error."""
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PREDEFINED = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")

Tell = Callable[[str, str, str], Awaitable[None]]
"""Told of progress: the step's title, its status (Building, Cached, Built), a line of output."""


@dataclass
class _State:
    """A stage so far."""

    stage: Stage
    image: Image | None
    """With all layers so far; None: there are none."""
    config: ImageConfig
    arguments: dict[str, str] = field(default_factory=dict)
    history: list[dict[str, object]] = field(default_factory=list)
    """Of the instructions since ``image``."""
    has_command: bool = False
    on_build: list[str] = field(default_factory=list)

    @property
    def variables(self) -> dict[str, str]:
        return {**environment(self.config), **self.arguments}


class Builder:
    """Builds images, any number at a time."""

    def __init__(self, parts: Parts, database: StateDatabase, paths: Paths) -> None:
        self.parts = parts
        self._database = database
        self._paths = paths
        self._turns: dict[str, trio.Lock] = {}

    async def build(self, options: BuildOptions, tell: Tell) -> Image:
        """Build, tag and return the image. Raises ComposerErrors: DockerfileError, NotFound, a failed step."""
        return await _Build(self, options, tell).run()

    async def discard_interrupted(self) -> None:
        """Remove the containers of steps that an engine was killed in."""
        for container in self.parts.containers.all():
            if _STEP in container.config.labels:
                await self.parts.lifecycle.remove(container.id, force=True, volumes=True)

    def cached(self, key: str) -> Image | None:
        """The image after a step that was done before."""
        image_id = self._database.get(KIND, key)
        return self.parts.images.image(image_id.decode()) if image_id is not None else None

    def remember(self, key: str, image: Image) -> None:
        self._database.put(KIND, key, image.id.encode())

    def turn(self, key: str) -> trio.Lock:
        """Held while a step is done: equal ones of other builds wait and find it in the cache."""
        return self._turns.setdefault(key, trio.Lock())

    def cache_directory(self, name: str) -> Path:
        """Of a ``RUN --mount=type=cache``."""
        return self._paths.lib / "build-cache" / hashlib.sha256(name.encode()).hexdigest()[:32]

    def upper(self, container_id: str) -> str:
        return str(self._paths.container(container_id) / "upper")

    def scratch_file(self) -> IO[bytes]:
        """For a layer on its way."""
        return tempfile.TemporaryFile(dir=self._paths.images)


class _Build:
    def __init__(self, builder: Builder, options: BuildOptions, tell: Tell) -> None:
        self.builder = builder
        self.parts = builder.parts
        self.options = options
        self._tell = tell
        self._platform = platform_arguments(builder.parts.images.platform_of("").architecture)
        self.file: Dockerfile = parse_dockerfile(
            options.dockerfile, options.arguments, self._platform, options.file
        )
        self._done: dict[int, _State] = {}
        self._total = 0
        self._number = 0

    async def run(self) -> Image:
        stages = self.file.needed(self.options.target)
        self._total = sum(1 + sum(line.name != "ARG" for line in stage.lines) for stage in stages)
        for stage in stages:
            self._done[stage.number] = await self._stage(stage)
        state = self._done[stages[-1].number]
        config = state.config
        if self.options.labels:
            config = replace(config, labels={**config.labels, **self.options.labels})
        return await self.parts.images.derive(
            state.image, config, None, state.history, tags=self.options.tags, on_build=state.on_build
        )

    async def _stage(self, stage: Stage) -> _State:
        if stage.platform and self.parts.images.platform_of(stage.platform) != self.parts.images.platform_of(
            ""
        ):
            raise stage.origin.error(
                f"platform {stage.platform} is not this machine's; composer builds for it alone", "--platform"
            )
        title = self._title(stage, f"FROM {stage.base}")
        await self._tell(title, "Building", "")
        earlier = self.file.before(stage, stage.base)
        if earlier is not None:
            before = self._done[earlier.number]
            state = _State(
                stage, before.image, before.config, dict(before.arguments), history=list(before.history)
            )
        elif stage.base == "scratch":
            state = _State(stage, None, ImageConfig(env=(_PATH,)))
        else:
            image = await self._image(stage.origin, stage.base)
            config = image.config
            if not any(item.startswith("PATH=") for item in config.env):
                config = replace(config, env=(*config.env, _PATH))
            state = _State(stage, image, config)
        await self._tell(title, "Built", "")
        lines = list(stage.lines)
        if earlier is None and state.image is not None and state.image.on_build:
            lines = [*parse_lines("\n".join(state.image.on_build), "ONBUILD of " + stage.base), *lines]
        for line in lines:
            try:
                await self._line(state, line)
            except DockerfileError:
                raise
            except ComposerError as error:
                raise error.within(f"{line.file}:{line.number}: {line.source.strip()}") from None
        return state

    async def _image(self, line: Line, name: str) -> Image:
        """An image that the Dockerfile names, pulled when it has to be."""
        named = self.options.contexts.get(name, "")
        reference = named.removeprefix("docker-image://") if named.startswith("docker-image://") else name
        image = self.parts.images.resolve(reference)
        if image is None or (self.options.pull and image.tags):
            await self.parts.pull_image(reference, "", lambda *_: None, self.options.credentials)
            image = self.parts.images.get(reference)
        if image.is_embedded:
            raise line.error(f"{reference} is this machine itself: nothing can be built on it", reference)
        return image

    def _title(self, stage: Stage, text: str) -> str:
        self._number += 1
        name = f"{stage.name} " if stage.name else ""
        return f"[{name}{self._number}/{self._total}] {' '.join(text.split())[:100]}"

    async def _line(self, state: _State, line: Line) -> None:
        escape = self.file.escape
        if line.name == "ARG":
            for name, default in arguments_of(line, state.variables, escape):
                value = self.options.arguments.get(name)
                value = self._platform.get(name) if value is None and default is None else value
                value = self.file.arguments.get(name) if value is None and default is None else value
                value = default if value is None else value
                if value is not None:
                    state.arguments[name] = value
            state.history.append({"created_by": f"ARG {line.rest}", "empty_layer": True})
            return
        title = self._title(state.stage, f"{line.name} {line.rest}")
        if line.name == "ONBUILD":
            state.on_build.append(line.text)
            return
        if line.name in SETTINGS:
            state.config = configure(
                state.config, line, state.variables, escape, is_own_command=state.has_command
            )
            state.has_command = state.has_command or line.name == "CMD"
            if line.name == "ENV":
                for name in assignments(line, state.variables, escape):
                    state.arguments.pop(name, None)
            if line.name == "WORKDIR":
                await self._workdir(state, title)
                return
        elif line.name == "RUN":
            await self._run(state, line, title)
            return
        else:
            await self._copy(state, line, title)
            return
        state.history.append({"created_by": f"{line.name} {line.rest}", "empty_layer": True})

    async def _step(
        self, state: _State, title: str, facts: object, make: Callable[[IO[bytes]], Awaitable[None]]
    ) -> None:
        """Take a step from the cache, or ``make`` its layer (a tar) and remember it."""
        below = state.image.id if state.image is not None else ""
        key = hashlib.sha256(
            repr((below, msgspec.json.encode(state.config), state.history, facts)).encode("utf-8", "replace")
        ).hexdigest()
        fresh = self.options.no_cache or (
            state.stage.name != "" and state.stage.name in self.options.no_cache_stages
        )
        async with self.builder.turn(key):
            image = None if fresh else self.builder.cached(key)
            if image is not None:
                await self._tell(title, "Cached", "")
            else:
                await self._tell(title, "Building", "")
                with self.builder.scratch_file() as layer:
                    await make(layer)
                    layer.seek(0)
                    entry = {"created_by": title.partition("] ")[2]}
                    config = replace(state.config, volumes=(), healthcheck=None)
                    image = await self.parts.images.derive(
                        state.image,
                        config,
                        layer,
                        [*state.history, entry],
                        created=int(time.time()),
                        is_step=True,
                    )
                self.builder.remember(key, image)
                await self._tell(title, "Built", "")
        state.image, state.history = image, []

    def _tree(self, state: _State) -> Tree:
        return Tree(state.image.layers if state.image is not None else [self.parts.images.empty_layer])

    async def _workdir(self, state: _State, title: str) -> None:
        tree = self._tree(state)
        placed = await trio.to_thread.run_sync(copying.make_directories, tree, state.config.working_dir)
        if placed:
            await self._placed_step(state, title, placed)
        else:
            state.history.append({"created_by": title.partition("] ")[2], "empty_layer": True})

    async def _placed_step(self, state: _State, title: str, placed: Sequence[Placed]) -> None:
        digest = await trio.to_thread.run_sync(digest_placed, placed)

        async def make(layer: IO[bytes]) -> None:
            await trio.to_thread.run_sync(write_placed, placed, layer, int(time.time()))

        await self._step(state, title, ("placed", digest), make)

    async def _source(self, state: _State, line: Line, name: str) -> tuple[Tree, Ignore]:
        """The tree that ``--from`` names, or the context."""
        if not name:
            return Tree([self.options.context]), self.options.ignore
        stage = self.file.before(state.stage, name)
        if stage is not None:
            return self._tree(self._done[stage.number]), copying.keep_all
        context = self.options.contexts.get(name, "")
        if context and not context.startswith("docker-image://"):
            return Tree([Path(context)]), copying.keep_all
        image = await self._image(line, name)
        return Tree(image.layers), copying.keep_all

    async def _copy(self, state: _State, line: Line, title: str) -> None:
        """COPY and ADD."""
        step = read_copy(line, state.variables, self.file.escape, state.config.working_dir)
        tree, ignore = await self._source(state, line, step.origin)
        with ExitStack() as held:
            try:
                placed = await place_copy(step, tree, ignore, self._tree(state), held)
            except DockerfileError:
                raise
            except OSError as error:
                raise line.error(f"{os.strerror(error.errno or 0)}: {error.filename}") from None
            except (NotFound, InvalidArgument) as error:
                raise line.error(error.message.partition("\n")[0]) from None
            await self._placed_step(state, title, placed)

    async def _run(self, state: _State, line: Line, title: str) -> None:
        if state.image is None:
            raise line.error("RUN needs a program, and FROM scratch has none")
        mounts = StepMounts()
        network = self.options.network
        for name, value in line.flags:
            if name == "mount":
                mounts = await step_mounts(
                    mounts,
                    line,
                    expanded(line, value, state.variables, self.file.escape),
                    context=self.options.context,
                    secrets=self.options.secrets,
                    cache_directory=self.builder.cache_directory,
                    image_of=lambda name: self._image_named(state, line, name),
                )
            elif name == "network" and value in ("default", "none", "host"):
                network = "bridge" if value == "default" else value
            else:
                raise line.error(f"RUN --{name}={value} is not supported by composer", f"--{name}")
        text = heredoc_command(line) if line.heredocs else line.rest
        words = json_words(text) or (*(state.config.shell or ("/bin/sh", "-c")), text)
        files = mounts.files
        if is_script(line) and text.startswith("#!"):
            script = FileContent(
                target=f"/dev/pipes/{line.heredocs[0].name}", content=text.encode(), mode=0o755
            )
            words, files = (script.target,), (*files, script)
        proxies = {
            name: value
            for name, value in self.options.arguments.items()
            if name.upper() in _PREDEFINED and name not in state.arguments
        }
        env = tuple(f"{name}={value}" for name, value in state.variables.items())
        facts = ("run", words, text, env, network, mounts.facts)

        async def make(layer: IO[bytes]) -> None:
            extra = tuple(f"{name}={value}" for name, value in {**proxies, **mounts.env}.items())
            config = ContainerConfig(
                image=await self._runnable(state),
                entrypoint=words,
                command=(),
                env=(*env, *extra),
                working_dir=state.config.working_dir or "/",
                user=state.config.user,
                labels={_STEP: self.options.file},
                healthcheck=Healthcheck(test=("NONE",)),
                mounts=mounts.mounts,
                files=files,
                network_mode=network,
                extra_hosts=self.options.extra_hosts,
                shm_size=self.options.shm_size,
                ulimits=self.options.ulimits,
            )
            await self._contain(config, line, title, layer)

        await self._step(state, title, facts, make)

    async def _image_named(self, state: _State, line: Line, name: str) -> Image:
        """What ``--mount=from`` names: a stage so far, or an image."""
        stage = self.file.before(state.stage, name)
        if stage is None:
            return await self._image(line, name)
        image = self._done[stage.number].image
        if image is None:
            raise line.error(f"stage {name} is empty", name)
        return image

    async def _runnable(self, state: _State) -> str:
        """The id of an image without volumes: what RUN writes to them belongs to the layer."""
        if state.image is None or not state.image.config.volumes:
            return state.image.id if state.image is not None else ""
        config = replace(state.config, volumes=(), healthcheck=None)
        return (await self.parts.images.derive(state.image, config, None, [], is_step=True)).id

    async def _contain(self, config: ContainerConfig, line: Line, title: str, layer: IO[bytes]) -> None:
        """Run a step's container to its end and write what it changed to ``layer``."""
        container = await self.parts.create(config, f"build-{os.urandom(6).hex()}")
        last: deque[str] = deque(maxlen=_LAST_LINES)
        try:
            await self.parts.lifecycle.start(container.id)
            async for entry in self.parts.logs.read(container, follow=True):
                text = entry.data.decode(errors="replace").rstrip("\r")
                last.append(text)
                await self._tell(title, "Building", text)
            status = await self.parts.lifecycle.wait(container.id)
            if status:
                shown = "\n".join(f"  | {text}" for text in last)
                raise line.error(
                    f"process {' '.join(config.entrypoint or ())!r} did not complete successfully: "
                    f"exit code: {status}",
                    details=shown,
                )
            await trio.to_thread.run_sync(write_changes, self.builder.upper(container.id), layer)
        finally:
            with trio.CancelScope(shield=True):
                await self.parts.lifecycle.remove(container.id, force=True, volumes=True)
