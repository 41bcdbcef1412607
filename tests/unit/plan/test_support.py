from __future__ import annotations

from typing import Any

import pytest

from composer.compose import model as m
from composer.compose.model import Project, Service
from composer.plan.support import HONOURED, IGNORED, REFUSED, Unsupported, demand_support, refusals


def project(**attributes: Any) -> Project:
    service = Service(**{"name": "web", "image": "busybox", **attributes})
    return Project(name="shop", working_dir="/srv", services={"web": service})


def test_every_attribute_is_decided_about_once() -> None:
    assert set(Service.__struct_fields__) == HONOURED | IGNORED | REFUSED
    assert len(HONOURED) + len(IGNORED) + len(REFUSED) == len(Service.__struct_fields__)


REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"provider": m.Provider(type="x")}, "services.web.provider: provider services are not supported"),
    ({"models": {"m": None}}, "services.web.models: models are not supported"),
    (
        {"credential_spec": m.CredentialSpec(file="x")},
        "services.web.credential_spec: credential specs exist on Windows only",
    ),
    ({"pre_start": (m.Hook(command=("a",)),)}, "services.web.pre_start: pre_start hooks are not supported"),
    (
        {"use_api_socket": True},
        "services.web.use_api_socket: the engine's socket is not handed to containers",
    ),
    (
        {"storage_opt": {"size": "1G"}},
        "services.web.storage_opt: the size of a container's file system cannot be limited: "
        "that takes project quotas",
    ),
    ({"runtime": "kata"}, "services.web.runtime: there are no other runtimes than the one built in"),
    ({"isolation": "hyperv"}, "services.web.isolation: isolation technologies exist on Windows only"),
    (
        {"userns_mode": "private"},
        "services.web.userns_mode: user namespaces cannot be chosen per container",
    ),
    ({"uts": "service:x"}, "services.web.uts: is not `host`"),
    ({"cgroup": "x"}, "services.web.cgroup: is neither `host` nor `private`"),
    ({"pid": "service:"}, "services.web.pid: is none of host, service:<name>, container:<name>"),
    (
        {"ipc": "x"},
        "services.web.ipc: is none of private, shareable, none, host, service:<name>, container:<name>",
    ),
    (
        {"container_name": "www", "scale": 2},
        "services.web.scale: can't set container_name and web as container name must be unique",
    ),
]


@pytest.mark.parametrize(("given", "message"), REFUSALS)
def test_what_cannot_be_done_is_refused_where_it_stands(given: dict[str, Any], message: str) -> None:
    with pytest.raises(Unsupported) as caught:
        demand_support(project(**given))
    assert caught.value.message == message


@pytest.mark.parametrize(
    "given",
    [
        {},
        {
            "runtime": "runc",
            "isolation": "default",
            "userns_mode": "host",
            "uts": "host",
            "cgroup": "private",
        },
        {"pid": "container:x", "ipc": "service:y"},
        {"cpu_count": 2, "cpu_percent": 10.0},
        {"container_name": "www"},
        {"deploy": m.Deploy(mode="global", endpoint_mode="vip", placement=m.Placement(constraints=("a",)))},
    ],
)
def test_what_docker_compose_takes_is_taken(given: dict[str, Any]) -> None:
    assert refusals(project(**given)) == ()


def test_all_refusals_are_told_at_once() -> None:
    with pytest.raises(Unsupported) as caught:
        demand_support(project(pre_start=(m.Hook(command=("a",)),), runtime="kata"))
    assert len(caught.value.message.splitlines()) == 2


def test_volume_drivers() -> None:
    mount = m.ServiceVolume(type="volume", source="d", target="/d")
    used = project(volumes=(mount,))
    given = {"d": m.Volume(key="d", name="shop_d", driver="nfs")}
    found = refusals(Project(name="shop", working_dir="/", services=used.services, volumes=given))
    assert [str(r) for r in found] == ["volumes.d.driver: there is no volume driver nfs"]
    assert refusals(Project(name="shop", working_dir="/", volumes=given)) == ()
