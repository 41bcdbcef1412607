"""Whatever was there and whatever is asked for: after the plan is applied nothing is left to do."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from composer.plan.desired import DesiredService, Identity
from composer.plan.graph import Dependency
from composer.plan.hash import config_hash
from composer.plan.observed import Observed
from composer.plan.steps import NetworkSpec, Remove
from composer.plan.up import Desired, UpOptions, plan_desired
from runtime.container.config import ContainerConfig, EndpointConfig, Mount
from tests.unit.plan.simulator import apply_plan

NAMES = ("a", "b", "c", "d", "e")


@st.composite
def projects(draw: st.DrawFn) -> Desired:
    order = draw(st.permutations(NAMES))[: draw(st.integers(1, 5))]
    services: dict[str, DesiredService] = {}
    for index, name in enumerate(order):
        earlier = [n for n in order[:index] if services[n].replicas]
        needs = draw(st.sets(st.sampled_from(earlier))) if earlier else set()
        shared = draw(st.sampled_from([None, *sorted(needs)]))
        config = ContainerConfig(
            image="busybox",
            env=(f"LEVEL={draw(st.integers(0, 1))}",),
            network_mode=f"service:{shared}" if shared else "bridge",
            endpoints=() if shared else (EndpointConfig(network="p_default", aliases=(name,)),),
            mounts=(Mount(type="volume", target="/data"),) if draw(st.booleans()) else (),
        )
        services[name] = DesiredService(
            name=name,
            replicas=draw(st.integers(0, 3)),
            config=config,
            config_hash=config_hash(config),
            needs=tuple(Dependency(n, restart=n == shared or draw(st.booleans())) for n in sorted(needs)),
        )
    return Desired(
        identity=Identity("p"),
        services=services,
        selected=frozenset(services),
        known_services=frozenset(NAMES),
        networks=(NetworkSpec(key="default", name="p_default", internal=draw(st.booleans())),),
    )


@settings(max_examples=150, deadline=None)
@given(projects(), projects(), st.booleans())
def test_planning_after_applying_is_empty(before: Desired, after: Desired, force: bool) -> None:
    state = Observed()
    for desired in (before, after):
        plan = plan_desired(desired, state, UpOptions(force_recreate=force))
        state = apply_plan(plan, state)
        again = plan_desired(desired, state, UpOptions())
        assert again.is_empty, [r for r in again.replicas if r.is_change]
        for service in desired.services.values():
            assert len(state.of_service(service.name)) == service.replicas


@settings(max_examples=100, deadline=None)
@given(projects(), projects())
def test_plans_are_in_dependency_order(before: Desired, after: Desired) -> None:
    state = apply_plan(plan_desired(before, Observed(), UpOptions()), Observed())
    plan = plan_desired(after, state, UpOptions())
    order = [r.service for r in plan.replicas if not isinstance(r.action, Remove)]
    for name, service in after.services.items():
        for need in service.needs:
            if name in order and need.service in order:
                assert order.index(need.service) < order.index(name)
    names = [r.name for r in plan.replicas if not isinstance(r.action, Remove)]
    assert len(names) == len(set(names))
