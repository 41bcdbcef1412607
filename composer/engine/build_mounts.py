"""``RUN --mount``: what a step's container is given besides its root, and what of it the cache depends on."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import trio

from runtime.build.frontend.lines import Line
from runtime.build.worker import copying
from runtime.build.worker.layer_tar import digest_placed
from runtime.container.config import FileContent, Mount
from runtime.files.tree import Tree
from runtime.image.model import Image

Secret = bytes
_KNOWN = {
    "bind": ("type", "target", "source", "from", "ro", "readonly"),
    "cache": ("type", "id", "target", "sharing", "mode", "uid", "gid"),
    "tmpfs": ("type", "target", "size"),
    "secret": ("type", "id", "target", "required", "mode", "uid", "gid", "env"),
}
_ALIASES = {"dst": "target", "destination": "target", "src": "source"}


@dataclass(frozen=True)
class StepMounts:
    """What a container gets. ``facts`` tell steps apart; secrets are not in them."""

    mounts: tuple[Mount, ...] = ()
    files: tuple[FileContent, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    facts: tuple[object, ...] = ()


async def step_mounts(
    before: StepMounts,
    line: Line,
    text: str,
    *,
    context: Path,
    secrets: Mapping[str, Secret],
    cache_directory: Callable[[str], Path],
    image_of: Callable[[str], Awaitable[Image]],
) -> StepMounts:
    """``before`` and one more mount, as ``key=value,...`` describes it. Raises DockerfileError."""
    options: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        options[_ALIASES.get(key.lower(), key.lower())] = value if equals else "true"
    kind = options.get("type", "bind")
    if kind not in _KNOWN:
        raise line.error(f"RUN --mount=type={kind} is not supported by composer", kind)
    for key in options:
        if key not in _KNOWN[kind]:
            raise line.error(f"option {key} of RUN --mount=type={kind} is not supported by composer", key)
    target = posixpath.join("/", options.get("target", ""))
    if kind == "secret":
        return _secret(before, line, options, secrets)
    if target == "/":
        raise line.error("RUN --mount needs a target", "--mount")
    if kind == "tmpfs":
        mount = Mount(type="tmpfs", target=target, size=int(options.get("size", "0") or 0))
        return _with(before, mount, ("tmpfs", target))
    if kind == "cache":
        directory = cache_directory(options.get("id") or target)
        if not directory.is_dir():
            directory.mkdir(parents=True)
            directory.chmod(int(options.get("mode", "0755"), 8))
            os.chown(directory, int(options.get("uid", "0")), int(options.get("gid", "0")))
        return _with(before, Mount(type="bind", source=str(directory), target=target), ("cache", target))
    source = options.get("source", "")
    if name := options.get("from", ""):
        image = await image_of(name)
        mount = Mount(type="image", source=image.id, target=target, subpath=source.strip("/"), read_only=True)
        return _with(before, mount, ("bind", image.id, source, target))
    tree = Tree([context])
    node = copying.chosen_sources(tree, source or ".")[0]

    def digest() -> str:
        return digest_placed(copying.place(tree, [node], (), tree, "/" + "x" * 64))

    facts = ("bind", await trio.to_thread.run_sync(digest), target)
    return _with(before, Mount(type="bind", source=node.hosts[0], target=target, read_only=True), facts)


def _with(before: StepMounts, mount: Mount, facts: tuple[object, ...]) -> StepMounts:
    return replace(before, mounts=(*before.mounts, mount), facts=(*before.facts, facts))


def _secret(
    before: StepMounts, line: Line, options: Mapping[str, str], secrets: Mapping[str, Secret]
) -> StepMounts:
    name = options.get("id") or posixpath.basename(options.get("target", ""))
    variable, target = options.get("env", ""), options.get("target", "")
    target = target or ("" if variable else f"/run/secrets/{name}")
    facts = (*before.facts, ("secret", name, target, variable))
    content = secrets.get(name)
    if content is None:
        if options.get("required", "false") == "true":
            raise line.error(f"secret {name}: not found", name)
        return replace(before, facts=facts)
    env = {**before.env, variable: content.decode(errors="surrogateescape")} if variable else before.env
    files = before.files
    if target:
        made = FileContent(
            target=posixpath.join("/", target),
            content=content,
            uid=int(options.get("uid", "0")),
            gid=int(options.get("gid", "0")),
            mode=int(options.get("mode", "0400"), 8),
        )
        files = (*files, made)
    return replace(before, files=files, env=env, facts=facts)
