"""From what is asked for to what the builder takes: contexts opened, Dockerfile and ignore file read."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from composer.engine.builds.agents import agent_sockets
from composer.engine.builds.attestation_options import parse_attestations
from composer.engine.builds.contexts import KEEP_GIT, Context, Contexts, read_text
from composer.engine.builds.options import BuildOptions
from composer.engine.builds.requests import ImageBuild
from runtime.build.frontend.devices import is_device_entitlement
from runtime.build.git_urls import parse_git_url
from runtime.build.ignore import Ignore, keep_all, parse_ignore
from runtime.container.config import Ulimit
from runtime.errors import ComposerError, InvalidArgument, NotFound
from runtime.image.downloads import fetch_file
from runtime.image.reference import parse_reference
from runtime.image.registry.credentials import load_credentials
from runtime.image.store import ImageStore
from runtime.storage.files import read_regular

_SECRET_LIMIT = 1 << 20
_NETWORKS = {"": "bridge", "default": "bridge", "bridge": "bridge", "none": "none", "host": "host"}
_ENTITLEMENTS = ("network.host", "security.insecure")


@dataclass(frozen=True)
class Prepared:
    """A build that can begin."""

    options: BuildOptions
    commit: str = ""
    """Of the repository that is the context."""


async def prepare(
    request: ImageBuild, contexts: Contexts, images: ImageStore, held: AsyncExitStack
) -> Prepared:
    """Read everything that describes the build. What it opens lives as long as ``held``. Raises ComposerErrors."""
    context = await _context(request, contexts, held)
    text, file, ignore = await _dockerfile(request, context, contexts, held)
    named: dict[str, str] = {}
    for name, source in request.contexts.items():
        named[name] = await _named(name, source, request, contexts, images, held)
    for entitlement in request.allow:
        if entitlement not in _ENTITLEMENTS and not is_device_entitlement(entitlement):
            known = ", ".join((*_ENTITLEMENTS, "device[=vendor.com/class=name]"))
            raise InvalidArgument(f"the entitlement {entitlement!r} is not supported: there are {known}")
    if request.network not in _NETWORKS:
        raise InvalidArgument(
            f"network mode {request.network!r} is not supported for builds: there are default, none and host"
        )
    secrets = dict.fromkeys(request.secret_values, b"")
    for name, value in request.secret_values.items():
        secrets[name] = value.encode("utf-8", "surrogateescape")
    for name, path in request.secret_files.items():
        try:
            data = await trio.to_thread.run_sync(
                partial(read_regular, os.path.realpath(path), limit=_SECRET_LIMIT)
            )
        except OSError as error:
            raise ComposerError(f"secret {name}: {path}: {os.strerror(error.errno or 0)}") from None
        secrets[name] = data
    options = BuildOptions(
        context=context.path,
        dockerfile=text,
        file=file,
        ignore=ignore,
        context_name=request.context,
        tags=_tags(request),
        target=request.target,
        arguments=request.args,
        labels=request.labels,
        contexts=named,
        secrets=secrets,
        no_cache=request.no_cache,
        no_cache_stages=request.no_cache_filter,
        pull=request.pull,
        network=_NETWORKS[request.network],
        extra_hosts=request.extra_hosts,
        shm_size=request.shm_size,
        ulimits=tuple(
            Ulimit(name=name, soft=soft, hard=hard) for name, (soft, hard) in request.ulimits.items()
        ),
        ssh=await agent_sockets(request.agents, request.env, contexts, held),
        allow=request.allow,
        env=request.env,
        keeps_failed=request.debug,
        explain=request.explain,
        cache_from=request.cache_from,
        cache_to=request.cache_to,
        credentials=partial(load_credentials, request.env),
        attestations=parse_attestations(request.provenance, request.sbom),
        origin=request.context if "://" in request.context or context.commit else "",
        commit=context.commit,
    )
    return Prepared(options, context.commit)


def _tags(request: ImageBuild) -> tuple[str, ...]:
    for tag in request.tags:
        if parse_reference(tag).digest is not None:
            raise InvalidArgument(f"invalid tag {tag!r}: a tag cannot have a digest")
    return request.tags


async def _context(request: ImageBuild, contexts: Contexts, held: AsyncExitStack) -> Context:
    keep_git = request.args.get(KEEP_GIT, "").lower() in ("1", "true")
    if request.archive:
        return await contexts.unpacked(Path(request.archive), held)
    if not request.context:
        return Context(contexts.directory(held))
    return await contexts.open(request.context, request.env, held, keep_git=keep_git)


async def _dockerfile(
    request: ImageBuild, context: Context, contexts: Contexts, held: AsyncExitStack
) -> tuple[str, str, Ignore]:
    """Its text, what it is called, and what of the context it does not see."""
    own: Path | None = None
    if request.dockerfile_text is not None:
        text, file = request.dockerfile_text, "Dockerfile"
    elif context.dockerfile is not None:
        text, file = context.dockerfile, request.context
    elif request.dockerfile.startswith(("http://", "https://")) and parse_git_url(request.dockerfile) is None:
        path = contexts.directory(held) / "Dockerfile"
        await fetch_file(request.dockerfile, path, request.env)
        fetched = await trio.to_thread.run_sync(read_text, path)
        text, file = fetched or "", request.dockerfile
    else:
        path = Path(os.path.join(context.path, request.dockerfile or "Dockerfile"))
        if context.path != Path(request.context) and not _is_within(path, context.path):
            raise InvalidArgument(
                f"the Dockerfile {request.dockerfile} is not in the context {request.context}"
            )
        data = await trio.to_thread.run_sync(read_text, path)
        if data is None:
            missing = f"failed to read dockerfile: open {path}: no such file or directory"
            raise NotFound(missing, hint=await trio.to_thread.run_sync(_other_dockerfiles, path))
        text = data
        file = str(path) if context.path == Path(request.context) else request.dockerfile or "Dockerfile"
        own = path.with_name(f"{path.name}.dockerignore")
    rules = await trio.to_thread.run_sync(read_text, own) if own is not None else None
    ignored = own
    if rules is None:
        ignored = context.path / ".dockerignore"
        if context.path == Path(request.context) or _is_within(ignored, context.path):
            rules = await trio.to_thread.run_sync(read_text, ignored)
    # As with Docker, bytes that are no UTF-8 are not kept, wherever they are.
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return text, file, parse_ignore(rules, str(ignored)) if rules else keep_all


def _is_within(path: Path, root: Path) -> bool:
    """Whether no link of a stranger leads out of what they sent."""
    real, top = os.path.realpath(path), os.path.realpath(root)
    return real == top or real.startswith(f"{top}/")


def _other_dockerfiles(path: Path) -> str:
    """What is there instead, for the advice."""
    try:
        names = sorted(name for name in os.listdir(path.parent) if "dockerfile" in name.lower())
    except OSError:
        return ""
    return f"there is {', '.join(names[:5])}" if names else ""


async def _named(
    name: str,
    source: str,
    request: ImageBuild,
    contexts: Contexts,
    images: ImageStore,
    held: AsyncExitStack,
) -> str:
    """A named context as the builder takes it: a directory or an image."""
    if source.startswith("docker-image://"):
        return source
    if source.startswith("oci-layout://"):
        return await _layout(name, source.removeprefix("oci-layout://"), images)
    found = await contexts.open(source, request.env, held)
    if found.dockerfile is not None:
        raise InvalidArgument(f"the context {name}={source} is no archive")
    return str(found.path)


async def _layout(name: str, text: str, images: ImageStore) -> str:
    path, _, digest = text.partition("@")
    directory, colon, tag = path.rpartition(":")
    if not colon or "/" in tag:
        directory, tag = path, ""
    if not os.path.isabs(directory) or not os.path.isdir(directory):
        raise NotFound(f"the context {name}=oci-layout://{text}: {directory} is no directory")
    image = await images.built.load_layout(Path(directory), tag=tag, digest=digest)
    return f"docker-image://{image.id}"
