"""Which services a command is about: names on its command line, profiles, dependencies."""

from __future__ import annotations

import msgspec

from composer.compose.errors import ComposeError
from composer.compose.model import Project, Service
from composer.compose.profiles import is_enabled
from runtime.nearest import nearest


def find_service(project: Project, name: str) -> Service:
    """The service ``name``, active or not. Raises :class:`ComposeError` naming the nearest one."""
    found = project.services.get(name) or project.disabled_services.get(name)
    if found is None:
        known = [*project.services, *project.disabled_services]
        close = nearest(name, known)
        hint = f"did you mean {close}?" if close else f"services: {', '.join(sorted(known)) or 'none'}"
        raise ComposeError(f"no such service: {name}", hint=hint, status=404)
    return found


def with_profiles(project: Project, profiles: tuple[str, ...]) -> Project:
    """The project with the services that ``profiles`` enable (``*``: all) and no others."""
    services: dict[str, Service] = {}
    disabled: dict[str, Service] = {}
    for name, service in sorted({**project.services, **project.disabled_services}.items()):
        (services if is_enabled(service.profiles, profiles) else disabled)[name] = service
    return msgspec.structs.replace(
        project, services=services, disabled_services=disabled, profiles=tuple(dict.fromkeys(profiles))
    )


def select(project: Project, names: tuple[str, ...], *, include_deps: bool = True) -> Project:
    """The project reduced to ``names`` and, with ``include_deps``, all they depend on; all active services for
    no names. As in Docker Compose, naming a service activates its profiles.

    Raises :class:`ComposeError` for a name or a dependency that is not there.
    """
    if not names:
        return project
    inactive = [find_service(project, n) for n in names if n not in project.services]
    if inactive:
        enabled = with_profiles(project, (*project.profiles, *(p for s in inactive for p in s.profiles)))
        raise_unready(enabled, tuple(s.name for s in inactive))
        project = enabled
    chosen: dict[str, None] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in chosen:
            continue
        chosen[name] = None
        if not include_deps:
            continue
        for needed, dependency in project.services[name].depends_on.items():
            if needed in project.services:
                waiting.append(needed)
            elif dependency.required:
                raise ComposeError(
                    f'service "{name}" depends on "{needed}", which no active profile enables',
                    hint=f"name {needed} too, or give one of its profiles with --profile",
                )
    every = {**project.services, **project.disabled_services}
    return msgspec.structs.replace(
        project,
        services={n: s for n, s in sorted(every.items()) if n in chosen},
        disabled_services={n: s for n, s in sorted(every.items()) if n not in chosen},
    )


def raise_unready(project: Project, names: tuple[str, ...]) -> None:
    """Raise what was wrong with a service that no profile enabled while the files were read."""
    for name in names:
        if problem := project.unready.get(name):
            raise ComposeError(problem)
