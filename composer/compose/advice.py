"""What is valid and will bite: said by ``config``, with its place and the word that silences it.

``x-composer: {silence: [untagged-image]}``, in a service or at the top of the file, takes an advice back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from composer.compose.own_words import own_words, stray_words
from composer.compose.probe_programs import candidates, probe_programs
from composer.compose.trace import Path
from runtime.nearest import nearest

DATABASE_PORTS = {
    1433: "SQL Server",
    2379: "etcd",
    3306: "MySQL",
    5432: "PostgreSQL",
    5984: "CouchDB",
    6379: "Redis",
    7000: "Cassandra",
    8086: "InfluxDB",
    9042: "Cassandra",
    9200: "Elasticsearch",
    11211: "memcached",
    27017: "MongoDB",
}
WITHOUT_EFFECT = {
    ("credential_spec",): "it is for Windows",
    ("cpu_count",): "it is for Windows",
    ("cpu_percent",): "it is for Windows",
    ("isolation",): "it is for Windows",
    ("deploy", "endpoint_mode"): "it is for clusters",
    ("deploy", "placement"): "it is for clusters",
    ("deploy", "rollback_config"): "it is for clusters",
    ("deploy", "update_config"): "it is for clusters",
}
CODES = (
    "cannot-start",
    "missing-bind-path",
    "missing-program",
    "no-effect",
    "open-database-port",
    "undeclared-dependency",
    "unknown-word",
    "untagged-image",
)
HOST_IMAGE = "composer.local/host"
_EVERYWHERE = ("", "0.0.0.0", "::")
_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}\Z")
_AUTHORITY = re.compile(r"://(?:[^/@?#]*@)?([a-zA-Z0-9][a-zA-Z0-9_.-]*)")
_ADDRESS = re.compile(r"([a-zA-Z0-9][a-zA-Z0-9_.-]*):[0-9]{1,5}\Z")
_RESTART = re.compile(r"(?:no|none|any|always|unless-stopped|on-failure)(?::[0-9]+)?")
_CONTAINER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")


class Advice(NamedTuple):
    """One thing that will bite. ``code`` is what silences it."""

    code: str
    message: str
    path: Path


def advise(tree: dict[str, Any], services: Iterable[str], exists: Callable[[str], bool]) -> list[Advice]:
    """What is to be said about the named services of a canonical, normalised tree.

    ``exists`` tells whether something is at a path of the host.
    """
    found: list[Advice] = []
    every = tree.get("services") or {}
    names = [str(name) for name in services]
    silent = silenced(tree)
    if "unknown-word" not in silent:
        found += _own_words(tree, ())
    for name in names:
        service = every[name]
        mine = [
            *_image(name, service),
            *_ports(name, service),
            *_mounts(name, service, exists),
            *_hosts(name, service, names, every),
            *_healthcheck(name, service, exists),
            *_without_effect(name, service),
            *_refused(name, service),
            *_own_words(service, ("services", name)),
        ]
        quiet = silent | silenced(service)
        found += [advice for advice in mine if advice.code not in quiet]
    return found


def silenced(mapping: Mapping[str, Any]) -> frozenset[str]:
    """The codes that an ``x-composer: {silence: […]}`` of ``mapping``, a service or the whole file, takes back."""
    words = own_words(mapping).get("silence")
    return frozenset(str(word) for word in words) if isinstance(words, list) else frozenset()


def _own_words(mapping: Mapping[str, Any], path: Path) -> list[Advice]:
    return [Advice("unknown-word", stray.message, stray.path) for stray in stray_words(mapping, path, CODES)]


def _image(name: str, service: dict[str, Any]) -> list[Advice]:
    image = service.get("image")
    if not isinstance(image, str) or "build" in service or "provider" in service or _DIGEST.search(image):
        return []
    tag = image.rpartition("/")[2].partition(":")[2]
    if tag not in ("", "latest") or image.startswith("composer.local/"):
        return []
    what = "has no tag" if not tag else "means another image from time to time"
    return [Advice("untagged-image", f"{image} {what}: name a version", ("services", name, "image"))]


def _ports(name: str, service: dict[str, Any]) -> list[Advice]:
    found = []
    for i, port in enumerate(service.get("ports") or ()):
        target = port.get("target") if isinstance(port, dict) else None
        if (
            target not in DATABASE_PORTS
            or not port.get("published")
            or port.get("host_ip", "") not in _EVERYWHERE
        ):
            continue
        message = (
            f"port {port['published']} ({DATABASE_PORTS[target]}) is open to everyone who reaches this machine: "
            f'"127.0.0.1:{port["published"]}:{target}" keeps it here'
        )
        found.append(Advice("open-database-port", message, ("services", name, "ports", i)))
    return found


def _mounts(name: str, service: dict[str, Any], exists: Callable[[str], bool]) -> list[Advice]:
    return [
        Advice(
            "missing-bind-path",
            f"nothing is at {mount['source']}: "
            + (
                "the container will not start"
                if (mount.get("bind") or {}).get("create_host_path") in (False, "false")
                else "an empty directory will be made there"
            ),
            ("services", name, "volumes", i),
        )
        for i, mount in enumerate(service.get("volumes") or ())
        if isinstance(mount, dict)
        and mount.get("type") == "bind"
        and not exists(str(mount.get("source", "")))
    ]


def _healthcheck(name: str, service: dict[str, Any], exists: Callable[[str], bool]) -> list[Advice]:
    """A program that the image lacks, where it is known what that has: the machine's own programs. For other images
    ``up`` says it, which has them."""
    test = (service.get("healthcheck") or {}).get("test")
    if str(service.get("image")).partition(":")[0] != HOST_IMAGE or not isinstance(test, list):
        return []
    for program in probe_programs(test):
        places = candidates(program)
        if places and not any(map(exists, places)):
            message = f"the image has no program {program}: the healthcheck will fail"
            return [Advice("missing-program", message, ("services", name, "healthcheck", "test"))]
    return []


def _hosts(name: str, service: dict[str, Any], names: list[str], every: dict[str, Any]) -> list[Advice]:
    """Other services that variables name as hosts."""
    environment = service.get("environment")
    if isinstance(environment, dict):
        pairs = [(str(key), value) for key, value in environment.items()]
    else:
        pairs = [(str(i).partition("=")[0], str(i).partition("=")[2]) for i in environment or ()]
    others = {other for other in names if other != name}
    needed = _needed(name, every) if others else set()
    found = []
    for key, value in pairs:
        if not isinstance(value, str):
            continue
        for host in dict.fromkeys(_named(value)):
            if host in others and host not in needed:
                message = f"{key} names {host}, which may start later: depends_on: [{host}] makes it wait"
                found.append(Advice("undeclared-dependency", message, ("services", name, "environment", key)))
    return found


def _named(value: str) -> list[str]:
    """Names that stand where a host does: in a URL, or in front of a port."""
    found = _AUTHORITY.findall(value)
    for part in re.split(r"[,; ]", value):
        if match := _ADDRESS.match(part):
            found.append(match[1])
    return found


def _needed(name: str, every: dict[str, Any]) -> set[str]:
    """All that ``name`` waits for, however far."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for needed in (every.get(waiting.pop()) or {}).get("depends_on") or ():
            if needed not in found:
                found.add(str(needed))
                waiting.append(str(needed))
    return found


