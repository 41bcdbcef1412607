"""Every attribute of a service in the runtime's terms: tables of Compose on the left, containers on the right."""

from __future__ import annotations

from typing import Any

import pytest

from composer.compose import model as m
from composer.compose.model import Project, Service
from composer.plan.container import container_config
from runtime.container.config import (
    ContainerConfig,
    Device,
    EndpointConfig,
    FileContent,
    Healthcheck,
    Hook,
    LogConfig,
    Mount,
    PortBinding,
    Resources,
    RestartPolicy,
    ThrottleDevice,
    Ulimit,
    WeightDevice,
)
from runtime.errors import ComposerError, NotFound

SECOND = 1_000_000_000
DEFAULT_ENDPOINT = EndpointConfig(network="shop_default", aliases=("web",))


def config(*, top: dict[str, Any] | None = None, **attributes: Any) -> ContainerConfig:
    service = Service(**{"name": "web", "image": "busybox", **attributes})
    project = Project(
        **{
            "name": "shop",
            "working_dir": "/srv/shop",
            "services": {"web": service, "db": Service(name="db", image="postgres:16")},
            **(top or {}),
        }
    )
    return container_config(project, service)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"image": "busybox", "network_mode": "bridge", "endpoints": (DEFAULT_ENDPOINT,)}),
        ({"image": ""}, {"image": "shop-web"}),
        ({"command": ("a", "b")}, {"command": ("a", "b"), "entrypoint": None}),
        ({"command": (), "entrypoint": ()}, {"command": (), "entrypoint": ()}),
        ({"environment": {"B": "1", "A": None, "C": ""}}, {"env": ("A", "B=1", "C=")}),
        ({"stop_grace_period": m.Duration(1500 * SECOND // 1000)}, {"stop_timeout": 2}),
        ({"stop_grace_period": m.Duration(0)}, {"stop_timeout": 0}),
        ({}, {"stop_timeout": None, "init": False}),
        ({"init": True, "tty": True, "stdin_open": True}, {"init": True, "tty": True, "stdin_open": True}),
        ({"hostname": "h", "domainname": "d"}, {"hostname": "h", "domainname": "d"}),
        ({"user": "1:2", "group_add": ("audio",)}, {"user": "1:2", "group_add": ("audio",)}),
        (
            {"cap_add": ("NET_ADMIN",), "cap_drop": ("ALL",)},
            {"cap_add": ("NET_ADMIN",), "cap_drop": ("ALL",)},
        ),
        ({"privileged": True, "read_only": True}, {"privileged": True, "read_only": True}),
        ({"sysctls": {"a.b": "1"}}, {"sysctls": {"a.b": "1"}}),
        (
            {"ulimits": {"nofile": m.Ulimit(soft=1, hard=2)}},
            {"ulimits": (Ulimit(name="nofile", soft=1, hard=2),)},
        ),
        (
            {"labels": {"a": "b"}, "annotations": {"c": "d"}},
            {"labels": {"a": "b"}, "annotations": {"c": "d"}},
        ),
        ({"extra_hosts": ("h=host-gateway",)}, {"extra_hosts": ("h=host-gateway",)}),
        (
            {"dns": ("1.1.1.1",), "dns_search": ("x",), "dns_opt": ("ndots:2",)},
            {"dns": ("1.1.1.1",), "dns_search": ("x",), "dns_opt": ("ndots:2",)},
        ),
        ({"shm_size": m.Size(64 << 20)}, {"shm_size": 64 << 20}),
        ({"pid": "host", "ipc": "shareable", "uts": "host"}, {"pid_mode": "host", "ipc_mode": "shareable"}),
        ({"pid": "service:db", "ipc": "container:x"}, {"pid_mode": "service:db", "ipc_mode": "container:x"}),
        ({"cgroup": "host", "cgroup_parent": "p"}, {"cgroupns_mode": "host", "cgroup_parent": "p"}),
        (
            {"devices": (m.Device(source="/dev/fuse"),)},
            {"devices": (Device(source="/dev/fuse", target="/dev/fuse", permissions="rwm"),)},
        ),
        (
            {"security_opt": ("no-new-privileges", "label:disable", "apparmor=unconfined")},
            {"security_opt": ("no-new-privileges", "label=disable", "apparmor=unconfined")},
        ),
        (
            {"security_opt": ("seccomp:unconfined", "seccomp=profiles/a.json")},
            {"security_opt": ("seccomp=unconfined", "seccomp=/srv/shop/profiles/a.json")},
        ),
        (
            {"post_start": (m.Hook(command=("a",), user="u", environment={"X": "1"}),)},
            {"post_start": (Hook(command=("a",), user="u", env=("X=1",)),)},
        ),
        ({"platform": "linux/arm64"}, {"platform": "linux/arm64"}),
        (
            {"links": ("db", "db:database"), "external_links": ("x:y",)},
            {"links": ("db:db", "db:database", "x:y")},
        ),
    ],
)
def test_attributes(given: dict[str, Any], expected: dict[str, Any]) -> None:
    found = config(**given)
    assert {name: getattr(found, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("volume", "mount"),
    [
        (
            m.ServiceVolume(type="volume", source="data", target="/d/"),
            Mount(type="volume", source="shop_data", target="/d"),
        ),
        (m.ServiceVolume(type="volume", target="/d"), Mount(type="volume", target="/d")),
        (
            m.ServiceVolume(
                type="volume",
                source="ext",
                target="/d",
                read_only=True,
                volume=m.VolumeOptions(nocopy=True, subpath="a", labels={"x": "y"}),
            ),
            Mount(
                type="volume",
                source="pool",
                target="/d",
                read_only=True,
                nocopy=True,
                subpath="a",
                labels={"x": "y"},
            ),
        ),
        (
            m.ServiceVolume(type="bind", source="/h", target="/d", bind=m.BindOptions(propagation="rslave")),
            Mount(type="bind", source="/h", target="/d", propagation="rslave", create_host_path=True),
        ),
        (
            m.ServiceVolume(
                type="bind", source="/h", target="/d", bind=m.BindOptions(create_host_path=False)
            ),
            Mount(type="bind", source="/h", target="/d"),
        ),
        (
            m.ServiceVolume(type="tmpfs", target="/d", tmpfs=m.TmpfsOptions(size=m.Size(9), mode=0o1777)),
            Mount(type="tmpfs", target="/d", size=9, mode=0o1777),
        ),
        (
            m.ServiceVolume(type="image", source="data:1", target="/d", image=m.ImageOptions(subpath="s")),
            Mount(type="image", source="data:1", target="/d", subpath="s", read_only=True),
        ),
    ],
)
def test_volumes(volume: m.ServiceVolume, mount: Mount) -> None:
    top = {
        "volumes": {
            "data": m.Volume(key="data", name="shop_data"),
            "ext": m.Volume(key="ext", name="pool", external=True),
        }
    }
    assert config(top=top, volumes=(volume,)).mounts == (mount,)


def test_tmpfs_and_later_mounts_at_one_target() -> None:
    found = config(
        tmpfs=("/run", "/tmp:size=1m,ro"), volumes=(m.ServiceVolume(type="volume", target="/run"),)
    )
    assert found.mounts == (
        Mount(type="tmpfs", target="/run"),
        Mount(type="tmpfs", target="/tmp", options=("size=1m", "ro"), read_only=True),
    )


def test_volumes_from() -> None:
    assert config(volumes_from=("db", "db:ro", "container:other:rw")).volumes_from == (
        "service:db",
        "service:db:ro",
        "other:rw",
    )


FILES = {
    "configs": {
        "f": m.FileObject(key="f", name="shop_f", file="/srv/f"),
        "c": m.FileObject(key="c", name="shop_c", content="hi"),
        "e": m.FileObject(key="e", name="shop_e", environment="E", value="v"),
        "x": m.FileObject(key="x", name="x", external=True),
        "u": m.FileObject(key="u", name="u", environment="U"),
    },
    "secrets": {"s": m.FileObject(key="s", name="shop_s", file="/srv/s")},
}


@pytest.mark.parametrize(
    ("kind", "grant", "expected"),
    [
        ("configs", m.ServiceFile(source="f"), FileContent(target="/f", source="/srv/f")),
        ("configs", m.ServiceFile(source="c"), FileContent(target="/c", content=b"hi", mode=0o444)),
        (
            "configs",
            m.ServiceFile(source="e", target="/etc/e", uid="1", gid="2", mode=0o400),
            FileContent(target="/etc/e", content=b"v", uid=1, gid=2, mode=0o400),
        ),
        ("secrets", m.ServiceFile(source="s"), FileContent(target="/run/secrets/s", source="/srv/s")),
        (
            "secrets",
            m.ServiceFile(source="s", target="k"),
            FileContent(target="/run/secrets/k", source="/srv/s"),
        ),
        ("secrets", m.ServiceFile(source="s", target="/k"), FileContent(target="/k", source="/srv/s")),
    ],
)
def test_configs_and_secrets(kind: str, grant: m.ServiceFile, expected: FileContent) -> None:
    assert config(top=FILES, **{kind: (grant,)}).files == (expected,)


@pytest.mark.parametrize(
    ("given", "mode", "endpoints"),
    [
        ({"network_mode": "none"}, "none", ()),
        ({"network_mode": "host"}, "host", ()),
        ({"network_mode": "service:db"}, "service:db", ()),
        ({"network_mode": "container:x"}, "container:x", ()),
        ({"network_mode": "bridge"}, "bridge", (EndpointConfig(network="bridge"),)),
        ({"networks": {"host": None}}, "host", ()),
        (
            {"networks": {"back": None, "front": m.ServiceNetwork(priority=5, aliases=("a", "web"))}},
            "bridge",
            (
                EndpointConfig(network="lan", aliases=("web", "a"), priority=5),
                EndpointConfig(network="shop_back", aliases=("web",)),
            ),
        ),
        (
            {
                "mac_address": "02:00:00:00:00:01",
                "networks": {
                    "back": m.ServiceNetwork(
                        ipv4_address="10.0.0.2", ipv6_address="fd00::2", link_local_ips=("169.254.8.8",)
                    ),
                    "front": m.ServiceNetwork(mac_address="02:00:00:00:00:02", interface_name="eth9"),
                },
            },
            "bridge",
            (
                EndpointConfig(
                    network="shop_back",
                    aliases=("web",),
                    ipv4_address="10.0.0.2",
                    ipv6_address="fd00::2",
                    link_local_ips=("169.254.8.8",),
                    mac_address="02:00:00:00:00:01",
                ),
                EndpointConfig(
                    network="lan", aliases=("web",), mac_address="02:00:00:00:00:02", interface_name="eth9"
                ),
            ),
        ),
    ],
)
def test_networks(given: dict[str, Any], mode: str, endpoints: tuple[EndpointConfig, ...]) -> None:
    top = {
        "networks": {
            "back": m.Network(key="back", name="shop_back"),
            "front": m.Network(key="front", name="lan", external=True),
            "host": m.Network(key="host", name="host", external=True),
        }
    }
    found = config(top=top, **given)
    assert (found.network_mode, found.endpoints) == (mode, endpoints)


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        (m.Port(target=80), PortBinding(container_port=80)),
        (m.Port(target=80, published="8080"), PortBinding(container_port=80, host_port=8080)),
        (
            m.Port(target=80, published="8080-8090", host_ip="127.0.0.1", protocol="udp"),
            PortBinding(
                container_port=80, host_port=8080, host_port_end=8090, host_ip="127.0.0.1", protocol="udp"
            ),
        ),
        (m.Port(target=80, published="80-80"), PortBinding(container_port=80, host_port=80)),
    ],
)
def test_ports(port: m.Port, expected: PortBinding) -> None:
    found = config(ports=(port,))
    assert found.ports == (expected,)
    assert found.expose == (f"80/{port.protocol}",)


