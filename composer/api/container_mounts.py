"""What a container mounts: ``Binds``, ``Mounts``, ``Tmpfs`` and ``Volumes`` of ``POST /containers/create``. Pure."""

from __future__ import annotations

from typing import Literal

from composer.api.wire import CreateBody, HostConfigBody, MountBody, unsupported
from runtime.container.config import Mount
from runtime.errors import InvalidArgument

PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")


def mounts(body: CreateBody, host: HostConfigBody) -> tuple[Mount, ...]:
    """Everything that is mounted, in order. Raises InvalidArgument with Docker's sentences."""
    found = [parse_bind(text) for text in host.binds]
    found += [_mount(mount) for mount in host.mounts]
    found += [
        Mount(type="tmpfs", target=target, options=tuple(filter(None, options.split(","))))
        for target, options in host.tmpfs.items()
    ]
    taken = {mount.target.rstrip("/") for mount in found}
    found += [Mount(type="volume", target=path) for path in body.volumes if path.rstrip("/") not in taken]
    seen: set[str] = set()
    for mount in found:
        if not mount.target.startswith("/"):
            raise InvalidArgument(f"invalid mount path: '{mount.target}' mount path must be absolute")
        if mount.target.rstrip("/") in seen:
            raise InvalidArgument(f"Duplicate mount point: {mount.target}")
        seen.add(mount.target.rstrip("/"))
    return tuple(found)


def parse_bind(text: str) -> Mount:
    """``source:target[:options]`` of ``Binds``. Raises InvalidArgument with Docker's sentences."""
    parts = text.split(":")
    if len(parts) not in (2, 3) or not all(parts):
        if len(parts) == 1 and text.startswith("/"):
            return Mount(type="volume", target=text)
        raise InvalidArgument(f"invalid volume specification: '{text}'")
    source, target = parts[:2]
    read_only, nocopy, propagation = False, False, ""
    for option in parts[2].split(",") if len(parts) == 3 else ():
        if option in ("ro", "rw"):
            read_only = option == "ro"
        elif option == "nocopy":
            nocopy = True
        elif option in PROPAGATIONS:
            propagation = option
        elif option not in ("z", "Z", "cached", "delegated", "consistent", "default"):
            raise InvalidArgument(f'invalid mode: {parts[2]} in volume specification "{text}"')
    if source.startswith("/"):
        if nocopy:
            raise InvalidArgument(
                f"invalid volume specification: '{text}': invalid mount config for type \"bind\": "
                "field VolumeOptions must not be specified"
            )
        return Mount(
            type="bind",
            source=source,
            target=target,
            read_only=read_only,
            propagation=propagation,
            create_host_path=True,
        )
    return Mount(type="volume", source=source, target=target, read_only=read_only, nocopy=nocopy)


def _mount(body: MountBody) -> Mount:
    match body.type:
        case "bind":
            return _bind_mount(body)
        case "volume":
            driver = body.volume_options.driver_config
            if driver is not None and driver.options and not body.source:
                raise unsupported("Mounts.VolumeOptions.DriverConfig.Options of an anonymous volume")
            return Mount(
                type="volume",
                source=body.source,
                target=body.target,
                read_only=body.read_only,
                nocopy=body.volume_options.no_copy,
                subpath=body.volume_options.subpath,
                labels=body.volume_options.labels,
            )
        case "tmpfs":
            if body.source:
                raise InvalidArgument(
                    'invalid mount config for type "tmpfs": field Source must not be specified'
                )
            return Mount(
                type="tmpfs",
                target=body.target,
                read_only=body.read_only,
                size=body.tmpfs_options.size_bytes,
                mode=body.tmpfs_options.mode,
                options=tuple("=".join(option) for option in body.tmpfs_options.options),
            )
        case "image":
            return Mount(
                type="image",
                source=body.source,
                target=body.target,
                read_only=True,
                subpath=body.image_options.subpath,
            )
        case other:
            raise InvalidArgument(
                f'mount type "{other}" is not supported', hint="Use bind, volume, tmpfs or image."
            )


def _bind_mount(body: MountBody) -> Mount:
    options = body.bind_options
    if not body.source:
        raise InvalidArgument('invalid mount config for type "bind": field Source must not be empty')
    if not body.source.startswith("/"):
        raise InvalidArgument(
            f"invalid mount config for type 'bind': invalid mount path: '{body.source}' "
            "mount path must be absolute"
        )
    if options.propagation and options.propagation not in PROPAGATIONS:
        raise InvalidArgument(f'invalid mount config for type "bind": propagation "{options.propagation}"')
    recursive: Literal["", "disabled", "writable", "readonly"] = ""
    if options.non_recursive:
        recursive = "disabled"
    elif options.read_only_non_recursive:
        recursive = "writable"
    elif options.read_only_force_recursive:
        recursive = "readonly"
    return Mount(
        type="bind",
        source=body.source,
        target=body.target,
        read_only=body.read_only,
        propagation=options.propagation,
        recursive=recursive,
        create_host_path=options.create_mountpoint,
    )
