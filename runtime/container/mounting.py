"""Which mounts a container gets, in which order: Docker's defaults, then what was asked for, shallow before deep. Pure.

Defaults that the user mounts over are left out; paths to mask and to make read-only come last, when nothing is
mounted any more.
"""

from __future__ import annotations

import base64
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from runtime.container.config import ContainerConfig, FileContent, Mount
from runtime.container.mount_words import PROPAGATIONS, check_propagation, check_target
from runtime.container.operations import (
    AnyOperation,
    Bind,
    BindFrom,
    CopyUp,
    Devices,
    File,
    Filesystem,
    Hostname,
    ImageMount,
    Links,
    Mask,
    Namespace,
    Network,
    Nodes,
    Overlay,
    ReadOnly,
    ReadOnlyRoot,
    Sysctls,
)
from runtime.errors import InvalidArgument

MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
"""Docker's (moby oci/defaults.go); besides these each processor's thermal_throttle, a clock for side channels."""
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

DeviceNode = tuple[str, str, int, int, int, int, int]
"""(path below /dev or absolute elsewhere, "c" or "b" or "p", major, minor, mode, uid, gid)"""

DEFAULT_DEVICES: tuple[DeviceNode, ...] = (
    ("null", "c", 1, 3, 0o666, 0, 0),
    ("zero", "c", 1, 5, 0o666, 0, 0),
    ("full", "c", 1, 7, 0o666, 0, 0),
    ("random", "c", 1, 8, 0o666, 0, 0),
    ("urandom", "c", 1, 9, 0o666, 0, 0),
    ("tty", "c", 5, 0, 0o666, 0, 0),
)
DEVICE_LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
    ("core", "/proc/kcore"),
)
SHM_SIZE = 64 << 20


@dataclass(frozen=True, slots=True)
class MountSources:
    """Where on the host the container's files are."""

    layers: tuple[str, ...]
    state_dir: str
    run_dir: str
    volumes: Mapping[str, str] = field(default_factory=dict)
    anonymous: Mapping[str, str] = field(default_factory=dict)
    images: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    devices: tuple[DeviceNode, ...] = ()
    cgroup_version: int = 2
    cgroup_controllers: tuple[str, ...] = ()
    cgroup_path: str = ""
    masked: tuple[str, ...] = MASKED
    has_writable_cgroups: bool = False
    """Of a container that is not privileged: its own part of cgroup v2."""


def plan_mounts(
    config: ContainerConfig,
    sources: MountSources,
    *,
    hostname: str = "",
    ipc: Namespace = "new",
    has_private_cgroup: bool = True,
    masks_system_paths: bool = True,
) -> tuple[AnyOperation, ...]:
    """All operations from an empty mount namespace to the finished root. ``hostname`` "" leaves the host's.

    Raises InvalidArgument for targets that are not absolute, are the root, are in /proc, or come twice."""
    asked = user_mounts(config, sources)
    targets = set(asked)
    operations: list[AnyOperation] = [overlay(config, sources)]
    for target, default in default_mounts(config, sources, ipc=ipc, has_private_cgroup=has_private_cgroup):
        if target not in targets:
            operations.append(default)
    for target in sorted(asked, key=lambda path: (path.count("/"), path)):
        operations.extend(asked[target])
    if elsewhere := tuple(node for node in sources.devices if node[0].startswith("/")):
        operations.append(Nodes(nodes=elsewhere))
    operations.append(Network())
    if hostname:
        operations.append(Hostname(name=hostname, domain=config.domainname))
    if own := {key: value for key, value in config.sysctls.items() if not _is_of_network(key)}:
        operations.append(Sysctls(values=own))
    if masks_system_paths:
        operations.append(ReadOnly(paths=READ_ONLY))
        operations.append(Mask(paths=sources.masked))
    if config.read_only:
        operations.append(ReadOnlyRoot())
    return tuple(operations)


def _is_of_network(key: str) -> bool:
    return key.replace("/", ".").startswith("net.")


def overlay(config: ContainerConfig, sources: MountSources) -> Overlay:
    peers = [
        (mount.source, mount.recursive != "disabled", mount.create_host_path)
        for mount in config.mounts
        if mount.type == "bind" and mount.propagation in ("shared", "rshared")
    ]
    return Overlay(
        layers=sources.layers,
        upper=posixpath.join(sources.state_dir, "upper"),
        work=posixpath.join(sources.state_dir, "work"),
        base=posixpath.join(posixpath.dirname(posixpath.dirname(sources.state_dir)), "mount-points"),
        is_volatile=config.is_volatile,
        peers=tuple(peers),
    )


