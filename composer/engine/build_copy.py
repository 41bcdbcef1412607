"""COPY and ADD: what an instruction puts where, with what ADD unpacks and fetches."""

from __future__ import annotations

import hashlib
import io
import os
import posixpath
import stat
import tarfile
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx
import trio

from runtime.build.frontend.expand import json_words
from runtime.build.frontend.lines import Line
from runtime.build.frontend.stages import expanded, heredoc_text
from runtime.build.ignore import Ignore, parse_ignore
from runtime.build.modes import Modes, parse_modes
from runtime.build.worker import copying
from runtime.build.worker.layer_tar import Placed
from runtime.build.worker.owners import owner_of
from runtime.errors import ComposerError
from runtime.files.tree import Node, Tree
from runtime.image.compression import decompressed
from runtime.image.manifest import InvalidImage
from runtime.image.transport import make_client, unreachable
from runtime.image.unpack import unpack

_FLAGS = {
    "COPY": ("from", "chown", "chmod", "link", "parents", "exclude"),
    "ADD": ("chown", "chmod", "link", "exclude", "checksum", "unpack", "keep-git-dir"),
}
_SWITCHES = ("link", "parents", "unpack", "keep-git-dir")
_STALL = 60.0
"""Seconds without data after which fetching ends."""


@dataclass(frozen=True)
class CopyStep:
    """A COPY or ADD, its variables replaced."""

    line: Line
    sources: tuple[str, ...]
    destination: str
    """Absolute; with a ``/`` at its end when it has to be a directory."""
    files: tuple[tuple[str, bytes], ...] = ()
    origin: str = ""
    """``--from``."""
    owner: str = ""
    modes: Modes | None = None
    exclude: Ignore = copying.keep_all
    keeps_parents: bool = False
    checksum: str = ""
    unpacks: bool | None = None
    """None: archives of the context, not those that are fetched."""
    remote: tuple[str, ...] = ()
    """URLs that ADD fetches."""


def read_copy(line: Line, variables: dict[str, str], escape: str, working_dir: str) -> CopyStep:
    """What an instruction says. Raises DockerfileError."""
    flags: dict[str, str] = {}
    excluded: list[str] = []
    for name, value in line.flags:
        if name not in _FLAGS[line.name]:
            known = ", ".join(f"--{flag}" for flag in _FLAGS[line.name])
            raise line.error(f"unknown flag: --{name} ({line.name} has {known})", f"--{name}")
        text = expanded(line, value, variables, escape)
        if name in _SWITCHES and text not in ("true", "false"):
            raise line.error(f"expecting boolean value for flag {name}, not: {text}", f"--{name}")
        if name == "exclude":
            excluded.append(text)
        else:
            flags[name] = text
    words = json_words(line.rest) or tuple(line.bare.rest.split())
    words = tuple(expanded(line, word, variables, escape) for word in words)
    if len(words) + len(line.heredocs) < 2 or not words:
        raise line.error(f"{line.name} requires at least two arguments, but only one was provided")
    *sources, destination = words
    remote = tuple(source for source in sources if line.name == "ADD" and _is_remote(source))
    for source in remote:
        if not source.startswith(("http://", "https://")) or source.partition("#")[0].endswith(".git"):
            raise line.error(f"ADD of {source}: composer does not fetch git repositories", source)
    if "keep-git-dir" in flags:
        raise line.error(
            "ADD --keep-git-dir is for git repositories, which composer does not fetch", "--keep-git"
        )
    if "checksum" in flags and (len(remote) != 1 or len(sources) != 1):
        raise line.error("checksum requires a single source, which is a URL", "--checksum")
    joined = posixpath.join(working_dir or "/", destination)
    if destination.endswith(("/", "/.")) or destination == ".":
        joined = posixpath.normpath(joined).rstrip("/") + "/"
    modes = None
    if "chmod" in flags:
        try:
            modes = parse_modes(flags["chmod"])
        except ValueError as error:
            raise line.error(str(error), "--chmod") from None
    files = tuple(
        (
            doc.name,
            heredoc_text(line, doc, variables, escape).encode("utf-8", "surrogateescape"),
        )
        for doc in line.heredocs
    )
    return CopyStep(
        line,
        tuple(source for source in sources if source not in remote),
        joined,
        files,
        flags.get("from", ""),
        flags.get("chown", ""),
        modes,
        parse_ignore("\n".join(excluded)) if excluded else copying.keep_all,
        flags.get("parents") == "true",
        flags.get("checksum", ""),
        {"true": True, "false": False}.get(flags.get("unpack", "")),
        remote,
    )


