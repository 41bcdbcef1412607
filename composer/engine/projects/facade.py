"""What the API asks about projects: load the file, plan, act, answer. One operation at a time on each project."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import trio
from msgspec import structs

from composer.compose.model import Project
from composer.engine.builds.builds import Builds
from composer.engine.containers import Container
from composer.engine.logs import Seen
from composer.engine.projects import operations, unstarted
from composer.engine.projects.attached import Attached, Starting, shown_services
from composer.engine.projects.building import build_services, ensure_built
from composer.engine.projects.checkouts import is_anothers, own_name, taken_over
from composer.engine.projects.down import images_by_containers, take_down
from composer.engine.projects.health_waits import check_health_waits
from composer.engine.projects.known import Known, hint_for
from composer.engine.projects.listing import container_summary, project_summaries, service_summary
from composer.engine.projects.looked_at import LookedAt
from composer.engine.projects.observe import observe
from composer.engine.projects.oneoff import make_oneoff
from composer.engine.projects.parts import Parts, number_of, service_of
from composer.engine.projects.probe_warnings import absent_programs
from composer.engine.projects.pulling import ensure_images, pull_project
from composer.engine.projects.readiness import wait_ready
from composer.engine.projects.rehearsal import rehearse_down, rehearse_up
from composer.engine.projects.showing_logs import show_logs
from composer.engine.projects.sources import ProjectLoader
from composer.engine.projects.steps import Emit, tell, warn, warn_all
from composer.engine.projects.turns import Preempted, Turns
from composer.engine.projects.up import Up
from composer.engine.projects.waits import unwrap
from composer.engine.requests import (
    BuildRequest,
    DownRequest,
    KillRequest,
    LogsRequest,
    ProjectRequest,
    ProjectSource,
    PullRequest,
    RemoveRequest,
    ResultEvent,
    RunRequest,
    ScaleRequest,
    StartedEvent,
    StartRequest,
    StopRequest,
    UpRequest,
)
from composer.plan.addresses import asked_address, with_address
from composer.plan.graph import restarted_with, with_dependencies
from composer.plan.plan import (
    DownOptions,
    UpOptions,
    dependencies_of,
    images_of,
    plan_down,
    plan_up,
    wanted_images,
)
from composer.plan.steps import Keep, Plan, WaitFor
from runtime.errors import InvalidArgument, NotFound


@dataclass
class Projects:
    """Every method takes a request, emits what happens, and returns the last event or raises ComposerError."""

    parts: Parts
    loader: ProjectLoader
    builds: Builds
    turns: Turns = field(default_factory=Turns)
    looked_at: LookedAt = field(default_factory=LookedAt)

    def _load(self, source: ProjectSource, services: Sequence[str] = (), *, address: str = "") -> Project:
        """``address`` is that of ``up --address``. A checkout that publishes on an address of its own has a name of its
        own as well, unless one was given for this command: when another directory's project has its name, and as long
        as anything of it is there."""
        project = self.loader.load(source, services)
        if source.project_name or source.env.get("COMPOSE_PROJECT_NAME"):
            return project
        name = own_name(project)
        is_auto = "auto" in (address, asked_address(project))
        if (is_auto and is_anothers(project, self.parts.of_project(project.name))) or self.parts.has(name):
            return self.loader.load(structs.replace(source, project_name=name), services)
        return project

    async def _know(
        self, source: ProjectSource, services: Sequence[str] = (), emit: Emit | None = None
    ) -> Known:
        """The project of ``source``. With ``-p`` and no ``-f`` it is what has this name, whatever file lies here: as in
        Docker Compose, labels have to do. So they have when a name is set otherwise and no file is to be found."""
        project: Project | None = None
        name = source.project_name
        if not name or source.files or source.env.get("COMPOSE_FILE"):
            try:
                project = self._load(source, services)
                name = project.name
            except NotFound:
                name = name or source.env.get("COMPOSE_PROJECT_NAME", "")
                if not name or source.files or not self.parts.of_project(name):
                    raise
        if project is not None and emit is not None:
            await warn_all(emit, project.warnings)
        return Known(name, project, self.parts.of_project(name))

    @asynccontextmanager
    async def _turn(self, verb: str, request: ProjectRequest, emit: Emit) -> AsyncIterator[Known]:
        """Be alone with the project of a request, and know it as it is then. Raises Preempted."""
        known = await self._know(request.project, request.services, emit)
        async with self.turns.take(known.name, verb, emit):
            yield replace(known, containers=self.parts.of_project(known.name))

    # Verbs

    async def up(self, request: UpRequest, emit: Emit) -> ResultEvent:
        project = self._load(request.project, request.services, address=request.address)
        await warn_all(emit, project.warnings)
        if warning := taken_over(project, self.parts.of_project(project.name)):
            await warn(emit, warning)
        if request.dry_run:
            return rehearse_up(self.parts, self.builds, self._plan(project, request), request)
        starting = Starting()
        attached: Attached | None = None
        before = self._seen(project.name, request.logs_since) if request.attach else {}

        async def follow(up: Up) -> None:
            """Show logs from the moment that all containers stand."""
            nonlocal attached
            await up.all_created.wait()
            attached = self._attach(up, request, project, emit, starting)
            await attached.run(before, request.logs_since)

        async def work() -> Up:
            async with self.turns.take(project.name, "up" if request.start else "create", emit):
                up = await self._prepare(project, request, emit)
                if request.attach:
                    up.shown = shown_services(request, project, up.plan.services)
                    nursery.start_soon(follow, up)
                with starting.scope:
                    await up.apply()
                return up

        try:
            async with trio.open_nursery() as nursery:
                try:
                    up = await work()
                    if request.attach:
                        await emit(StartedEvent())
                except Preempted:
                    if attached is None:
                        raise
                    # Somebody stops what is shown; the rest of it is of interest.
                finally:
                    starting.is_over.set()
        except BaseExceptionGroup as group:
            raise unwrap(group) from None
        if attached is not None:
            return ResultEvent(exit_status=attached.exit_status)
        if request.wait and request.start:
            # This keeps nobody from another command.
            services = request.services or up.plan.services
            chosen = [container for replica, container in up.containers if replica.service in services]
            await wait_ready(chosen, request.wait_timeout, emit, self.parts.logs)
        return ResultEvent()

    async def _prepare(self, project: Project, request: UpRequest, emit: Emit) -> Up:
        """Decide what is to be done, with the images that it takes."""
        plan = self._plan(project, request)
        if request.exit_code_from and request.exit_code_from not in plan.services:
            raise NotFound(f"no such service: {request.exit_code_from}")
        if absent := [name for name in request.attach_services if name not in plan.services]:
            raise InvalidArgument(f"cannot attach to services not included in up: {', '.join(absent)}")
        is_built = await ensure_built(self.builds, project, plan.images, request, emit)
        if await ensure_images(self.parts, plan.images, request, emit) or is_built:
            plan = self._plan(project, request)  # what was brought in may change what has to be done
        check_health_waits(plan, self.parts)
        await warn_all(emit, await trio.to_thread.run_sync(absent_programs, project, plan, self.parts))
        return Up(self.parts, plan, request, emit)

    def _seen(self, name: str, since: int | None) -> dict[str, Seen]:
        """What an attached ``up`` is not to show of containers that there are: what was before it, or before ``since``
        (ns) when it goes on where another engine stopped."""
        containers = self.parts.of_project(name)
        if since is None:
            return {c.id: self.parts.logs.seen_by_now(c) for c in containers}
        ends = {c.id: c.state.finished_at for c in containers}
        return {id: Seen(finished_at=end if end <= since else 0) for id, end in ends.items()}

    def _attach(
        self, up: Up, request: UpRequest, project: Project, emit: Emit, starting: Starting
    ) -> Attached:
        everyone = [container for _, container in up.containers]
        shown = sorted(
            (c for c in everyone if service_of(c) in up.shown), key=lambda c: (service_of(c), number_of(c))
        )
        awaited = {
            need.service
            for needs in dependencies_of(project).values()
            for need in needs
            if need.condition == "service_completed_successfully"
        }
        starting.of = up.launches
        return Attached(self.parts, shown, everyone, request, emit, awaited, starting)

    def _plan(self, project: Project, request: UpRequest) -> Plan:
        self.looked_at.demand_makeable(project, request.services, include_deps=not request.no_deps)
        observed = observe(project.name, images_of(project), self.parts)
        return plan_up(
            with_address(project, request.address),
            observed,
            UpOptions(
                services=request.services,
                scale=request.scale,
                start=request.start,
                no_deps=request.no_deps,
                always_recreate_deps=request.always_recreate_deps,
                force_recreate=request.force_recreate,
                no_recreate=request.no_recreate,
                renew_anon_volumes=request.renew_anon_volumes,
                remove_orphans=request.remove_orphans,
                pull=request.pull,
            ),
        )

    async def create(self, request: UpRequest, emit: Emit) -> ResultEvent:
        return await self.up(structs.replace(request, start=False, attach=False, wait=False), emit)

    async def scale(self, request: ScaleRequest, emit: Emit) -> ResultEvent:
        return await self.up(
            UpRequest(
                project=request.project,
                services=tuple(request.scale),
                scale=request.scale,
                no_deps=request.no_deps,
                dry_run=request.dry_run,
            ),
            emit,
        )

    async def down(self, request: DownRequest, emit: Emit) -> ResultEvent:
        known = await self._know(request.project, (), emit)
        hurry = None if request.dry_run else functools.partial(operations.hurry, self.parts, known, request)
        preempts = not (request.services or request.dry_run)
        async with self.turns.take(known.name, "down", emit, preempts=preempts, meanwhile=hurry):
            observed = observe(known.name, images_of(known.project) if known.project else (), self.parts)
            plan = plan_down(
                known.project,
                observed,
                DownOptions(
                    project_name=known.name,
                    services=request.services,
                    volumes=request.volumes,
                    remove_orphans=request.remove_orphans,
                    rmi=request.rmi,
                ),
            )
            if known.project is None:
                plan = replace(plan, images=images_by_containers(known.containers, known.name, request.rmi))
                if not (plan.containers or plan.networks or plan.busy_networks or plan.volumes):
                    await warn(emit, f'Warning: No resource found to remove for project "{known.name}".')
            if request.dry_run:
                return rehearse_down(plan)
            await take_down(self.parts, plan, request, emit)
        return ResultEvent()

    async def start(self, request: StartRequest, emit: Emit) -> ResultEvent:
        async with self._turn("start", request, emit) as known:
            if not (known.project or known.containers):
                raise NotFound(f'no container found for project "{known.name}": not found')
            chosen = known.chosen(request.services)
            self._demand_containers(chosen, request.services or _with_replicas(known.project))
            if request.services:
                chosen = known.chosen(sorted(with_dependencies(known.dependencies, request.services)))
            await operations.start(self.parts, chosen, known.dependencies, emit)
        if request.wait:
            await wait_ready(chosen, request.wait_timeout, emit, self.parts.logs)
        return ResultEvent()

    def _demand_containers(self, chosen: Sequence[Container], services: Sequence[str]) -> None:
        missing = [s for s in services if s not in {service_of(c) for c in chosen}]
        if missing:
            raise NotFound(
                f'service "{missing[0]}" has no container to start', hint="composer up -d makes them"
            )

    async def stop(self, request: StopRequest, emit: Emit) -> ResultEvent:
        known = await self._know(request.project, request.services, emit)
        hurry = functools.partial(operations.hurry, self.parts, known, request)
        async with self.turns.take(known.name, "stop", emit, preempts=request.interrupts, meanwhile=hurry):
            known = replace(known, containers=self.parts.of_project(known.name))
            chosen = known.chosen(request.services)
            await operations.stop(self.parts, chosen, known.dependencies, request.timeout, emit)
        return ResultEvent()

    async def restart(self, request: StopRequest, emit: Emit) -> ResultEvent:
        async with self._turn("restart", request, emit) as known:
            services = set(request.services)
            if services and not request.no_deps:
                services |= restarted_with(known.dependencies, services)
            chosen = known.chosen(sorted(services))
            await operations.restart(self.parts, chosen, known.dependencies, request, emit)
        return ResultEvent()

    async def kill(self, request: KillRequest, emit: Emit) -> ResultEvent:
        known = await self._know(request.project, request.services, emit)
        chosen = known.chosen(request.services, with_oneoffs=True)
        if request.remove_orphans:
            orphans = [c for c in known.containers if c not in chosen and not request.services]
            for orphan in orphans:
                await tell(emit, "Container", orphan.name, "Removing")
                await self.parts.lifecycle.remove(orphan.id, force=True)
                await tell(emit, "Container", orphan.name, "Removed")
        alive = sum(container.state.is_alive for container in chosen)
        await operations.kill(self.parts, chosen, request, emit)
        return ResultEvent(data={"Killed": alive})

    async def rm(self, request: RemoveRequest, emit: Emit) -> ResultEvent:
        async with self._turn("rm", request, emit) as known:
            chosen = known.chosen(request.services)
            await operations.remove(self.parts, chosen, request, emit)
        return ResultEvent()

    async def pause(self, request: ProjectRequest, emit: Emit) -> ResultEvent:
        async with self._turn("pause", request, emit) as known:
            await operations.pause(self.parts, known.chosen(request.services), emit)
        return ResultEvent()

    async def unpause(self, request: ProjectRequest, emit: Emit) -> ResultEvent:
        async with self._turn("unpause", request, emit) as known:
            await operations.unpause(self.parts, known.chosen(request.services), emit)
        return ResultEvent()

    async def pull(self, request: PullRequest, emit: Emit) -> ResultEvent:
        project = self._load(request.project, request.services)
        await warn_all(emit, project.warnings)
        images = wanted_images(
            project,
            UpOptions(services=request.services, no_deps=not request.include_deps, pull=request.policy),
        )
        return await pull_project(self.parts, project, images, request, emit)

    async def build(self, request: BuildRequest, emit: Emit) -> ResultEvent:
        project = self._load(request.project, request.services)
        await warn_all(emit, project.warnings)
        chosen = project.select(request.services, include_deps=request.with_dependencies)
        found = await build_services(self.builds, project, tuple(chosen.services.values()), request, emit)
        return ResultEvent(exit_status=1 if request.check and found else 0)

    async def run(self, request: RunRequest, emit: Emit) -> ResultEvent:
        """Bring up what the service depends on, then make (not start) a one-off container of it."""
        project = self._load(request.project, (request.service,))
        await warn_all(emit, project.warnings)
        if request.service not in project.services:
            raise NotFound(
                f"no such service: {request.service}",
                hint=hint_for(request.service, sorted(project.services)),
            )
        async with self.turns.take(project.name, "run", emit):
            needs = [
                need
                for need in dependencies_of(project).get(request.service, ())
                if not request.no_deps and (need.required or need.service in project.services)
            ]
            up = UpRequest(
                project=request.project,
                services=tuple(n.service for n in needs) or (request.service,),
                no_deps=request.no_deps,
                quiet_pull=request.quiet_pull,
                remove_orphans=request.remove_orphans,
            )
            work = Up(self.parts, self._plan(project, up), up, emit)
            if needs:
                await work.apply()
                await work.wait_for([WaitFor(n.service, n.condition, n.required) for n in needs])
            else:
                await work.see_to_orphans()
            container = await make_oneoff(self.parts, self.builds, project, request, emit)
            unstarted.see_to(container, self.parts.lifecycle)
        return ResultEvent(data={"Id": container.id, "Name": container.name})

    async def logs(self, request: LogsRequest, emit: Emit) -> ResultEvent:
        known = await self._know(request.project, request.services, emit)
        known.chosen(request.services)  # refuses services that there are not
        at_work = functools.partial(self.turns.at_work, known.name)
        await show_logs(self.parts, known, request, emit, at_work)
        return ResultEvent()

    async def resolve(self, request: ProjectRequest) -> dict[str, Any]:
        """The project of a directory, and its containers."""
        known = await self._know(request.project, request.services)
        project = known.project
        services: list[dict[str, Any]] = []
        if project is not None:
            services = [service_summary(name, service) for name, service in project.services.items()]
            for service in request.services:
                if service not in project.services and service not in {
                    service_of(c) for c in known.containers
                }:
                    raise NotFound(
                        f"no such service: {service}", hint=hint_for(service, sorted(project.services))
                    )
        return {
            "Name": known.name,
            "Warnings": list(project.warnings) if project else [],
            "WorkingDir": project.working_dir if project else "",
            "ConfigFiles": list(project.compose_files) if project else [],
            "Services": services,
            "Profiles": {n: list(s.profiles) for n, s in project.disabled_services.items()}
            if project
            else {},
            "Volumes": [v.name for v in project.volumes.values()] if project else [],
            "Containers": [container_summary(c) for c in known.containers],
        }

    def list_projects(self, all: bool = False) -> list[dict[str, Any]]:
        return project_summaries(self.parts.containers.all(), everything=all)


def _with_replicas(project: Project | None) -> list[str]:
    return [name for name, service in project.services.items() if service.replicas] if project else []


__all__ = ["Keep", "Known", "Projects"]