def default_mounts(
    config: ContainerConfig, sources: MountSources, *, ipc: Namespace, has_private_cgroup: bool
) -> list[tuple[str, AnyOperation]]:
    """What every container has, by target, in order."""
    usual = ("nosuid", "noexec", "nodev")
    read_only = () if config.privileged else ("ro",)
    devices = {node[0]: node for node in (*DEFAULT_DEVICES, *sources.devices) if not node[0].startswith("/")}
    shm = str(config.shm_size or SHM_SIZE)
    result: list[tuple[str, AnyOperation]] = [
        ("/proc", Filesystem(kind="proc", target="/proc", attributes=usual, follow=False)),
        ("/dev", Devices(nodes=tuple(devices.values()), links=DEVICE_LINKS)),
        (
            "/dev/pts",
            Filesystem(
                kind="devpts",
                target="/dev/pts",
                options=(("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")),
                attributes=("nosuid", "noexec"),
            ),
        ),
        ("/sys", Filesystem(kind="sysfs", target="/sys", attributes=(*usual, *read_only), follow=False)),
    ]
    mqueue = Filesystem(kind="mqueue", target="/dev/mqueue", attributes=usual)
    if ipc == "host":
        result += [("/dev/shm", Bind(source="/dev/shm", target="/dev/shm")), ("/dev/mqueue", mqueue)]
    elif isinstance(ipc, int):
        result += [("/dev/shm", BindFrom(pid=ipc, target="/dev/shm")), ("/dev/mqueue", mqueue)]
    else:
        if config.ipc_mode != "none":
            options = (("mode", "1777"), ("size", shm))
            memory = Filesystem(kind="tmpfs", target="/dev/shm", options=options, attributes=usual)
            result.append(("/dev/shm", memory))
        result.append(("/dev/mqueue", mqueue))
    result += cgroup_mounts(config, sources, has_private_cgroup=has_private_cgroup)
    for name in ("resolv.conf", "hostname", "hosts"):
        target = f"/etc/{name}"
        file = Bind(
            source=posixpath.join(sources.run_dir, name),
            target=target,
            recursive=False,
            read_only=config.read_only,
        )
        result.append((target, file))
    return result


def cgroup_mounts(
    config: ContainerConfig, sources: MountSources, *, has_private_cgroup: bool
) -> list[tuple[str, AnyOperation]]:
    """/sys/fs/cgroup: the container's own part of the hierarchy, read-only unless privileged.

    On v1 each controller's directory is bound on its own, as in Docker; on v2 a private namespace shows just that."""
    usual = ("nosuid", "noexec", "nodev")
    is_writable = config.privileged or sources.has_writable_cgroups
    read_only = () if is_writable else ("ro",)
    base = "/sys/fs/cgroup"
    if sources.cgroup_version == 2:
        if has_private_cgroup:
            kind: AnyOperation = Filesystem(
                kind="cgroup2", target=base, attributes=(*usual, *read_only), follow=False
            )
            return [(base, kind)]
        return [
            (
                base,
                Bind(
                    source=base,
                    target=base,
                    read_only=not config.privileged,
                    read_only_recursive=True,
                    attributes=usual,
                ),
            )
        ]
    result: list[tuple[str, AnyOperation]] = [
        (
            base,
            Filesystem(kind="tmpfs", target=base, options=(("mode", "755"),), attributes=usual, follow=False),
        )
    ]
    links = []
    for controller in sources.cgroup_controllers:
        target = f"{base}/{controller}"
        source = f"{base}/{controller}/{sources.cgroup_path}"
        bind = Bind(
            source=source,
            target=target,
            read_only=not config.privileged,
            attributes=usual,
            recursive=False,
        )
        result.append((target, bind))
        if "," in controller:
            links += [(f"{base}/{name}", controller) for name in controller.split(",")]
    if links:
        result.append((f"{base}/*", Links(links=tuple(links))))
    if not config.privileged:
        result.append((f"{base}/.", ReadOnly(paths=(base,), are_mounts=True)))
    return result


def user_mounts(config: ContainerConfig, sources: MountSources) -> dict[str, list[AnyOperation]]:
    """What the container configuration asks for, by normalised target."""
    asked: dict[str, list[AnyOperation]] = {}
    for mount in config.mounts:
        target = check_target(mount.target)
        if target in asked:
            raise InvalidArgument(f"Duplicate mount point: {target}")
        asked[target] = mount_operations(mount, target, sources)
    for target, volume in sources.anonymous.items():
        where = check_target(target)
        if where not in asked:
            asked[where] = [CopyUp(target=where, volume=volume), Bind(source=volume, target=where)]
    for file in config.files:
        target = check_target(file.target)
        asked.setdefault(target, []).append(file_operation(file, target))
    return asked


