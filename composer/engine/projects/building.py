"""Building the images of a project's services."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import trio

from composer.compose.model import Build, Project, Service
from composer.engine.at_once import taken
from composer.engine.builds.builder import Session
from composer.engine.builds.builds import Builds
from composer.engine.builds.cache_options import absolute_cache
from composer.engine.builds.progress import teller
from composer.engine.builds.requests import EPOCH, ImageBuild
from composer.engine.projects.steps import Emit, tell, warn
from composer.engine.requests import BuildRequest, Event, StepEvent, UpRequest
from composer.plan.container import image_of
from composer.plan.steps import ImagePlan
from runtime.errors import ComposerError, InvalidArgument, NotFound

if TYPE_CHECKING:
    import networkx as nx

    from runtime.build.frontend.checks.rules import Finding


async def build_services(
    builds: Builds, project: Project, services: Sequence[Service], request: BuildRequest, emit: Emit
) -> Sequence[Finding]:
    """Build the images of ``services`` side by side, those that others are made from before these, and return what the
    checks found.

    Raises what the first one that fails raises, after telling it; the others end then.
    """
    import networkx as nx

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
    turn = trio.Lock()
    done = {name: trio.Event() for name in wanted}
    failures: list[ComposerError] = []
    found: list[Finding] = []

    async def tell_in_turn(event: Event) -> None:
        async with turn:
            await emit(event)

    session = builds.session(tell_in_turn, shows_failed=request.shows_failed)

    async def one(name: str) -> None:
        for other in graph.predecessors(name):
            await done[other].wait()
        try:
            built = _build(
                builds, project, wanted[name], request, tell_in_turn, session, is_alone=len(wanted) == 1
            )
            found.extend(await built)
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
    return found


async def ensure_built(
    builds: Builds, project: Project, images: Sequence[ImagePlan], request: UpRequest, emit: Emit
) -> bool:
    """Build what an ``up`` needs: what is missing, with ``--build`` or the policy ``build`` everything; whether
    anything was."""
    if request.no_build:
        return False
    names = [name for image in images_to_build(builds, images, request) for name in image.services]
    chosen = [project.service(name) for name in names]
    own = BuildRequest(project=request.project, quiet=request.quiet_build)
    looked_at = frozenset(image.reference for image in images if is_automatic(image, request))
    await build_services(builds, project, chosen, own, Reticent(emit, looked_at))
    return bool(chosen)


@dataclass
class Reticent:
    """Passes events on; of images that are only looked at none, until a step of theirs is done."""

    emit: Emit
    looked_at: frozenset[str]
    _held: dict[str, list[Event] | None] = field(default_factory=dict)

    async def __call__(self, event: Event) -> None:
        name = (event.parent or event.name) if isinstance(event, StepEvent) else ""
        held = self._held.setdefault(name, []) if name in self.looked_at else None
        if held is None:
            await self.emit(event)
            return
        held.append(event)
        assert isinstance(event, StepEvent)
        if event.status == "Error" or (event.status == "Building" and event.name.startswith("[")):
            self._held[name] = None
            for earlier in held:
                await self.emit(earlier)


def images_to_build(builds: Builds, images: Sequence[ImagePlan], request: UpRequest) -> tuple[ImagePlan, ...]:
    """Those of ``images`` that an ``up`` without ``--no-build`` builds."""
    return tuple(image for image in images if image.build and _is_to_build(builds, image, request))


def _is_to_build(builds: Builds, image: ImagePlan, request: UpRequest) -> bool:
    policy = request.pull if request.pull not in ("", "policy") else image.policy
    if request.build or policy == "build" or is_automatic(image, request):
        return True
    return policy != "always" and builds.images.resolve(image.reference, image.platform) is None


def is_automatic(image: ImagePlan, request: UpRequest) -> bool:
    """Whether an image is looked at, and built where an input has changed."""
    return not request.build and image.build and (request.build_auto or image.is_automatic)


async def _build(
    builds: Builds,
    project: Project,
    service: Service,
    request: BuildRequest,
    emit: Emit,
    session: Session,
    *,
    is_alone: bool,
) -> Sequence[Finding]:
    """What the checks found."""
    reference = image_of(project, service)
    build = service.build
    if build is None:
        return ()
    await tell(emit, "Image", reference, "Checking" if request.check else "Building")
    try:
        asked = build_of(project, service, build, request)
        told = teller(emit, reference, service="" if is_alone else service.name, quiet=request.quiet)
        async with taken():
            built = await builds.build(asked, told, partial(warn, emit), session)
    except ComposerError as error:
        await tell(emit, "Image", reference, "Error")
        raise error.within(f"building {reference} (for {service.name})").pointing_at(
            f"services.{service.name}.build"
        ) from None
    if request.check:
        for finding in built.findings:
            await warn(emit, str(finding))
        found = len(built.findings)
        await tell(
            emit, "Image", reference, "Warning" if found else "Checked", f"{found} found" if found else ""
        )
    else:
        await tell(emit, "Image", reference, "Built")
    return built.findings


def build_of(project: Project, service: Service, build: Build, request: BuildRequest) -> ImageBuild:
    """What a service's ``build`` section asks for. Raises ComposerErrors for what there is not."""
    env = request.project.env
    if build.isolation not in ("", "default"):
        raise InvalidArgument(f"build.isolation {build.isolation} of service {service.name} is for Windows")
    contexts = {}
    for name, source in build.additional_contexts.items():
        if source.startswith("service:"):
            other = project.services.get(source[8:])
            if other is None:
                raise NotFound(f"no such service: {source[8:]}")
            source = f"docker-image://{image_of(project, other)}"
        contexts[name] = source
    files, values = _secrets(project, build)
    agents = [f"{one.id}={one.path}" if one.path else one.id for one in build.ssh]
    platforms = build.platforms or ((service.platform,) if service.platform else ())
    epoch = {EPOCH: env[EPOCH]} if EPOCH in env else {}
    privileges = ("security.insecure",) if build.privileged else ()
    return ImageBuild(
        context=build.context,
        dockerfile=build.dockerfile,
        dockerfile_text=build.dockerfile_inline or None,
        target=build.target,
        tags=(image_of(project, service), *build.tags),
        args={**epoch, **_environment_values(build.args, env), **request.args},
        labels={
            **build.labels,
            "com.docker.compose.project": project.name,
            "com.docker.compose.service": service.name,
        },
        contexts=contexts,
        secret_files=files,
        secret_values=values,
        agents=(*agents, *request.ssh),
        allow=(*build.entitlements, *privileges),
        no_cache=build.no_cache or request.no_cache,
        no_cache_filter=build.no_cache_filter,
        pull=build.pull or request.pull,
        network=build.network,
        extra_hosts=build.extra_hosts,
        shm_size=int(build.shm_size),
        ulimits={name: (limit.soft, limit.hard) for name, limit in build.ulimits.items()},
        platforms=platforms,
        outputs=("type=registry",) if request.push else (),
        explain=request.explain,
        cache_from=tuple(absolute_cache(text, request.project.cwd) for text in build.cache_from),
        cache_to=tuple(absolute_cache(text, request.project.cwd) for text in build.cache_to),
        provenance=request.provenance or build.provenance,
        sbom=request.sbom or build.sbom,
        call="check" if request.check else "build",
        debug=request.debug,
        shows_failed=request.shows_failed,
        quiet=request.quiet,
        env=env,
    )


def _secrets(project: Project, build: Build) -> tuple[dict[str, str], dict[str, str]]:
    """Those that are files, and those that are values."""
    files: dict[str, str] = {}
    values: dict[str, str] = {}
    for granted in build.secrets:
        known = project.secrets[granted.source]
        name = granted.target.rpartition("/")[2] or granted.source
        if known.file:
            files[name] = known.file
        elif known.external:
            raise InvalidArgument(f"secret {name} is external, which builds do not know")
        else:
            values[name] = known.value if known.value is not None else known.content
    return files, values


def _environment_values(names: Mapping[str, str | None], env: Mapping[str, str]) -> dict[str, str]:
    """Arguments with values: those without one take the environment's, if it has one."""
    given = {name: value for name, value in names.items() if value is not None}
    return given | {name: env[name] for name, value in names.items() if value is None and name in env}
