"""Planning an ``up``: tables of desired and observed state with the decisions that follow."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from composer.plan.desired import DesiredService, Identity
from composer.plan.display import explain
from composer.plan.graph import Dependency
from composer.plan.hash import config_hash
from composer.plan.observed import Observed, ObservedContainer, ObservedNetwork, ObservedVolume
from composer.plan.steps import NetworkSpec, Plan, Recreate, Remove, VolumeSpec
from composer.plan.up import Desired, UpOptions, plan_desired
from runtime.container.config import ContainerConfig, EndpointConfig, Mount, PortBinding
from runtime.errors import Conflict, NotFound
from tests.unit.plan.simulator import apply_plan

IMAGES = {"busybox": "sha256:1"}


def service(
    name: str,
    needs: str = "",
    *,
    replicas: int = 1,
    container_name: str = "",
    **config: Any,
) -> DesiredService:
    """``needs="db cache!"``: depends on db and, with restart, on cache."""
    if "network_mode" not in config:
        config.setdefault("endpoints", (EndpointConfig(network="shop_default", aliases=(name,)),))
    made = ContainerConfig(image="busybox", **config)
    return DesiredService(
        name=name,
        replicas=replicas,
        config=made,
        config_hash=config_hash(made, container_name),
        needs=tuple(Dependency(n.rstrip("!"), restart=n.endswith("!")) for n in needs.split()),
        container_name=container_name,
        image_id=IMAGES["busybox"],
    )


def project(*services: DesiredService, **more: Any) -> Desired:
    return Desired(
        identity=Identity("shop", "/srv/shop", ("/srv/shop/compose.yaml",)),
        services={s.name: s for s in services},
        selected=more.pop("selected", frozenset(s.name for s in services)),
        known_services=more.pop("known", frozenset(s.name for s in services)),
        networks=more.pop("networks", (NetworkSpec(key="default", name="shop_default"),)),
        volumes=more.pop("volumes", ()),
    )


def running(desired: Desired, observed: Observed | None = None) -> Observed:
    """The state after ``desired`` was brought up."""
    before = observed or Observed(images=IMAGES)
    return apply_plan(plan_desired(desired, before, UpOptions()), before)


def actions(plan: Plan) -> dict[str, str]:
    """Container -> "Action: reason", without those that are kept."""
    return {r.name: f"{type(r.action).__name__}: {r.reason}" for r in plan.replicas if r.is_change}


def up(desired: Desired, observed: Observed, **options: Any) -> dict[str, str]:
    return actions(plan_desired(desired, observed, UpOptions(**options)))


def test_first_up_creates_everything_in_order() -> None:
    desired = project(service("web", "db"), service("db"), volumes=(VolumeSpec(key="d", name="shop_d"),))
    plan = plan_desired(desired, Observed(images=IMAGES), UpOptions())
    assert [n.action for n in plan.networks] == ["create"]
    assert [v.action for v in plan.volumes] == ["create"]
    assert [r.name for r in plan.replicas] == ["shop-db-1", "shop-web-1"]
    assert [w.service for w in plan.replicas[1].waits] == ["db"]
    assert explain(plan) == (
        "create network shop_default (does not exist)",
        "create container shop-db-1 (does not exist), after network:shop_default",
        "create container shop-web-1 (does not exist), after container:shop-db-1, network:shop_default",
        "create volume shop_d (does not exist)",
    )


def test_second_up_is_empty() -> None:
    desired = project(service("web", "db", replicas=3), service("db"))
    plan = plan_desired(desired, running(desired), UpOptions())
    assert plan.is_empty
    assert {r.reason for r in plan.replicas} == {"up to date"}


def test_labels_are_those_of_compose() -> None:
    state = running(project(service("web", "db!", labels={"mine": "1"}), service("db")))
    (web,) = state.of_service("web")
    found = {k.removeprefix("com.docker.compose."): v for k, v in web.labels.items()}
    assert found.pop("config-hash")
    assert found == {
        "mine": "1",
        "project": "shop",
        "service": "web",
        "container-number": "1",
        "oneoff": "False",
        "depends_on": "db:service_started:true",
        "project.working_dir": "/srv/shop",
        "project.config_files": "/srv/shop/compose.yaml",
        "version": "2.40.3",
        "image": "sha256:1",
    }


BASE = project(service("web", "db", env=("LEVEL=info", "A=1")), service("db"))


@pytest.mark.parametrize(
    ("web", "reason"),
    [
        (service("web", "db", env=("LEVEL=debug", "A=1")), "configuration changed: environment.LEVEL"),
        (service("web", "db", env=("A=1",)), "configuration changed: environment.LEVEL"),
        (service("web", env=("LEVEL=info", "A=1")), None),
        (service("web", "db", env=("LEVEL=info", "A=1"), user="app"), "configuration changed: user"),
        (
            service("web", "db", env=("LEVEL=info", "A=1"), container_name="www"),
            "configuration changed: container_name",
        ),
        (
            service("web", "db", env=("LEVEL=info", "A=1"), mounts=(Mount(type="tmpfs", target="/t"),)),
            "configuration changed: volumes",
        ),
    ],
)
def test_only_the_changed_service_is_recreated(web: DesiredService, reason: str | None) -> None:
    changed = project(web, service("db"))
    name = web.container_name or "shop-web-1"
    assert up(changed, running(BASE)) == ({} if reason is None else {name: f"Recreate: {reason}"})


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"force_recreate": True}, {"shop-db-1": "forced", "shop-web-1": "forced"}),
        ({"no_recreate": True}, {}),
        ({}, {}),
    ],
)
def test_recreate_flags(options: dict[str, Any], expected: dict[str, str]) -> None:
    assert up(BASE, running(BASE), **options) == {k: f"Recreate: {v}" for k, v in expected.items()}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"force_recreate": True}, ["shop-web-1"]),
        ({"renew_anon_volumes": True}, ["shop-web-1"]),
        ({"always_recreate_deps": True}, ["shop-db-1"]),
        ({"force_recreate": True, "always_recreate_deps": True}, ["shop-db-1", "shop-web-1"]),
    ],
)
def test_force_is_for_what_was_named(options: dict[str, Any], expected: list[str]) -> None:
    chosen = replace(BASE, selected=frozenset({"web"}))
    assert sorted(up(chosen, running(BASE), **options)) == expected


def test_a_new_image_recreates() -> None:
    newer = replace(BASE, services={n: replace(s, image_id="sha256:2") for n, s in BASE.services.items()})
    assert up(newer, running(BASE))["shop-db-1"] == "Recreate: image changed: busybox"


def test_a_changed_network_is_made_anew_with_what_is_on_it() -> None:
    networks = (NetworkSpec(key="default", name="shop_default", internal=True),)
    changed = replace(BASE, networks=networks)
    plan = plan_desired(changed, running(BASE), UpOptions())
    assert [(n.action, n.reason) for n in plan.networks] == [("recreate", "configuration changed")]
    assert actions(plan) == dict.fromkeys(
        ("shop-db-1", "shop-web-1"), "Recreate: network changed: shop_default"
    )


def test_a_network_that_was_removed_is_noticed() -> None:
    state = replace(running(BASE), networks={})
    assert up(BASE, state)["shop-db-1"] == "Recreate: network was made anew: shop_default"


@pytest.mark.parametrize(
    ("state", "action"),
    [
        ({"state": "exited", "exit_code": 3}, "Start: exited with status 3"),
        ({"state": "created"}, "Start: was never started"),
        ({"state": "dead"}, "Start: is dead"),
        ({"state": "paused"}, None),
        ({"state": "restarting"}, None),
    ],
)
def test_what_does_not_run_is_started(state: dict[str, Any], action: str | None) -> None:
    observed = running(project(service("db")))
    (db,) = observed.containers
    observed = replace(observed, containers=(replace(db, **state),))
    assert up(project(service("db")), observed) == ({"shop-db-1": action} if action else {})
    assert up(project(service("db")), observed, start=False) == {}


@pytest.mark.parametrize(
    ("numbers", "stale", "replicas", "expected"),
    [
        ((1, 2, 3), (), 1, {"shop-web-3": "Remove", "shop-web-2": "Remove"}),
        ((1, 2, 3), (1,), 2, {"shop-web-1": "Remove"}),
        ((1, 2), (), 0, {"shop-web-2": "Remove", "shop-web-1": "Remove"}),
        ((1, 2), (), 4, {"shop-web-3": "Create", "shop-web-4": "Create"}),
        ((2, 4), (), 3, {"shop-web-5": "Create"}),
        ((1, 2), (2,), 2, {"shop-web-2": "Recreate"}),
    ],
)
def test_scaling(
    numbers: tuple[int, ...], stale: tuple[int, ...], replicas: int, expected: dict[str, str]
) -> None:
    desired = project(service("web", replicas=4))
    state = running(desired)
    template = state.containers[0]
    containers = tuple(
        replace(
            template,
            id=f"c{n}",
            name=f"shop-web-{n}",
            number=n,
            config_hash="old" if n in stale else template.config_hash,
        )
        for n in numbers
    )
    state = replace(state, containers=containers, container_names={c.name: c.id for c in containers})
    found = up(project(service("web", replicas=replicas)), state)
    assert {name: action.partition(":")[0] for name, action in found.items()} == expected
    assert list(found) == list(expected)


def test_anonymous_volumes_carry_over_by_target() -> None:
    data, cache = Mount(type="volume", target="/data"), Mount(type="volume", target="/cache")
    state = running(project(service("db", mounts=(data, cache))))
    old = state.containers[0].anonymous_volumes
    named = Mount(type="volume", target="/cache", source="shop_c")
    changed = project(service("db", mounts=(data, named)), volumes=(VolumeSpec(key="c", name="shop_c"),))
    (replica,) = plan_desired(changed, state, UpOptions()).replicas
    assert isinstance(replica.action, Recreate)
    assert replica.action.anonymous_volumes == {"/data": old["/data"]}
    (replica,) = plan_desired(changed, state, UpOptions(renew_anon_volumes=True)).replicas
    assert isinstance(replica.action, Recreate)
    assert replica.action.anonymous_volumes == {}


def test_dependents_restart_with_what_they_depend_on() -> None:
    before = project(service("top", "web!"), service("web", "db!"), service("log", "db"), service("db"))
    after = replace(before, services={**before.services, "db": service("db", user="app")})
    plan = plan_desired(after, running(before), UpOptions())
    assert actions(plan) == {
        "shop-db-1": "Recreate: configuration changed: user",
        "shop-web-1": "Restart: db, which it depends on, is recreated",
        "shop-top-1": "Restart: web, which it depends on, is restarted",
    }
    assert [[r.name for r in group] for group in plan.stop_first] == [["shop-top-1"], ["shop-web-1"]]


def test_who_shares_a_namespace_follows_its_owner() -> None:
    before = project(
        service("vpn"),
        service("app", "vpn!", network_mode="service:vpn"),
        service("peek", "app!", network_mode="none", pid_mode="service:app"),
        service("copy", "vpn", volumes_from=("service:vpn:ro",)),
    )
    state = running(before)
    vpn, app = state.of_service("vpn")[0], state.of_service("app")[0]
    assert app.config is not None
    assert app.config.network_mode == f"container:{vpn.id}"
    assert plan_desired(before, state, UpOptions()).is_empty
    after = replace(before, services={**before.services, "vpn": service("vpn", user="x")})
    assert up(after, state) == {
        "shop-vpn-1": "Recreate: configuration changed: user",
        "shop-app-1": "Recreate: network_mode: the container of vpn is recreated",
        "shop-copy-1": "Recreate: volumes_from: the container of vpn is recreated",
        "shop-peek-1": "Recreate: pid: the container of app is recreated",
    }
    moved = tuple(replace(c, id="other") if c.service == "vpn" else c for c in state.containers)
    moved_state = replace(state, containers=moved)
    assert up(before, moved_state)["shop-app-1"] == (
        "Recreate: network_mode: the container of vpn is another one now"
    )


def test_orphans_stay_with_a_warning_or_go() -> None:
    state = running(project(service("web"), service("old"), service("tool")))
    oneoff = replace(
        state.of_service("web")[0], id="r", name="shop-web-run-1", oneoff=True, state="exited", created=99999
    )
    state = replace(state, containers=(*state.containers, oneoff))
    now = project(service("web"), known=frozenset({"web", "tool"}))
    plan = plan_desired(now, state, UpOptions())
    assert plan.warnings == (
        "Found orphan containers ([shop-web-run-1 shop-old-1]) for this project. If you removed or renamed "
        "this service in your compose file, you can run this command with the --remove-orphans flag to clean "
        "it up.",
    )
    assert plan.is_empty
    plan = plan_desired(now, state, UpOptions(remove_orphans=True))
    assert actions(plan) == {"shop-web-run-1": "Remove: orphan", "shop-old-1": "Remove: orphan"}
    assert not plan.warnings


EXTERNAL = VolumeSpec(key="d", name="data", external=True)


@pytest.mark.parametrize(
    ("desired", "message"),
    [
        (project(volumes=(EXTERNAL,)), 'external volume "data" not found'),
        (
            project(networks=(NetworkSpec(key="n", name="lan", external=True),)),
            "network lan declared as external, but could not be found",
        ),
    ],
)
def test_external_things_must_exist(desired: Desired, message: str) -> None:
    with pytest.raises(NotFound) as caught:
        plan_desired(desired, Observed(), UpOptions())
    assert caught.value.message == message


def test_foreign_volumes_and_networks_are_used_with_a_warning() -> None:
    desired = project(volumes=(VolumeSpec(key="d", name="data"), VolumeSpec(key="e", name="else")))
    state = Observed(
        volumes={
            "data": ObservedVolume("data"),
            "else": ObservedVolume("else", {"com.docker.compose.project": "blog"}),
        },
        networks={"shop_default": ObservedNetwork("shop_default")},
    )
    plan = plan_desired(desired, state, UpOptions())
    assert plan.is_empty
    assert plan.warnings == (
        "a network with name shop_default exists but was not created by compose.\n"
        "Set `external: true` to use an existing network",
        'volume "data" already exists but was not created by Docker Compose. '
        "Use `external: true` to use an existing volume",
        'volume "else" already exists but was created for project "blog" (expected "shop"). '
        "Use `external: true` to use an existing volume",
    )


def test_a_changed_volume_is_kept() -> None:
    before = project(volumes=(VolumeSpec(key="d", name="data"),))
    after = project(volumes=(VolumeSpec(key="d", name="data", driver_opts={"type": "tmpfs"}),))
    plan = plan_desired(after, running(before), UpOptions())
    assert plan.is_empty
    assert plan.warnings[0].startswith(
        'Volume "data" exists but doesn\'t match configuration in compose file'
    )


def test_names_that_are_taken() -> None:
    desired = project(service("web", container_name="www"))
    with pytest.raises(Conflict, match='the container name "www" is already in use by container abc'):
        plan_desired(desired, Observed(container_names={"www": "abc"}), UpOptions())
    twice = project(service("web", container_name="www"), service("api", container_name="www"))
    with pytest.raises(Conflict, match='"www" is the container name of service api as well'):
        plan_desired(twice, Observed(), UpOptions())


def test_a_removed_container_frees_its_name() -> None:
    state = running(project(service("old", container_name="www")))
    desired = project(service("new", container_name="www"))
    with pytest.raises(Conflict):
        plan_desired(desired, state, UpOptions())
    assert set(up(desired, state, remove_orphans=True)) == {"www"}


def test_ports_that_will_clash_are_told() -> None:
    fixed = (PortBinding(container_port=80, host_port=8080),)
    ranged = (PortBinding(container_port=80, host_port=8080, host_port_end=8090),)
    desired = project(
        service("a", ports=fixed, replicas=2),
        service("b", ports=fixed),
        service("c", ports=ranged, replicas=9),
    )
    assert plan_desired(desired, Observed(), UpOptions()).warnings == (
        'The "a" service specifies a port on the host. If multiple containers for this service are created '
        "on a single host, the port will clash.",
        'The services "a" and "b" both publish port 8080/tcp of the host: '
        "only one of them can run at a time.",
    )


def test_waits_leave_out_what_is_not_there() -> None:
    desired = project(service("web", "db none gone"), service("db"), service("none", replicas=0))
    plan = plan_desired(desired, Observed(), UpOptions())
    assert [w.service for r in plan.of_service("web") for w in r.waits] == ["db"]
    assert all(
        not r.waits for r in plan_desired(desired, Observed(), UpOptions(start=False)).replicas if r.start
    )


def test_the_config_hash_leaves_out_identity() -> None:
    state = running(project(service("web", replicas=2)))
    assert len({c.config_hash for c in state.of_service("web")}) == 1
    one, two = (c.config for c in state.of_service("web"))
    assert one is not None and two is not None
    assert one.endpoints[0].aliases == ("shop-web-1", "web")
    assert two.endpoints[0].aliases == ("shop-web-2", "web")
    assert msgspec.json.decode(msgspec.json.encode(one), type=ContainerConfig) == one


def test_removals_come_first() -> None:
    state = running(project(service("web", replicas=2), service("old")))
    plan = plan_desired(project(service("web"), service("new")), state, UpOptions(remove_orphans=True))
    assert [isinstance(r.action, Remove) for r in plan.replicas] == [True, True, False, False]


def observed_container(**fields: Any) -> ObservedContainer:
    return ObservedContainer(**{"id": "1", "name": "x", "service": "web", **fields})


def test_depends_on_is_read_from_the_label() -> None:
    label = {
        "com.docker.compose.depends_on": "mig:service_completed_successfully:false,db:service_started:true"
    }
    assert observed_container(labels=label).depends_on == {
        "mig": ("service_completed_successfully", False),
        "db": ("service_started", True),
    }
    assert observed_container().depends_on == {}