def test_expose() -> None:
    assert config(expose=("1", "5-6/udp")).expose == ("1/tcp", "5/udp", "6/udp")


def deploy(**restart: Any) -> m.Deploy:
    return m.Deploy(restart_policy=m.RestartPolicy(**restart))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, RestartPolicy()),
        ({"restart": "no"}, RestartPolicy()),
        ({"restart": "always"}, RestartPolicy(name="always")),
        ({"restart": "on-failure:3"}, RestartPolicy(name="on-failure", maximum_retry_count=3)),
        ({"restart": "unless-stopped"}, RestartPolicy(name="unless-stopped")),
        ({"restart": "always", "deploy": deploy(condition="none")}, RestartPolicy()),
        ({"deploy": deploy(condition="any")}, RestartPolicy(name="always")),
        ({"deploy": deploy()}, RestartPolicy(name="always")),
        (
            {
                "deploy": deploy(
                    condition="on-failure",
                    delay=m.Duration(5 * SECOND),
                    max_attempts=2,
                    window=m.Duration(60 * SECOND),
                )
            },
            RestartPolicy(name="on-failure", maximum_retry_count=2, delay=5 * SECOND, window=60 * SECOND),
        ),
    ],
)
def test_restart(given: dict[str, Any], expected: RestartPolicy) -> None:
    assert config(**given).restart == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"mem_limit": m.Size(64), "cpus": 0.5, "pids_limit": 7, "mem_reservation": m.Size(3)},
            Resources(memory=64, nano_cpus=SECOND // 2, pids_limit=7, memory_reservation=3),
        ),
        (
            {
                "mem_limit": m.Size(64),
                "cpus": 0.5,
                "deploy": m.Deploy(
                    limits=m.Limits(memory=m.Size(32), cpus=1.5, pids=9),
                    reservations=m.Limits(memory=m.Size(16), cpus=0.1),
                ),
            },
            Resources(memory=32, nano_cpus=3 * SECOND // 2, pids_limit=9, memory_reservation=16),
        ),
        (
            {"memswap_limit": m.Size(-1), "mem_swappiness": 0, "oom_kill_disable": True},
            Resources(memory_swap=-1, memory_swappiness=0, oom_kill_disable=True),
        ),
        (
            {"cpu_shares": 1, "cpu_period": 2, "cpu_quota": 3, "cpuset": "0-1", "cpu_rt_runtime": 4},
            Resources(cpu_shares=1, cpu_period=2, cpu_quota=3, cpuset_cpus="0-1", cpu_rt_runtime=4),
        ),
        (
            {
                "blkio_config": m.BlkioConfig(
                    weight=300,
                    weight_device=(m.WeightDevice(path="/dev/a", weight=1),),
                    device_read_bps=(m.ThrottleDevice(path="/dev/a", rate=m.Size(2)),),
                )
            },
            Resources(
                blkio_weight=300,
                blkio_weight_device=(WeightDevice(path="/dev/a", weight=1),),
                device_read_bps=(ThrottleDevice(path="/dev/a", rate=2),),
            ),
        ),
    ],
)
def test_resources(given: dict[str, Any], expected: Resources) -> None:
    assert config(**given).resources == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        (m.Healthcheck(disable=True, test=("CMD", "x")), Healthcheck(test=("NONE",))),
        (m.Healthcheck(test=("NONE",)), Healthcheck(test=("NONE",))),
        (
            m.Healthcheck(test=("CMD-SHELL", "x"), interval=m.Duration(SECOND), retries=5),
            Healthcheck(test=("CMD-SHELL", "x"), interval=SECOND, retries=5),
        ),
        (m.Healthcheck(start_interval=m.Duration(7)), Healthcheck(start_interval=7)),
    ],
)
def test_healthcheck(given: m.Healthcheck | None, expected: Healthcheck | None) -> None:
    assert config(healthcheck=given).healthcheck == expected


