"""Building the images of a project's services."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import networkx as nx
import trio

from composer.compose.model import Build, Project, Service
from composer.engine.build_options import BuildOptions
from composer.engine.building import Builder, Session
from composer.engine.projects.steps import Emit, tell, warn
from composer.engine.requests import BuildRequest, Event, StepEvent, UpRequest
from composer.plan.container import image_of
from composer.plan.steps import ImagePlan
from runtime.build.ignore import Ignore, keep_all, parse_ignore
from runtime.container.config import Ulimit
from runtime.errors import ComposerError, InvalidArgument, NotFound
from runtime.image.credentials import load_credentials
from runtime.storage.files import read_regular

_FILE_LIMIT = 16 << 20
_REFUSED = ("ssh", "isolation", "privileged", "entitlements")
_WITHOUT_EFFECT = ("cache_from", "cache_to", "provenance", "sbom")


async def build_services(
    builder: Builder, project: Project, services: Sequence[Service], request: BuildRequest, emit: Emit
) -> None:
    """Build the images of ``services`` side by side, those that others are made from before these.

    Raises what the first one that fails raises, after telling it; the others end then.
    """
    wanted = {service.name: service for service in services if service.build is not None}
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(wanted)
    for name, service in wanted.items():
        for source in (service.build or Build()).additional_contexts.values():
            if (other := source.removeprefix("service:")) != source and other in wanted:
                graph.add_edge(other, name)
    if not nx.is_directed_acyclic_graph(graph):
        circle = [edge[0] for edge in nx.find_cycle(graph)]
        raise InvalidArgument(f"services are built from each other: {' -> '.join((*circle, circle[0]))}")
    session = Session()
    turn = trio.Lock()
    done = {name: trio.Event() for name in wanted}
    failures: list[ComposerError] = []

    async def tell_in_turn(event: Event) -> None:
        async with turn:
            await emit(event)

    async def one(name: str) -> None:
        for other in graph.predecessors(name):
            await done[other].wait()
        try:
            await _build(builder, project, wanted[name], request, tell_in_turn, session)
        except ComposerError as error:
            failures.append(error)
            nursery.cancel_scope.cancel()
            return
        done[name].set()

    async with trio.open_nursery() as nursery:
        for name in wanted:
            nursery.start_soon(one, name)
    if failures:
        raise failures[0]


async def ensure_built(
    builder: Builder, project: Project, images: Sequence[ImagePlan], request: UpRequest, emit: Emit
) -> bool:
    """Build what an ``up`` needs: what is missing, with ``--build`` or the policy ``build`` everything; whether
    anything was."""
    if request.no_build:
        return False
    names = [name for image in images_to_build(builder, images, request) for name in image.services]
    chosen = [project.service(name) for name in names]
    own = BuildRequest(project=request.project, quiet=request.quiet_build)
    await build_services(builder, project, chosen, own, emit)
    return bool(chosen)


def images_to_build(
    builder: Builder, images: Sequence[ImagePlan], request: UpRequest
) -> tuple[ImagePlan, ...]:
    """Those of ``images`` that an ``up`` without ``--no-build`` builds."""
    return tuple(image for image in images if image.build and _is_to_build(builder, image, request))


def _is_to_build(builder: Builder, image: ImagePlan, request: UpRequest) -> bool:
    policy = request.pull if request.pull not in ("", "policy") else image.policy
    if request.build or policy == "build":
        return True
    return policy != "always" and builder.parts.images.resolve(image.reference) is None


async def _build(
    builder: Builder,
    project: Project,
    service: Service,
    request: BuildRequest,
    emit: Emit,
    session: Session,
) -> None:
    reference = image_of(project, service)
    build = service.build
    if build is None:
        return
    for key in _WITHOUT_EFFECT:
        if getattr(build, key) not in ((), "", "false"):
            await warn(emit, f"build.{key} of service {service.name} has no effect in composer")
    await tell(emit, "Image", reference, "Building")

    async def progress(title: str, status: str, text: str) -> None:
        if not request.quiet:
            await emit(
                StepEvent(
                    kind="Image",
                    name=title,
                    parent=reference,
                    status=status,
                    text=text,
                    time=time.time_ns(),
                )
            )

    try:
        options = await trio.to_thread.run_sync(_options, project, service, build, request)
        await builder.build(options, progress, session)
    except ComposerError as error:
        await tell(emit, "Image", reference, "Error", error.message.partition("\n")[0])
        raise error.within(f"building {reference} (for {service.name})").pointing_at(
            f"services.{service.name}.build"
        ) from None
    await tell(emit, "Image", reference, "Built")


def _options(project: Project, service: Service, build: Build, request: BuildRequest) -> BuildOptions:
    """What is to be built, the files that describe it read. Blocking. Raises ComposerErrors."""
    for key in _REFUSED:
        if getattr(build, key):
            raise InvalidArgument(f"build.{key} of service {service.name} is not supported by composer")
    if build.platforms and service.platform not in build.platforms and len(build.platforms) > 1:
        raise InvalidArgument(
            f"build.platforms of service {service.name}: composer builds for this machine alone"
        )
    context = Path(build.context or ".")
    if "://" in build.context or build.context.startswith("git@") or not context.is_absolute():
        raise InvalidArgument(
            f"the build context {build.context} of service {service.name} is no local directory",
            hint="check it out and name its directory",
        )
    if not context.is_dir():
        raise NotFound(f'unable to prepare context: path "{context}" not found')
    text, file, ignore = _dockerfile(context, build)
    contexts = {}
    for name, source in build.additional_contexts.items():
        if source.startswith("service:"):
            other = project.services.get(source[8:])
            if other is None:
                raise NotFound(f"no such service: {source[8:]}")
            source = f"docker-image://{image_of(project, other)}"
        elif not source.startswith(("docker-image://", "/")):
            raise InvalidArgument(f"the additional context {name}={source} is not supported by composer")
        contexts[name] = source
    given = {name: value for name, value in build.args.items() if value is not None}
    given |= {
        name: request.project.env[name]
        for name, value in build.args.items()
        if value is None and name in request.project.env
    }
    if build.network not in ("", "default", "none", "host"):
        raise InvalidArgument(f"build.network {build.network} of service {service.name} is not supported")
    environment = request.project.env
    return BuildOptions(
        context=context,
        dockerfile=text,
        file=file,
        ignore=ignore,
        tags=(image_of(project, service), *build.tags),
        target=build.target,
        arguments={**given, **request.args},
        labels={
            **build.labels,
            "com.docker.compose.project": project.name,
            "com.docker.compose.service": service.name,
        },
        contexts=contexts,
        secrets=_secrets(project, build),
        no_cache=build.no_cache or request.no_cache,
        no_cache_stages=build.no_cache_filter,
        pull=build.pull or request.pull,
        network="bridge" if build.network in ("", "default") else build.network,
        extra_hosts=build.extra_hosts,
        shm_size=int(build.shm_size),
        ulimits=tuple(
            Ulimit(name=name, soft=limit.soft, hard=limit.hard) for name, limit in build.ulimits.items()
        ),
        credentials=partial(load_credentials, environment),
    )


def _dockerfile(context: Path, build: Build) -> tuple[str, str, Ignore]:
    """Its text, what it is called, and what of the context it does not see."""
    own: Path | None = None
    if build.dockerfile_inline:
        text, file = build.dockerfile_inline, "Dockerfile"
    else:
        path = Path(os.path.join(context, build.dockerfile or "Dockerfile"))
        data = _read(path)
        if data is None:
            raise NotFound(f"failed to read dockerfile: open {path}: no such file or directory")
        text, file = data, str(path)
        own = path.with_name(f"{path.name}.dockerignore")
    rules = _read(own) if own is not None else None
    rules = _read(context / ".dockerignore") if rules is None else rules
    return text, file, parse_ignore(rules) if rules else keep_all


def _read(path: Path) -> str | None:
    try:
        return read_regular(os.path.realpath(path), limit=_FILE_LIMIT).decode("utf-8", "surrogateescape")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ComposerError(f"read {path}: {os.strerror(error.errno or 0)}") from error


def _secrets(project: Project, build: Build) -> Mapping[str, bytes]:
    found: dict[str, bytes] = {}
    for granted in build.secrets:
        known = project.secrets[granted.source]
        name = granted.target.rpartition("/")[2] or granted.source
        if known.file:
            try:
                found[name] = read_regular(os.path.realpath(known.file), limit=1 << 20)
            except OSError as error:
                raise ComposerError(f"secret {name}: {known.file}: {os.strerror(error.errno or 0)}") from None
        elif known.external:
            raise InvalidArgument(f"secret {name} is external, which builds do not know")
        else:
            found[name] = (known.value if known.value is not None else known.content).encode()
    return found
