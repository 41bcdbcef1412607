"""``RUN --mount``: what a step's container is given besides its root."""

from __future__ import annotations

import posixpath
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from runtime.build.ignore import keep_all
from runtime.build.steps import Run, RunMount, Step
from runtime.build.worker import copying
from runtime.build.worker.agent import forwarded
from runtime.build.worker.cache_mounts import CacheMounts
from runtime.build.worker.layer_tar import write_placed
from runtime.build.worker.snapshot import Snapshot
from runtime.container.config import FileContent, Mount
from runtime.files.tree import Tree
from runtime.image.model import Image
from runtime.image.unpack import unpack

Secret = bytes


@dataclass(kw_only=True)
class StepMounts:
    """What a container gets. Secrets are in ``files`` and ``env``, which nothing keeps."""

    mounts: list[Mount] = field(default_factory=list)
    files: list[FileContent] = field(default_factory=list)
    env: list[str] = field(default_factory=list)


@asynccontextmanager
async def held_mounts(
    step: Run,
    results: Mapping[Step, Snapshot],
    secrets: Mapping[str, Secret],
    agents: Mapping[str, str],
    caches: CacheMounts,
    as_image: Callable[[RunMount], Awaitable[Image]],
    scratch: Path,
) -> AsyncIterator[StepMounts]:
    """All mounts of a step, for as long as it runs. ``as_image`` copies what a mount reads of a context into an image.
    Raises DockerfileError, ComposerErrors."""
    given = StepMounts()
    async with AsyncExitStack() as stack:
        directories = await _held_caches(step, results, caches, stack)
        for mount in step.mounts:
            match mount.type:
                case "tmpfs":
                    given.mounts.append(Mount(type="tmpfs", target=mount.target, size=mount.size))
                case "secret":
                    _add_secret(given, step, mount, secrets)
                case "ssh":
                    await _add_agent(given, step, mount, agents, scratch, stack)
                case "cache":
                    directory = str(directories[mount])
                    read_only = mount.read_only
                    bind = Mount(type="bind", source=directory, target=mount.target, read_only=read_only)
                    given.mounts.append(bind)
                case _:
                    given.mounts.append(await _bind(mount, results, as_image, scratch, stack))
        if step.program is not None:
            target, content = step.program
            given.files.append(FileContent(target=target, content=content, mode=0o755))
        yield given


async def _held_caches(
    step: Run, results: Mapping[Step, Snapshot], caches: CacheMounts, stack: AsyncExitStack
) -> Mapping[RunMount, Path]:
    """In one order for all steps, so that two that lock the same caches do not wait for each other."""
    found: dict[RunMount, Path] = {}
    for mount in sorted((mount for mount in step.mounts if mount.type == "cache"), key=lambda item: item.id):
        source = results[mount.selection.source] if mount.selection is not None else None
        origin = f"{source.chain_id}{mount.source}" if source is not None else ""

        def fill(directory: Path, mount: RunMount = mount, source: Snapshot | None = source) -> None:
            if source is not None:
                copy_directory(source, mount.source, directory)

        found[mount] = await stack.enter_async_context(caches.hold(mount, origin, fill))
    return found


async def _bind(
    mount: RunMount,
    results: Mapping[Step, Snapshot],
    as_image: Callable[[RunMount], Awaitable[Image]],
    scratch: Path,
    stack: AsyncExitStack,
) -> Mount:
    assert mount.selection is not None
    snapshot = results[mount.selection.source]
    if not mount.read_only:
        # Written to, but for this step alone.
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=scratch)))
        directory.chmod(0o755)
        copied = await trio.to_thread.run_sync(copy_directory, snapshot, mount.source, directory)
        return Mount(type="bind", source=str(copied), target=mount.target)
    image, path = snapshot.image, mount.source
    if image is None:
        node = copying.chosen_sources(snapshot.tree, path or ".", snapshot.ignore)[0]
        if snapshot.ignore is keep_all:
            return Mount(type="bind", source=node.hosts[0], target=mount.target, read_only=True)
        image, path = await as_image(mount), node.path
    return Mount(type="image", source=image.id, target=mount.target, subpath=path.strip("/"), read_only=True)


def copy_directory(snapshot: Snapshot, path: str, target: Path) -> Path:
    """What is in ``path``, or the file that it is, with its owners, into an empty directory. Blocking.
    Returns where it is: the directory, or the file in it."""
    tree = snapshot.tree
    nodes = copying.chosen_sources(tree, path or ".", snapshot.ignore)
    inside = Tree([target])
    placed = copying.place(
        tree, nodes, (), inside, "/", keeps_owners=snapshot.image is not None, ignore=snapshot.ignore
    )
    with tempfile.TemporaryFile(dir=target.parent) as archive:
        write_placed(placed, archive, 0)
        archive.seek(0)
        unpack(archive, target)
    return target if nodes[0].is_directory else target / posixpath.basename(nodes[0].path)


async def _add_agent(
    given: StepMounts,
    step: Run,
    mount: RunMount,
    agents: Mapping[str, str],
    scratch: Path,
    stack: AsyncExitStack,
) -> None:
    agent = agents.get(mount.id)
    if agent is None:
        if mount.required:
            raise step.place.error(
                f"unset ssh key {mount.id}: no agent of this name was given (--ssh {mount.id})", "type=ssh"
            )
        return
    mode = 0o600 if mount.mode is None else mount.mode
    path = await stack.enter_async_context(forwarded(agent, scratch, mount.uid, mount.gid, mode))
    given.mounts.append(Mount(type="bind", source=str(path), target=mount.target))
    if not any(item.startswith("SSH_AUTH_SOCK=") for item in (*step.env, *given.env)):
        given.env.append(f"SSH_AUTH_SOCK={mount.target}")


def _add_secret(given: StepMounts, step: Run, mount: RunMount, secrets: Mapping[str, Secret]) -> None:
    content = secrets.get(mount.id)
    if content is None:
        if mount.required:
            raise step.place.error(f"secret {mount.id}: not found", mount.id)
        return
    if mount.env:
        given.env.append(f"{mount.env}={content.decode(errors='surrogateescape')}")
    if mount.target:
        given.files.append(
            FileContent(
                target=mount.target,
                content=content,
                uid=mount.uid,
                gid=mount.gid,
                mode=0o400 if mount.mode is None else mount.mode,
            )
        )