async def place_copy(
    step: CopyStep, tree: Tree, ignore: Ignore, target: Tree, held: ExitStack
) -> Sequence[Placed]:
    """What the layer has. Directories for what is fetched and unpacked are removed with ``held``. Raises
    ComposerErrors."""
    fetched = [await _fetch(step, url, held) for url in step.remote]

    def choose() -> list[Placed]:
        nodes: list[Node] = []
        pivots: list[str] = []
        for source in step.sources:
            before, found, _ = source.partition("/./")
            chosen = copying.chosen_sources(tree, source, ignore, deep=step.keeps_parents)
            nodes += chosen
            pivots += [posixpath.normpath("/" + before).lstrip("/") if found else ""] * len(chosen)
        owner = owner_of(target, step.owner) if step.owner else None
        archives: list[Node] = []
        if step.line.name == "ADD" and step.unpacks is not False:
            archives = [node for node in nodes if _is_archive(node)]
        if step.unpacks:
            archives += [node for node in fetched if _is_archive(node)]
        plain = [node for node in (*nodes, *fetched) if node not in archives]
        placed: dict[str, Placed] = {}
        if plain or step.files:
            items = copying.place(
                tree,
                plain,
                step.files,
                target,
                step.destination,
                owner=owner,
                modes=step.modes,
                keeps_owners=bool(step.origin),
                ignore=ignore,
                exclude=step.exclude,
                pivots=pivots if step.keeps_parents else None,
            )
            placed |= {item.path: item for item in items}
        for archive in archives:
            inside = _unpacked(archive, held)
            # As with Docker, --chown and --chmod are not for what an archive says itself.
            items = copying.place(
                inside,
                [inside.root],
                (),
                target,
                step.destination,
                keeps_owners=True,
                exclude=step.exclude,
            )
            made = copying.make_directories(target, step.destination, owner or (0, 0))
            placed |= {item.path: item for item in (*items, *made)}
        return list(placed.values())

    return await trio.to_thread.run_sync(choose)


def _is_remote(source: str) -> bool:
    return "://" in source or source.startswith("git@")


def _is_archive(node: Node) -> bool:
    """Whether a file is a (compressed) tar, by what is in it."""
    if not stat.S_ISREG(node.status.st_mode):
        return False
    try:
        with open(os.open(node.hosts[0], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as source:
            stream, block = decompressed(source), b""
            while len(block) < tarfile.BLOCKSIZE and (piece := stream.read(tarfile.BLOCKSIZE - len(block))):
                block += piece
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (InvalidImage, tarfile.HeaderError):
        return False
    return True


def _unpacked(archive: Node, held: ExitStack) -> Tree:
    directory = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="composer-add-")))
    directory.chmod(0o755)
    with open(archive.hosts[0], "rb") as source:
        unpack(source, directory)
    return Tree([directory])


async def _fetch(step: CopyStep, url: str, held: ExitStack) -> Node:
    """A file with what is at ``url``, named as its path ends, mode 600. Raises DockerfileError."""
    place = urlsplit(url)
    name = posixpath.basename(unquote(place.path))
    if not name and step.destination.endswith("/"):
        raise step.line.error(f"cannot determine filename for source {url}", url)
    directory = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="composer-add-")))
    path = directory / (name or "file")
    total = hashlib.sha256()
    try:
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(
                make_client(place.netloc, verify=True, stall=_STALL, env=os.environ)
            )
            request = client.build_request("GET", url)
            answer = await client.send(request, stream=True, follow_redirects=True)
            stack.push_async_callback(answer.aclose)
            if answer.status_code != httpx.codes.OK:
                raise step.line.error(f"invalid response status {answer.status_code} for {url}", url)
            with io.FileIO(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                async for piece in answer.aiter_raw():
                    total.update(piece)
                    await trio.to_thread.run_sync(file.write, piece)
    except httpx.TransportError as error:
        raise unreachable(url, error) from None
    except (httpx.InvalidURL, httpx.TooManyRedirects) as error:
        raise step.line.error(f"{url}: {error}", url) from None
    digest = f"sha256:{total.hexdigest()}"
    if step.checksum and step.checksum != digest:
        raise step.line.error(f"digest mismatch {digest}: {step.checksum}", "--checksum")
    node = Tree([directory]).resolve(path.name)[1]
    if node is None:
        raise ComposerError(f"{url}: what was fetched is gone")
    return node