def _without_effect(name: str, service: dict[str, Any]) -> list[Advice]:
    found = []
    for path, why in WITHOUT_EFFECT.items():
        value: Any = service
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None:
            found.append(
                Advice("no-effect", f"{'.'.join(path)} has no effect here: {why}", ("services", name, *path))
            )
    return found


def _refused(name: str, service: dict[str, Any]) -> list[Advice]:
    """What no container can be made with, though the file is valid."""
    found = []

    def say(message: str, *where: str | int) -> None:
        found.append(Advice("cannot-start", f"{message}: up will refuse it", ("services", name, *where)))

    restart = service.get("restart")
    if isinstance(restart, str) and restart and not _RESTART.fullmatch(restart):
        close = nearest(restart, ("no", "always", "on-failure", "unless-stopped"))
        meant = f" (did you mean {close}?)" if close else ", no, always, on-failure and unless-stopped are"
        say(f"{restart} is no restart policy{meant}", "restart")
    container = service.get("container_name")
    if isinstance(container, str) and not _CONTAINER.fullmatch(container):
        say(
            f"{container!r} is no name of a container: letters, digits, _, . and -, a letter or digit first",
            "container_name",
        )
    image = service.get("image")
    if isinstance(image, str) and "build" not in service and _has_capitals(image):
        say(f"{image} has capital letters, which names of images have not", "image")
    for i, mount in enumerate(service.get("volumes") or ()):
        target = mount.get("target") if isinstance(mount, dict) else None
        if isinstance(target, str) and not target.startswith("/"):
            say(f"{target} is no absolute path in the container", "volumes", i)
    return found


def _has_capitals(image: str) -> bool:
    """Whether the name of an image has some, behind the registry's and in front of the tag."""
    name = image.partition("@")[0]
    registry, slash, rest = name.partition("/")
    if slash and (registry == "localhost" or "." in registry or ":" in registry):
        name = rest
    name = name.partition(":")[0]
    return name != name.lower()
