from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from composer.plan.down import (
    DownOptions,
    DownScope,
    observed_scope,
    plan_down_scope,
    start_groups,
    stop_groups,
)
from composer.plan.graph import Dependency
from composer.plan.observed import Observed, ObservedContainer, ObservedNetwork, ObservedVolume
from composer.plan.steps import DownPlan, NetworkSpec, VolumeSpec

PROJECT = "com.docker.compose.project"
DEPENDS_ON = "com.docker.compose.depends_on"


def container(name: str, networks: str = "shop_default", **fields: Any) -> ObservedContainer:
    return ObservedContainer(
        **{
            "id": name,
            "name": name,
            "service": name.split("-")[0],
            "networks": dict.fromkeys(networks.split(), ""),
            "state": "running",
            **fields,
        }
    )


SCOPE = DownScope(
    project="shop",
    dependencies={"web": (Dependency("db"),), "db": (), "mail": ()},
    networks=(
        NetworkSpec(key="default", name="shop_default"),
        NetworkSpec(key="back", name="shop_back"),
        NetworkSpec(key="lan", name="lan", external=True),
    ),
    volumes=(
        VolumeSpec(key="data", name="shop_data"),
        VolumeSpec(key="old", name="old", external=True),
        VolumeSpec(key="theirs", name="theirs"),
        VolumeSpec(key="none", name="shop_none"),
    ),
    images=(("web", "shop-web", True), ("db", "postgres:16", False), ("mail", "absent", False)),
)
STATE = Observed(
    containers=(container("web-1"), container("web-2"), container("db-1", "shop_back"), container("mail-1")),
    networks={
        "shop_default": ObservedNetwork("shop_default", labels={PROJECT: "shop"}),
        "shop_back": ObservedNetwork("shop_back", labels={PROJECT: "shop"}),
        "shop_gone": ObservedNetwork("shop_gone", labels={PROJECT: "shop"}),
        "lan": ObservedNetwork("lan"),
        "other": ObservedNetwork("other", labels={PROJECT: "blog"}),
    },
    volumes={
        "shop_data": ObservedVolume("shop_data", {PROJECT: "shop"}),
        "old": ObservedVolume("old"),
        "theirs": ObservedVolume("theirs"),
    },
    images={"shop-web": "sha256:1", "postgres:16": "sha256:2"},
)


def names(plan: DownPlan) -> list[list[str]]:
    return [[c.name for c in group] for group in plan.containers]


def test_dependents_go_first_then_networks() -> None:
    plan = plan_down_scope(SCOPE, STATE, DownOptions())
    assert names(plan) == [["mail-1", "web-1", "web-2"], ["db-1"]]
    assert plan.networks == ("shop_back", "shop_default", "shop_gone")
    assert (plan.volumes, plan.images) == ((), ())


@pytest.mark.parametrize(
    ("options", "volumes", "images"),
    [
        (DownOptions(volumes=True), ("shop_data",), ()),
        (DownOptions(rmi="local"), (), ("shop-web",)),
        (DownOptions(rmi="all"), (), ("shop-web", "postgres:16")),
    ],
)
def test_volumes_and_images(options: DownOptions, volumes: tuple[str, ...], images: tuple[str, ...]) -> None:
    plan = plan_down_scope(SCOPE, STATE, options)
    assert (plan.volumes, plan.images) == (volumes, images)


def test_some_services_leave_networks_that_others_use() -> None:
    plan = plan_down_scope(SCOPE, STATE, DownOptions(services=("web",)))
    assert names(plan) == [["web-1", "web-2"]]
    assert (plan.networks, plan.busy_networks) == ((), ("shop_default",))
    plan = plan_down_scope(SCOPE, STATE, DownOptions(services=("db",)))
    assert (plan.networks, plan.busy_networks) == (("shop_back",), ())


def test_orphans_and_oneoffs_stay_unless_asked_for() -> None:
    extra = (container("gone-1"), container("web-run-1", oneoff=True, service="web"))
    state = replace(STATE, containers=(*STATE.containers, *extra))
    plan = plan_down_scope(SCOPE, state, DownOptions())
    assert [o.name for o in plan.orphans] == ["gone-1", "web-run-1"]
    assert plan.busy_networks == ("shop_default",)
    ended = tuple(replace(c, state="exited") for c in extra)
    plan = plan_down_scope(SCOPE, replace(STATE, containers=(*STATE.containers, *ended)), DownOptions())
    assert plan.busy_networks == ()
    plan = plan_down_scope(SCOPE, state, DownOptions(remove_orphans=True))
    assert names(plan)[0] == ["gone-1", "web-run-1"]
    assert (plan.orphans, plan.busy_networks) == ((), ())


def test_second_down_is_empty() -> None:
    assert plan_down_scope(SCOPE, Observed(), DownOptions(volumes=True, rmi="all")).is_empty


def test_without_a_file_the_labels_tell() -> None:
    state = replace(
        STATE,
        containers=(
            container("web-1", labels={DEPENDS_ON: "db:service_healthy:false"}),
            container("db-1"),
            container("top-1", labels={DEPENDS_ON: "web:service_started:true"}),
        ),
    )
    plan = plan_down_scope(observed_scope("shop", state), state, DownOptions(volumes=True))
    assert names(plan) == [["top-1"], ["web-1"], ["db-1"]]
    assert plan.volumes == ("shop_data",)


def test_groups_put_strangers_at_the_far_end() -> None:
    strangers = (*STATE.containers, container("x-1"))
    assert [c.name for c in start_groups(SCOPE.dependencies, strangers)[-1]] == ["x-1"]
    assert [c.name for c in stop_groups(SCOPE.dependencies, strangers)[0]] == ["x-1"]
