"""``up``: making a plan true. One task per replica; each waits for what it depends on, and only for that."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import trio
from msgspec import to_builtins

from composer.engine.containers import Container
from composer.engine.hooks import HookFailed
from composer.engine.lifecycle import AlreadyStarted
from composer.engine.networking.lost_bridges import repair
from composer.engine.projects.hook_lines import HookLines
from composer.engine.projects.parts import Parts
from composer.engine.projects.side_by_side import side_by_side
from composer.engine.projects.steps import Emit, tell, warn, warn_all
from composer.engine.projects.waits import (
    ConditionFailed,
    explain_failure,
    together,
    unwrap,
    wait_for_condition,
)
from composer.engine.requests import UpRequest
from composer.plan.references import referenced_services, references_to, resolve_references
from composer.plan.steps import (
    Create,
    Keep,
    NetworkPlan,
    Plan,
    Recreate,
    Remove,
    ReplicaPlan,
    Restart,
    Start,
    VolumePlan,
    WaitFor,
)
from runtime.container.config import ContainerConfig
from runtime.errors import ComposerError, concerning


@dataclass
class _Replica:
    """A replica on its way: what is planned, and what has come of it."""

    plan: ReplicaPlan
    created: trio.Event = field(default_factory=trio.Event)
    launched: trio.Event = field(default_factory=trio.Event)
    """Its program runs; its post_start hooks may."""
    started: trio.Event = field(default_factory=trio.Event)
    container: Container | None = None
    failure: ComposerError | None = None
    """Why it could not be started."""


class Up:
    """One execution of one plan."""

    def __init__(self, parts: Parts, plan: Plan, request: UpRequest, emit: Emit) -> None:
        self.parts = parts
        self.plan = plan
        self.request = request
        self.emit = emit
        self.replicas = [_Replica(r) for r in plan.replicas if not isinstance(r.action, Remove)]
        self.by_service: dict[str, list[_Replica]] = {}
        for replica in self.replicas:
            self.by_service.setdefault(replica.plan.service, []).append(replica)
        self._told_waiting: set[str] = set()
        self.shown: Collection[str] = ()
        """Services whose output somebody watches."""
        self.all_created = trio.Event()
        """Every container stands, whether it has been started or not."""

    @property
    def containers(self) -> list[tuple[ReplicaPlan, Container]]:
        """What stands, after :meth:`apply`."""
        return [(r.plan, r.container) for r in self.replicas if r.container is not None]

    @property
    def launches(self) -> dict[str, trio.Event]:
        """By container id: set when its program has been started, or runs already."""
        return {r.container.id: r.launched for r in self.replicas if r.container is not None}

    async def apply(self) -> None:
        """Make it so. Raises the first error; what was done by then stays, for people to look at."""
        await warn_all(self.emit, self.plan.warnings)
        await self.ensure_surroundings()
        for group in self.plan.stop_first:
            await side_by_side([functools.partial(self._stop_first, replica) for replica in group])
        self._note_created()
        try:
            async with trio.open_nursery() as nursery:
                for removal in (r for r in self.plan.replicas if isinstance(r.action, Remove)):
                    nursery.start_soon(self._remove, removal)
                for replica in self.replicas:
                    nursery.start_soon(self._bring_up, replica)
        except BaseExceptionGroup as group:
            error = await self._explain(unwrap(group))
            failures = [replica.failure for replica in self.replicas if replica.failure is not None]
            if isinstance(error, ComposerError):  # what failed at the same time is told with it
                error = together(failures if error in failures else [error, *failures])
            raise error from None

    async def ensure_surroundings(self) -> None:
        """Have the networks and volumes."""
        for network in self.plan.networks:
            await self._ensure_network(network)
        for volume in self.plan.volumes:
            await self._ensure_volume(volume)

    async def _explain(self, error: BaseException) -> BaseException:
        if isinstance(error, _DependencyFailed):
            await tell(self.emit, "Container", error.cause.container.name, "Error")
            return await explain_failure(error.cause, self.parts.logs, "dependency failed to start: ")
        return error

    async def wait_for(self, waits: Sequence[WaitFor]) -> None:
        """After :meth:`apply`: until services are in the conditions that somebody outside of the plan needs."""
        try:
            for wait in waits:
                await self._wait_for(wait)
        except _DependencyFailed as error:
            raise await self._explain(error) from None

    async def see_to_orphans(self) -> None:
        """Nothing but what the plan says of them: warn, or remove them."""
        await warn_all(self.emit, self.plan.warnings)
        for replica in self.plan.replicas:
            if isinstance(replica.action, Remove) and replica.number == 0:
                await self._remove(replica)

    # Networks and volumes

    async def _ensure_network(self, network: NetworkPlan) -> None:
        if network.action == "keep":
            repair(self.parts.networks, self.parts.containers.all(), network.name)
            return
        if network.action == "recreate":
            await self._recreate_network(network)
            return
        await tell(self.emit, "Network", network.name, "Creating")
        await self._create_network(network)
        await tell(self.emit, "Network", network.name, "Created")

    async def _recreate_network(self, network: NetworkPlan) -> None:
        """Remove a network whose configuration changed, with the containers on it stopped first, and make it anew."""
        for container in self.parts.containers.all():
            if network.name in container.endpoints and container.state.is_alive:
                await self._stop(container)
        old = self.parts.networks.get(network.name)
        for container in self.parts.containers.all():
            if network.name in container.endpoints:
                await self.parts.networks.disconnect(old.id, container, force=True)
        await tell(self.emit, "Network", network.name, "Recreate", network.reason)
        await self.parts.networks.remove(old.id)
        await self._create_network(network)
        await tell(self.emit, "Network", network.name, "Recreated")

    async def _create_network(self, network: NetworkPlan) -> None:
        with concerning(f"networks.{network.key}"):
            await self._create(network)

    async def _create(self, network: NetworkPlan) -> None:
        await self.parts.networks.create(
            network.name,
            driver=network.driver or "bridge",
            options=dict(network.driver_opts),
            labels=dict(network.labels),
            internal=network.internal,
            attachable=network.attachable,
            enable_ipv4=network.enable_ipv4,
            enable_ipv6=network.enable_ipv6,
            pools=[to_builtins(pool) for pool in network.pools],
            ipam_driver=network.ipam_driver,
            ipam_options=dict(network.ipam_options) or None,
        )

    async def _ensure_volume(self, volume: VolumePlan) -> None:
        if volume.action == "keep":
            return
        await tell(self.emit, "Volume", volume.name, "Creating")
        self.parts.volumes.create(
            volume.name, volume.driver or "local", dict(volume.driver_opts), dict(volume.labels)
        )
        await tell(self.emit, "Volume", volume.name, "Created")

    # Replicas

    async def _stop_first(self, replica: ReplicaPlan) -> None:
        """Stop a dependent before what it depends on is replaced (``depends_on.restart``)."""
        action = replica.action
        assert isinstance(action, Restart | Recreate)
        container = self.parts.containers.get(action.id if isinstance(action, Restart) else action.old_id)
        await tell(self.emit, "Container", container.name, "Stopping", action.reason)
        await self._stop(container)
        await tell(self.emit, "Container", container.name, "Stopped")

    async def _remove(self, replica: ReplicaPlan) -> None:
        action = replica.action
        assert isinstance(action, Remove)
        container = self.parts.containers.get(action.id)
        await tell(self.emit, "Container", container.name, "Stopping", action.reason)
        with contextlib.suppress(AlreadyStarted):
            await self.parts.lifecycle.stop(container.id, self.request.timeout)
        await tell(self.emit, "Container", container.name, "Stopped")
        await tell(self.emit, "Container", container.name, "Removing")
        await self.parts.lifecycle.remove(container.id, force=True, volumes=True)
        await tell(self.emit, "Container", container.name, "Removed")

    async def _bring_up(self, replica: _Replica) -> None:
        await self._stand_up(replica)
        container = replica.container
        assert container is not None
        if isinstance(replica.plan.action, Keep) and container.state.status in ("running", "restarting"):
            await tell(self.emit, "Container", container.name, "Running")
            if container.state.error:  # that of a hook, of one that runs
                again = f"`composer restart {replica.plan.service}` starts it anew"
                await warn(self.emit, f"{container.name} runs, but its {container.state.error} ({again})")
            replica.launched.set()
            replica.started.set()
            return
        if not (self.request.start and replica.plan.start):
            return
        for wait in replica.plan.waits:
            with self.parts.waiting.for_service(replica.plan.name, wait.service, wait.condition):
                await self._wait_for(wait)
        await self._start(replica, container)

    async def _stand_up(self, replica: _Replica) -> None:
        """Have the container exist as planned (not yet started)."""
        action = replica.plan.action
        match action:
            case Keep(id=id) | Start(id=id):
                replica.container = self.parts.containers.get(id)
            case Restart(id=id):
                replica.container = self.parts.containers.get(id)
                await tell(self.emit, "Container", replica.container.name, "Restarting", action.reason)
                await self._stop(replica.container)
            case Create():
                config = await self._resolved(replica)
                await tell(self.emit, "Container", replica.plan.name, "Creating")
                replica.container = await self._make(replica, config, {})
                await tell(self.emit, "Container", replica.plan.name, "Created")
            case Recreate():
                replica.container = await self._recreate(replica, action)
            case _:
                raise AssertionError(action)
        replica.created.set()
        self._note_created()

    def _note_created(self) -> None:
        if all(replica.created.is_set() for replica in self.replicas):
            self.all_created.set()

    async def _make(self, replica: _Replica, config: ContainerConfig, carried: dict[str, str]) -> Container:
        try:
            return await self.parts.create(config, replica.plan.name, carried=carried)
        except ComposerError as error:
            service = replica.plan.service
            self._name_as_in_file(error)
            raise error.within(f"creating {replica.plan.name} (service {service})").pointing_at(
                f"services.{service}"
            )

    def _name_as_in_file(self, error: ComposerError) -> None:
        """What the engine says of a network is about its key."""
        for network in self.plan.networks:
            if error.about == (about := f"networks.{network.name}") or error.about.startswith(f"{about}."):
                error.about = f"networks.{network.key}{error.about.removeprefix(about)}"
                return

    async def _recreate(self, replica: _Replica, action: Recreate) -> Container:
        name = replica.plan.name
        old = self.parts.containers.get(action.old_id)
        config = await self._resolved(replica)
        await tell(self.emit, "Container", name, "Recreate", action.reason)
        await self._stop(old)
        carried = {} if self.request.renew_anon_volumes else dict(action.anonymous_volumes)
        if old.name == name:
            self.parts.containers.rename(old.id, f"{old.id[:12]}_{name}"[:255])
        endpoints = old.endpoints
        if any(asked.ipv4_address or asked.ipv6_address for asked in config.endpoints):
            old.update(endpoints={})  # the new one asks for the same address
        try:
            container = await self._make(replica, config, carried)
        except BaseException:
            old.update(endpoints=endpoints)
            if self.parts.containers.find_name(name) is None:
                self.parts.containers.rename(old.id, name)
            raise
        await self.parts.lifecycle.remove(old.id, force=True, volumes=self.request.renew_anon_volumes)
        await tell(self.emit, "Container", name, "Recreated")
        return container

    async def _resolved(self, replica: _Replica) -> ContainerConfig:
        """The configuration with the ids of containers that it shares something with in place of services' names."""
        config = replica.plan.config
        assert config is not None
        named = references_to(config)
        for other in self._dependencies(replica):
            if other.plan.name in named:
                await other.created.wait()
        ids: dict[str, str] = {}
        for service in referenced_services(config):
            ids[service] = (await self._first_container(service)).id
        return resolve_references(config, ids)

    def _dependencies(self, replica: _Replica) -> Iterator[_Replica]:
        """Whom ``replica`` waits for before it starts, directly or not."""
        services = [wait.service for wait in replica.plan.waits]
        for service in services:
            for other in self.by_service.get(service, []):
                yield other
                services += [w.service for w in other.plan.waits if w.service not in services]

    async def _first_container(self, service: str) -> Container:
        for other in self.by_service.get(service, []):
            await other.created.wait()
            assert other.container is not None
            return other.container
        found = self.parts.replicas_of(self.plan.project, service)
        if not found:
            raise ComposerError(
                f"service {service} has no container", hint=f"start it first: composer up -d {service}"
            )
        return found[0]

    async def _stop(self, container: Container) -> None:
        """Stop what is to be started again, or replaced. A hook that fails is told and passed over: what mends it is
        to replace the container that has it."""
        lifecycle, timeout = self.parts.lifecycle, self.request.timeout
        with contextlib.suppress(AlreadyStarted):
            try:
                await lifecycle.stop(container.id, timeout)
            except HookFailed as error:
                await warn(self.emit, f"{container.name} is stopped all the same: its {error.failure}")
                await lifecycle.stop(container.id, timeout, with_hooks=False)

    async def _start(self, replica: _Replica, container: Container) -> None:
        await tell(self.emit, "Container", container.name, "Starting")
        try:
            is_shown = replica.plan.service in self.shown
            hear = HookLines(container, self.emit).hear if is_shown else None
            if warning := await self.parts.lifecycle.start(
                container.id, hear=hear, launched=replica.launched
            ):
                await warn(self.emit, warning)
        except AlreadyStarted:
            replica.launched.set()
        except ComposerError as error:
            error.exit_status = 1
            service = replica.plan.service
            error.within(f"starting {container.name} (service {service})").pointing_at(f"services.{service}")
            replica.failure = error
            await tell(self.emit, "Container", container.name, "Error")
            raise
        await tell(self.emit, "Container", container.name, "Started")
        replica.started.set()

    async def _wait_for(self, wait: WaitFor) -> None:
        """Until every replica of another service is in the condition that this one needs."""
        try:
            async with trio.open_nursery() as nursery:
                for other in self.by_service.get(wait.service, []):
                    nursery.start_soon(self._wait_for_replica, other, wait)
                if wait.service not in self.by_service:
                    for container in self.parts.replicas_of(self.plan.project, wait.service):
                        nursery.start_soon(self._wait_for_container, container, wait)
        except BaseExceptionGroup as group:
            error = unwrap(group)
            if not isinstance(error, _DependencyFailed):
                raise
            if wait.required:
                raise error from None
            await warn(
                self.emit, f"optional dependency {wait.service} failed to start: {error.cause.message}"
            )

    async def _wait_for_replica(self, other: _Replica, wait: WaitFor) -> None:
        await other.created.wait()
        if wait.condition == "service_started" and other.plan.start:
            await other.started.wait()
            return
        assert other.container is not None
        if other.plan.start and not isinstance(other.plan.action, Keep):
            # Its last life's exit must not be taken for the one that is waited for.
            await other.started.wait()
        await self._wait_for_container(other.container, wait)

    async def _wait_for_container(self, container: Container, wait: WaitFor) -> None:
        if wait.condition != "service_started":
            await self._tell_waiting(container)
        try:
            met = await wait_for_condition(container, wait.condition, was_started=True)
        except ConditionFailed as error:
            raise _DependencyFailed(error) from None
        if wait.condition != "service_started":
            await tell(self.emit, "Container", container.name, met.word)

    async def _tell_waiting(self, container: Container) -> None:
        if container.id not in self._told_waiting:
            self._told_waiting.add(container.id)
            await tell(self.emit, "Container", container.name, "Waiting")


class _DependencyFailed(ComposerError):
    """A condition that a dependent needs will not come true."""

    def __init__(self, cause: ConditionFailed) -> None:
        super().__init__(cause.message)
        self.cause = cause
