"""What a tree has to satisfy beyond the form of its attributes: combinations, references, cycles.

Everything here takes canonical, merged trees, and tells all that is wrong in one run.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from composer.compose.ports import is_address
from composer.compose.problem import Problem, raise_all
from composer.compose.profiles import is_enabled
from composer.compose.trace import Path
from runtime.nearest import nearest


def check_rules(tree: dict[str, Any]) -> None:
    """Rules about single attributes that hold whether or not a service is enabled, and also without
    :func:`check`. Raises :class:`Problem`."""
    found: list[Problem] = []
    for name, volume in _mappings(tree.get("volumes")):
        _check_external(volume, ("volumes", name), found)
    for name, config in _mappings(tree.get("configs")):
        _check_source(config, ("configs", name), ("file", "environment", "content"), found)
    for name, secret in _mappings(tree.get("secrets")):
        _check_source(secret, ("secrets", name), ("file", "environment"), found)
        if "content" in secret:
            found.append(
                Problem("content is not allowed for secrets", ("secrets", name, "content"), at_key=True)
            )
    for name, service in _mappings(tree.get("services")):
        _check_service_rules(service, ("services", name), found)
    _raise(found, tree)


def check(tree: dict[str, Any], profiles: Iterable[str] = ()) -> None:
    """References and combinations of the services that ``profiles`` enable. Raises :class:`Problem`."""
    found: list[Problem] = []
    active = tuple(profiles)
    every = dict(_mappings(tree.get("services")))
    services = {n: s for n, s in every.items() if is_enabled(s.get("profiles") or [], active)}
    for name, service in services.items():
        _Checker(tree, every, services, name, service, found).check()
    for name, secret in _mappings(tree.get("secrets")):
        if not (secret.get("external") is True or secret.get("file") or secret.get("environment")):
            found.append(
                Problem(f'secret "{name}" must declare either file or environment', ("secrets", name))
            )
    _check_container_names(services, found)
    if not found:
        _check_cycles(services, found)
    _raise(found, tree)


def _raise(found: list[Problem], tree: Any) -> None:
    for problem in found:
        problem.tree = tree
    raise_all(found)


def _check_external(resource: dict[str, Any], path: Path, found: list[Problem]) -> None:
    if resource.get("external") not in (True, "true"):
        return
    for key in resource:
        if key not in ("name", "external") and not key.startswith("x-"):
            found.append(
                Problem(
                    f'conflicting parameters "external" and "{key}"',
                    (*path, str(key)),
                    hint="what is external is not made here, so nothing can be said about how",
                    at_key=True,
                )
            )


def _check_source(resource: dict[str, Any], path: Path, keys: tuple[str, ...], found: list[Problem]) -> None:
    given = [key for key in keys if key in resource]
    shown = ", ".join(keys[:-1]) + " or " + keys[-1]
    if len(given) > 1:
        found.append(Problem(f"only one of {shown} can be set", (*path, given[1]), at_key=True))
    elif not given and "driver" not in resource and "external" not in resource:
        found.append(Problem(f"one of {shown} must be set", path))


def _check_service_rules(service: dict[str, Any], path: Path, found: list[Problem]) -> None:
    requests: list[tuple[Path, Any]] = [(("gpus", i), r) for i, r in enumerate(service.get("gpus") or ())]
    devices = _at(service, "deploy", "resources", "reservations", "devices") or ()
    requests += [(("deploy", "resources", "reservations", "devices", i), r) for i, r in enumerate(devices)]
    for where, request in requests:
        if isinstance(request, dict) and "count" in request and "device_ids" in request:
            found.append(Problem('"count" and "device_ids" are exclusive', (*path, *where)))
    for i, port in enumerate(service.get("ports") or ()):
        address = port.get("host_ip") if isinstance(port, dict) else None
        if isinstance(address, str) and "$" not in address and not is_address(address):
            found.append(Problem(f"invalid ip address: {address}", (*path, "ports", i, "host_ip")))
    for i, item in enumerate(_at(service, "develop", "watch") or ()):
        if isinstance(item, dict) and item.get("path") == "":
            found.append(Problem("value can't be blank", (*path, "develop", "watch", i, "path")))
    for at in (("scale",), ("deploy", "replicas")):
        value = _at(service, *at)
        if isinstance(value, int) and value < 0:
            found.append(Problem("must be greater than or equal to 0", (*path, *at)))


class _Checker:
    """One service among the others."""

    def __init__(
        self,
        tree: dict[str, Any],
        every: dict[str, Any],
        services: dict[str, Any],
        name: str,
        service: dict[str, Any],
        found: list[Problem],
    ) -> None:
        self.tree = tree
        self.every = every
        self.services = services
        self.name = name
        self.service = service
        self.found = found

    def say(self, message: str, *where: str | int, hint: str = "", at_key: bool = False) -> None:
        self.found.append(Problem(message, ("services", self.name, *where), hint=hint, at_key=at_key))

    def check(self) -> None:
        service = self.service
        build = service.get("build")
        if not service.get("image") and build is None and "provider" not in service:
            self.say(
                f'service "{self.name}" has neither an image nor a build context specified',
                hint="give it an image: or a build:",
                at_key=True,
            )
        if isinstance(build, dict):
            self.check_build(build)
        if service.get("network_mode") and service.get("networks"):
            self.say(
                f"service {self.name} declares mutually exclusive network_mode and networks",
                "network_mode",
                hint="keep one of the two",
            )
        test = _at(service, "healthcheck", "test")
        if isinstance(test, list) and test and test[0] not in ("CMD", "CMD-SHELL", "NONE"):
            self.say(
                'healthcheck.test must start either by "CMD", "CMD-SHELL" or "NONE"',
                "healthcheck",
                "test",
                0,
                hint="a plain string is run by the shell",
            )
        self.check_references()
        self.check_dependencies()
        self.check_limits()
        self.check_mounts()
        for i, item in enumerate(_at(service, "develop", "watch") or ()):
            if not item.get("target") and item.get("action") not in ("rebuild", "restart"):
                self.say("target is required for non-rebuild actions", "develop", "watch", i)

    def check_build(self, build: dict[str, Any]) -> None:
        if build.get("dockerfile") and build.get("dockerfile_inline"):
            self.say(
                f'service "{self.name}" declares mutually exclusive dockerfile and dockerfile_inline',
                "build",
                "dockerfile_inline",
                at_key=True,
            )
        contexts = build.get("additional_contexts")
        for key, context in contexts.items() if isinstance(contexts, dict) else ():
            if not isinstance(context, str) or not context.startswith("service:"):
                continue
            target = context[len("service:") :]
            where = ("build", "additional_contexts", str(key))
            if target not in self.services:
                hint = self.meant(target)
                self.say(f'unknown service "{target}" as additional context {key}', *where, hint=hint)
            elif self.services[target].get("build") is None:
                self.say(f'service "{target}", additional context {key}, is not built', *where)
        platforms, platform = build.get("platforms"), self.service.get("platform")
        if platforms and platform and platform not in platforms:
            self.say(f'build.platforms must include platform "{platform}"', "build", "platforms")

    def check_references(self) -> None:
        service = self.service
        for network in service.get("networks") or ():
            self.refer("networks", "network", str(network), ("networks", str(network)))
        for i, mount in enumerate(service.get("volumes") or ()):
            if isinstance(mount, dict) and mount.get("type") == "volume" and mount.get("source"):
                self.refer("volumes", "volume", mount["source"], ("volumes", i))
        for i, secret in enumerate(_at(service, "build", "secrets") or ()):
            self.refer("secrets", "build secret", _source(secret), ("build", "secrets", i))
        for kind, what in (("configs", "config"), ("secrets", "secret")):
            for i, mount in enumerate(service.get(kind) or ()):
                self.refer(kind, what, _source(mount), (kind, i))
        for model in service.get("models") or ():
            self.refer("models", "model", str(model), ("models", str(model)))

    def meant(self, name: str) -> str:
        """Which other service one that there is not may have been meant to be."""
        others = [other for other in self.every if other != self.name]
        close = nearest(name, others)
        return f"did you mean {close}?" if close else f"other services: {', '.join(others) or 'none'}"

    def refer(self, kind: str, what: str, name: str, where: Path) -> None:
        known = self.tree.get(kind) or {}
        if name in known:
            return
        close = nearest(name, known)
        hint = f"did you mean {close}?" if close else f"declare it under {kind}:"
        if kind == "volumes" and "/" in name:
            hint = f"a directory of the host begins with a dot or a slash: ./{name}"
        self.say(f'service "{self.name}" refers to undefined {what} {name}', *where, hint=hint)

    def check_dependencies(self) -> None:
        service = self.service
        for needed, dependency in (service.get("depends_on") or {}).items():
            if needed in self.services:
                continue
            if needed in self.every:
                if isinstance(dependency, dict) and dependency.get("required") in (False, "false"):
                    continue
                wanted = self.every[needed].get("profiles") or []
                hint = f"{needed} needs the profile {' or '.join(str(p) for p in wanted)}"
            else:
                hint = self.meant(str(needed))
            where = dependency_place(service, str(needed))
            self.say(f'service "{self.name}" depends on undefined service "{needed}"', *where, hint=hint)

    def check_limits(self) -> None:
        from composer.compose import decoders

        service = self.service
        scale, replicas = service.get("scale"), _at(service, "deploy", "replicas")
        if scale is not None and replicas is not None and scale != replicas:
            self.say("can't set distinct values on scale and deploy.replicas", "scale")
        count = scale if scale is not None else replicas
        if "container_name" in service and isinstance(count, int) and count > 1:
            self.say(
                f'a container name must be unique, so "{service["container_name"]}" rules {count} containers out',
                "container_name",
            )
        deploy = service.get("deploy")
        if not isinstance(deploy, dict):
            return
        for attribute, kind, name, read in (
            ("cpus", "limits", "cpus", decoders.single),
            ("mem_limit", "limits", "memory", decoders.size),
            ("mem_reservation", "reservations", "memory", decoders.size),
            ("pids_limit", "limits", "pids", decoders.integer),
        ):
            if _at(deploy, "resources", kind) is None:
                continue
            try:
                mine = read(service.get(attribute) or 0)
                other = read(_at(deploy, "resources", kind, name) or 0)
            except ValueError:
                continue  # decoding says it better
            if mine and mine != other:
                self.say(
                    f"can't set distinct values on {attribute} and deploy.resources.{kind}.{name}", attribute
                )

    def check_mounts(self) -> None:
        taken: dict[str, str] = {}
        service = self.service
        targets: list[tuple[str, int, str]] = []
        for i, item in enumerate(_listed(service.get("tmpfs"))):
            targets.append(("tmpfs", i, str(item).partition(":")[0]))
        for i, mount in enumerate(service.get("volumes") or ()):
            if isinstance(mount, dict):
                targets.append(("volumes", i, str(mount.get("target", ""))))
        for kind, prefix in (("configs", "/"), ("secrets", "/run/secrets/")):
            for i, mount in enumerate(service.get(kind) or ()):
                target = mount.get("target") if isinstance(mount, dict) else None
                targets.append((kind, i, str(target or prefix + _source(mount))))
        for kind, i, target in targets:
            other = taken.setdefault(target, f"{kind}[{i}]")
            if other != f"{kind}[{i}]":
                self.say(f"target {target} already mounted as services.{self.name}.{other}", kind, i)


def dependency_place(service: dict[str, Any], needed: str) -> Path:
    """The attribute that made the dependency, below the service."""
    for attribute in ("network_mode", "ipc", "pid", "uts", "cgroup"):
        if service.get(attribute) == f"service:{needed}":
            return (attribute,)
    for attribute in ("links", "volumes_from"):
        for i, item in enumerate(service.get(attribute) or ()):
            if str(item).split(":")[0] == needed:
                return (attribute, i)
    return ("depends_on", needed)


def _check_container_names(services: dict[str, dict[str, Any]], found: list[Problem]) -> None:
    taken: dict[str, str] = {}
    for name, service in services.items():
        container = service.get("container_name")
        if not container:
            continue
        other = taken.setdefault(container, name)
        if other != name:
            found.append(
                Problem(
                    f'container name "{container}" is already in use by service {other}',
                    ("services", name, "container_name"),
                )
            )


def _check_cycles(services: dict[str, dict[str, Any]], found: list[Problem]) -> None:
    """Dependencies that close a circle, as the path that closes it."""
    done: set[str] = set()
    for start in sorted(services):
        stack = [(start, iter(_needed(services, start)))]
        trail = [start]
        while stack and start not in done:
            name, rest = stack[-1]
            following = next(rest, None)
            if following is None:
                done.add(name)
                stack.pop()
                trail.pop()
            elif following in trail:
                circle = [*trail[trail.index(following) :], following]
                last = circle[-2]
                where = dependency_place(services[last], following)
                found.append(
                    Problem(
                        f"dependency cycle detected: {' -> '.join(circle)}",
                        ("services", last, *where),
                        hint="take one of these out",
                        at_key=where[0] == "depends_on",
                    )
                )
                return
            elif following not in done:
                stack.append((following, iter(_needed(services, following))))
                trail.append(following)


def _needed(services: dict[str, dict[str, Any]], name: str) -> list[str]:
    return [str(n) for n in sorted(services[name].get("depends_on") or {}) if n in services]


def _source(mount: Any) -> str:
    return str(mount.get("source", "")) if isinstance(mount, dict) else str(mount)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _at(tree: Any, *path: str) -> Any:
    for key in path:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _mappings(section: Any) -> list[tuple[str, dict[str, Any]]]:
    if not isinstance(section, dict):
        return []
    return [(str(name), value) for name, value in section.items() if isinstance(value, dict)]