def test_logging() -> None:
    assert config().log == LogConfig()
    given = m.Logging(driver="local", options={"max-size": "1m", "mode": None})
    assert config(logging=given).log == LogConfig(driver="local", options={"max-size": "1m"})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"volumes": (m.ServiceVolume(type="volume", source="no", target="/d"),)},
            "services.web.volumes[0]: refers to undefined volume no",
        ),
        (
            {"volumes": (m.ServiceVolume(type="npipe", target="/d"),)},
            "services.web.volumes[0].type: npipe mounts exist on Windows only",
        ),
        ({"networks": {"no": None}}, "services.web.networks.no: refers to undefined network no"),
        ({"network_mode": "service:no"}, "services.web.network_mode: there is no service no"),
        ({"pid": "service:no"}, "services.web.pid: there is no service no"),
        ({"links": ("no",)}, "services.web.links[0]: there is no service no"),
        ({"volumes_from": ("no:ro",)}, "services.web.volumes_from[0]: there is no service no"),
        (
            {"configs": (m.ServiceFile(source="no"),)},
            "services.web.configs[0]: refers to undefined config no",
        ),
        ({"configs": (m.ServiceFile(source="x"),)}, "services.web.configs[0]: unsupported external config x"),
        (
            {"configs": (m.ServiceFile(source="u"),)},
            'services.web.configs[0]: environment variable "U" required by config "u" is not set',
        ),
        (
            {"secrets": (m.ServiceFile(source="s", uid="me"),)},
            'services.web.secrets[0].uid: "me" is not a number',
        ),
        ({"restart": "often"}, 'services.web.restart: invalid restart policy "often"'),
        ({"logging": m.Logging(driver="gelf")}, "services.web.logging.driver: there is no log driver gelf"),
        (
            {"ports": (m.Port(target=80, published="90-80"),)},
            "services.web.ports[0].published: the range 90-80 ends before it begins",
        ),
    ],
)
def test_impossible_values_are_refused_where_they_stand(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ComposerError) as caught:
        config(top=FILES, **given)
    assert caught.value.message == message
    if not isinstance(caught.value, NotFound):
        assert message.startswith(f"{caught.value.about}: ")
