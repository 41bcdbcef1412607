"""volumes, tmpfs, volumes_from, configs and secrets of a service, in the runtime's terms."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from typing import Literal, cast

from composer.compose.model import FileObject, Project, Service, ServiceFile, ServiceVolume
from composer.plan.invalid import invalid
from composer.plan.references import PREFIX
from runtime.container.config import FileContent, Mount
from runtime.errors import NotFound

SECRETS = "/run/secrets"
_DEFAULT_MODE = 0o444
Recursive = Literal["", "enabled", "disabled", "writable", "readonly"]


def service_mounts(project: Project, service: Service) -> tuple[Mount, ...]:
    """The mounts of ``volumes`` and ``tmpfs``; the later of two with one target counts.

    Raises :class:`NotFound` for a volume that the project does not define, :class:`InvalidArgument` for a
    type that Linux does not have.
    """
    mounts = [
        service_mount(project, f"services.{service.name}.volumes[{n}]", volume)
        for n, volume in enumerate(service.volumes)
    ]
    mounts += [_tmpfs(item) for item in service.tmpfs]
    return tuple({mount.target: mount for mount in mounts}.values())


def service_mount(project: Project, path: str, volume: ServiceVolume) -> Mount:
    """One entry of ``volumes``; ``path`` says where it stands, for errors."""
    target = posixpath.normpath(volume.target)
    match volume.type:
        case "volume":
            return _volume(project, path, volume, target)
        case "bind":
            bind = volume.bind
            return Mount(
                type="bind",
                source=volume.source,
                target=target,
                read_only=volume.read_only,
                propagation=bind.propagation if bind else "",
                recursive=cast("Recursive", bind.recursive) if bind else "",
                create_host_path=bind.create_host_path if bind else True,
            )
        case "tmpfs":
            tmpfs = volume.tmpfs
            return Mount(
                type="tmpfs",
                target=target,
                read_only=volume.read_only,
                size=int(tmpfs.size or 0) if tmpfs else 0,
                mode=tmpfs.mode if tmpfs else None,
            )
        case "image":
            return Mount(
                type="image",
                source=volume.source,
                target=target,
                read_only=True,
                subpath=volume.image.subpath if volume.image else "",
            )
        case other:
            raise invalid(
                f"{path}.type",
                f"{other} mounts exist on " + ("Windows only" if other == "npipe" else "Swarm clusters only"),
                hint="use bind, volume, tmpfs or image",
            )


def _volume(project: Project, path: str, volume: ServiceVolume, target: str) -> Mount:
    options = volume.volume
    source = ""
    if volume.source:
        defined = project.volumes.get(volume.source)
        if defined is None:
            raise NotFound(
                f"{path}: refers to undefined volume {volume.source}",
                hint=f"add it under the top-level volumes: `{volume.source}: {{}}`",
            )
        source = defined.name
    return Mount(
        type="volume",
        source=source,
        target=target,
        read_only=volume.read_only,
        nocopy=options.nocopy if options else False,
        subpath=options.subpath if options else "",
        labels=dict(options.labels) if options else {},
    )


def _tmpfs(item: str) -> Mount:
    """``path[:option,option]``; size and mode stay among the options, as the kernel takes them."""
    target, _, options = item.partition(":")
    given = tuple(o for o in options.split(",") if o)
    return Mount(type="tmpfs", target=posixpath.normpath(target), options=given, read_only="ro" in given)


def volumes_from(project: Project, service: Service) -> tuple[str, ...]:
    """``service[:mode]`` becomes ``service:<name>[:mode]``; ``container:<name>[:mode]`` loses its prefix."""
    found = []
    for n, item in enumerate(service.volumes_from):
        path = f"services.{service.name}.volumes_from[{n}]"
        is_container = item.startswith("container:")
        name, colon, mode = item.removeprefix("container:").partition(":")
        if colon and mode not in ("ro", "rw"):
            raise invalid(path, f'invalid mode "{mode}"', hint="ro or rw")
        if is_container:
            found.append(item.removeprefix("container:"))
            continue
        if name not in project.services and name not in project.disabled_services:
            raise NotFound(f"{path}: there is no service {name}")
        found.append(PREFIX + item)
    return tuple(found)


def service_files(project: Project, service: Service) -> tuple[FileContent, ...]:
    """The files of ``configs`` and ``secrets``.

    Raises :class:`NotFound` for one that the project does not define, :class:`InvalidArgument` for external
    ones and for environment variables that are not set.
    """
    where = f"services.{service.name}"
    return (
        *_files(f"{where}.configs", "config", service.configs, project.configs),
        *_files(f"{where}.secrets", "secret", service.secrets, project.secrets),
    )


def _files(
    where: str,
    kind: Literal["config", "secret"],
    granted: tuple[ServiceFile, ...],
    defined: Mapping[str, FileObject],
) -> Iterator[FileContent]:
    for n, grant in enumerate(granted):
        yield service_file(f"{where}[{n}]", kind, grant, defined)


def service_file(
    path: str, kind: Literal["config", "secret"], grant: ServiceFile, defined: Mapping[str, FileObject]
) -> FileContent:
    """One entry of ``configs`` or ``secrets``; ``path`` says where it stands, for errors."""
    source = defined.get(grant.source)
    if source is None:
        raise NotFound(f"{path}: refers to undefined {kind} {grant.source}")
    content = _content(path, kind, source)
    return FileContent(
        target=_target(kind, grant),
        source="" if content is not None else source.file,
        content=content,
        uid=_number(f"{path}.uid", grant.uid),
        gid=_number(f"{path}.gid", grant.gid),
        mode=grant.mode if grant.mode is not None or content is None else _DEFAULT_MODE,
    )


def _content(path: str, kind: str, source: FileObject) -> bytes | None:
    """The bytes of an inline or environment one; None when a file has them."""
    if source.external:
        raise invalid(
            path,
            f"unsupported external {kind} {source.name}",
            hint=f"there is no Swarm to keep it: give the {kind} a `file`, `environment` or `content`",
        )
    if source.environment:
        if source.value is None:
            raise invalid(
                path,
                f'environment variable "{source.environment}" required by {kind} "{source.name}" is not set',
                hint=f"set it, or add it to .env: {source.environment}=…",
            )
        return source.value.encode()
    return None if source.file else source.content.encode()


def _target(kind: str, grant: ServiceFile) -> str:
    if kind == "config":
        return posixpath.join("/", grant.target or grant.source)
    return posixpath.join(SECRETS, grant.target or grant.source)


def _number(path: str, text: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal():
        raise invalid(path, f'"{text}" is not a number', hint="give the numeric id")
    return int(text)