def mount_operations(mount: Mount, target: str, sources: MountSources) -> list[AnyOperation]:
    """The operations of one mount."""
    match mount.type:
        case "tmpfs":
            return [tmpfs(mount, target)]
        case "image":
            if mount.source not in sources.images:
                raise InvalidArgument(f"mount {target}: image {mount.source!r} is not there")
            layers = sources.images[mount.source]
            return [ImageMount(layers=layers, target=target, subpath=mount.subpath)]
        case "volume":
            data = sources.volumes.get(mount.source) if mount.source else sources.anonymous.get(mount.target)
            if data is None:
                raise InvalidArgument(f"mount {target}: volume {mount.source!r} is not there")
            bind = _bind(mount, data, target, subpath=mount.subpath)
            if mount.nocopy or mount.subpath:
                return [bind]
            return [CopyUp(target=target, volume=data), bind]
        case "bind":
            if not mount.source.startswith("/"):
                raise InvalidArgument(f"invalid mount source {mount.source!r}: it must be an absolute path")
            return [_bind(mount, mount.source, target, create=mount.create_host_path)]


def _bind(mount: Mount, source: str, target: str, *, create: bool = False, subpath: str = "") -> Bind:
    check_propagation(mount.propagation, target)
    return Bind(
        source=source,
        target=target,
        read_only=mount.read_only,
        recursive=mount.recursive != "disabled",
        read_only_recursive=mount.recursive not in ("writable", "disabled"),
        propagation=mount.propagation or "rprivate",
        create=create,
        subpath=subpath,
    )


_FLAGS = {"ro", "nosuid", "nodev", "noexec", "nodiratime"}
_OPPOSITES = {"rw": "ro", "suid": "nosuid", "dev": "nodev", "exec": "noexec", "diratime": "nodiratime"}
_ACCESS_TIMES = {
    "relatime": "",
    "norelatime": "",
    "atime": "",
    "noatime": "noatime",
    "strictatime": "strictatime",
}
"""By option: the attribute; one takes the place of another. "" is the kernel's own way, relatime."""
_OF_FILESYSTEM = {"sync", "dirsync", "mand"}
_DEFAULTS = {"async", "defaults"}
_TMPFS_KEYS = {"size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol", "huge"}


def tmpfs(mount: Mount, target: str) -> Filesystem:
    """A tmpfs with Docker's defaults (nosuid, nodev, noexec) and the options asked for. Raises InvalidArgument."""
    attributes = dict.fromkeys(("nosuid", "nodev", "noexec"))
    options: dict[str, str | None] = {}
    access_times = propagation = ""
    for option in [word for text in mount.options for word in text.split(",") if word]:
        key, equals, value = option.partition("=")
        if option in _FLAGS:
            attributes[option] = None
        elif option in _OPPOSITES:
            attributes.pop(_OPPOSITES[option], None)
        elif option in _ACCESS_TIMES:
            access_times = _ACCESS_TIMES[option]
        elif option in PROPAGATIONS:
            propagation = option
        elif option in _OF_FILESYSTEM:
            options[option] = None
        elif equals and key in _TMPFS_KEYS:
            options[key] = value
        elif option not in _DEFAULTS:
            raise InvalidArgument(f"tmpfs {target}: invalid option {option!r}")
    if mount.size:
        options["size"] = str(mount.size)
    if mount.mode is not None:
        options["mode"] = f"{mount.mode:o}"
    if mount.read_only:
        attributes["ro"] = None
    if target == "/dev/shm":
        # The directory is ours, as a mount point: it says nothing of who may write there.
        options.setdefault("mode", "1777")
    return Filesystem(
        kind="tmpfs",
        target=target,
        options=tuple(options.items()),
        attributes=(*attributes, *([access_times] if access_times else [])),
        inherit_mode="mode" not in options,
        propagation=propagation,
    )


def file_operation(file: FileContent, target: str) -> File | Bind:
    """A config or secret. A host file is bound as it is, unless owner or mode are asked for."""
    owned = file.uid is not None or file.gid is not None or file.mode is not None
    if file.content is None and not owned:
        return Bind(source=file.source, target=target, read_only=True, recursive=False)
    return File(
        target=target,
        content="" if file.content is None else base64.b64encode(file.content).decode("ascii"),
        source=file.source if file.content is None else "",
        uid=file.uid or 0,
        gid=file.gid or 0,
        mode=0o444 if file.mode is None else file.mode,
    )


def targets_of(operations: Sequence[AnyOperation]) -> list[str]:
    """Mount points among ``operations``, in order; for listings."""
    return [str(operation.target) for operation in operations if hasattr(operation, "target")]
