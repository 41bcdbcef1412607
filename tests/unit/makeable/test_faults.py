"""What ``up`` refuses for what stands in a file alone: ``config -q`` refuses it as well, in the order of lines."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from composer.cli.main import main

HEAD = "services:\n  web:\n    image: busybox\n"
"""A value in what follows stands in line 4."""


@pytest.fixture
def check(tmp_path: Path, monkeypatch: Any, capfd: Any) -> Any:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("COMPOSE", "DOCKER"))]:
        monkeypatch.delenv(name)

    def run(text: str, *flags: str) -> tuple[int, str, str]:
        Path("compose.yaml").write_text(text)
        status = main(["config", *flags])
        found = capfd.readouterr()
        return status, found.out, found.err

    return run


@pytest.mark.parametrize(
    ("line", "column", "says"),
    [
        ("restart: sometimes", 14, 'services.web.restart: invalid restart policy "sometimes"'),
        ("restart: on-failure:x", 14, 'services.web.restart: "x" is not a number of retries'),
        ("deploy: {restart_policy: {condition: often}}", 42, 'condition: invalid restart policy "often"'),
        ("ulimits: {nosuch: 3}", 23, "services.web.ulimits.nosuch: invalid ulimit type"),
        ("ulimits: {nofile: -3}", 23, "services.web.ulimits.nofile: ulimit nofile: -3 is no limit"),
        ("sysctls: {kernel.hostname: x}", 32, "sysctl 'kernel.hostname' is not allowed"),
        ("security_opt: [no-new-privileges, foo=bar]", 39, "security_opt[1]: invalid --security-opt"),
        ("cap_add: [NOPE]", 15, "services.web.cap_add[0]: invalid capability"),
        ("stop_signal: SIGNOPE", 18, "services.web.stop_signal: Invalid signal: SIGNOPE"),
        ("mem_limit: 1m", 16, "services.web.mem_limit: Minimum memory limit allowed is 6MB"),
        ("deploy: {resources: {limits: {memory: 1m}}}", 43, "limits.memory: Minimum memory limit allowed is 6MB"),
        ("memswap_limit: 50m", 20, "services.web.memswap_limit: You should always set the Memory limit"),
        ("mem_swappiness: 101", 21, "services.web.mem_swappiness: Invalid value: 101"),
        ("cpus: -1", 11, "services.web.cpus: the number of CPUs cannot be negative"),
        ("cpu_shares: -5", 17, "services.web.cpu_shares: "),
        ("cpuset: a-b", 13, "services.web.cpuset: invalid cpuset_cpus"),
        ("blkio_config: {weight: 5}", 28, "services.web.blkio_config.weight: Range of blkio weight"),
        ("tmpfs: [/a, '/x:size=abc']", 17, "services.web.tmpfs[1]: tmpfs /x: invalid value of size: 'abc'"),
        ("tmpfs: ['/x:nosuch']", 13, "services.web.tmpfs[0]: tmpfs /x: invalid option 'nosuch'"),
        ("volumes: ['./a:/a', './b:b']", 25, "services.web.volumes[1]: invalid mount target 'b'"),
        ("volumes: [{type: npipe, source: a, target: /b}]", 22, "services.web.volumes[0].type: npipe mounts"),
        ("network_mode: 'container:'", 19, "services.web.network_mode: container: names no container"),
        ("network_mode: host\n    links: [web2]\n  web2:\n    image: i", 5, "services.web.links: conflicting options"),
        ("ports: [{target: 80, published: '99999'}]", 37, 'ports[0].published: "99999" is not a port'),
        ("expose: [abc]", 14, '"abc" is not a port'),
        ("pid: nosuch", 10, "services.web.pid: is none of host"),
        ("storage_opt: {size: 1g}", 5, "services.web.storage_opt: the size of a container's file system"),
        ("platform: nosuch", 15, 'services.web.platform: "nosuch": unknown operating system'),
        ("container_name: bad name", 21, "services.web.container_name: Invalid container name"),
        ("hostname: bad host", 15, "services.web.hostname: invalid hostname"),
        ("working_dir: relative", 18, "services.web.working_dir: the working directory 'relative' is invalid"),
        ("user: 'a:b:c'", 11, "services.web.user: invalid user"),
        ("dns: [1.1.1.1, nosuch]", 20, "services.web.dns[1]: dns: 'nosuch' is no valid address"),
        ("mac_address: nosuch", 18, "services.web.mac_address: 'nosuch' is no valid MAC address"),
        ("devices: ['/dev/null:/dev/x:qq']", 15, "services.web.devices[0]: invalid device permissions"),
        ("device_cgroup_rules: [nosuch]", 27, "device_cgroup_rules[0]: invalid device cgroup format"),
        ("shm_size: -5", 15, "services.web.shm_size: SHM size can not be less than 0"),
        ("logging: {driver: nosuch}", 23, "services.web.logging.driver: there is no log driver nosuch"),
        ("logging: {options: {max-size: lots}}", 35, "services.web.logging.options.max-size: invalid size"),
        ("cgroup_parent: ../x", 20, "services.web.cgroup_parent: invalid cgroup_parent"),
        ("post_start: [{command: []}]", 19, "services.web.post_start[0].command: no exec command specified"),
        ("pre_stop: [{command: x, user: 'a:b:c'}]", 35, "services.web.pre_stop[0].user: invalid user"),
        ("pre_stop: [{command: x, working_dir: rel}]", 42, "pre_stop[0].working_dir: Cwd must be an absolute path"),
        ("volumes_from: ['container:x:yy']", 20, 'services.web.volumes_from[0]: invalid mode "yy"'),
        ("networks: {n: {ipv4_address: 1.2.3}}\nnetworks: {n: {}}", 34, "ipv4_address: network "),
        ("networks: {n: {interface_name: a/b}}\nnetworks: {n: {}}", 36, "is no valid name for an interface"),
        ("networks: {n: {link_local_ips: [zz]}}\nnetworks: {n: {}}", 37, "link_local_ips[0]: "),
        ("x-composer: {build: maybe}", 5, "x-composer.build: 'maybe' is not auto"),
    ],
)  # fmt: skip
def test_what_stands_in_the_file_is_refused(check: Any, line: str, column: int, says: str) -> None:
    status, out, err = check(f"{HEAD}    {line}\n", "-q")
    assert (status, out) == (1, "")
    assert says in err
    assert f"compose.yaml:{5 if 'links: [' in line else 4}:{column}: " in err
    assert err.count("compose.yaml:") == 1, "once"


@pytest.mark.parametrize(
    ("network", "says"),
    [
        ("{driver: nosuch}", "networks.n.driver: "),
        ("{ipam: {config: [{subnet: nosuch}]}}", "networks.n.ipam.config[0]: "),
        ("{ipam: {config: [{subnet: 10.1.0.0/24, gateway: 10.2.0.1}]}}", "is not within subnet 10.1.0.0/24"),
        ("{ipam: {config: [{subnet: 10.1.0.0/24}, {subnet: 10.1.0.0/25}]}}", "multiple overlapping subnet"),
        ("{ipam: {driver: nosuch}}", "networks.n.ipam.driver: "),
        ("{driver_opts: {com.docker.network.driver.mtu: x}}", "must be between 68 and 65535"),
        ("{enable_ipv4: false}", "IPv4 or IPv6 must be enabled"),
        ("{name: bad name}", "invalid network name 'bad name'"),
    ],
)
def test_networks(check: Any, network: str, says: str) -> None:
    status, _, err = check(f"{HEAD}    networks: [n]\nnetworks:\n  n: {network}\n", "-q")
    assert status == 1
    assert "compose.yaml:6:" in err
    assert says in err


def test_an_address_outside_of_the_subnet(check: Any) -> None:
    subnet = "networks: {n: {ipam: {config: [{subnet: 10.1.0.0/24}]}}}"
    status, _, err = check(f"{HEAD}    networks: {{n: {{ipv4_address: 10.2.0.9}}}}\n{subnet}\n", "-q")
    assert status == 1
    assert "compose.yaml:4:34: services.web.networks.n.ipv4_address: " in err
    assert "10.2.0.9 is not within subnet 10.1.0.0/24" in err


def test_volumes(check: Any) -> None:
    rest = "    volumes: ['data:/v']\nvolumes: {data: {driver: nosuch}, unused: {driver: nosuch}}\n"
    status, _, err = check(HEAD + rest, "-q")
    assert status == 1
    assert "volumes.data.driver: " in err
    assert "unused" not in err.replace("unused: {driver", "")


SEVERAL = """services:
  web:
    image: busybox
    stop_signal: SIGNOPE
    post_start: [{command: [sync]}]
    restart: sometimes
  db:
    image: busybox
    ports: [{target: 80, published: '99999'}, {target: 81, protocol: xyz}]
    cap_drop: [NOPE]
"""


def places(err: str) -> list[tuple[int, str]]:
    errors = json.loads(err)["errors"]
    return [(one["locations"][0]["line"], one["locations"][0]["path"]) for one in errors]


def test_all_at_once_in_the_order_of_lines(check: Any) -> None:
    status, out, err = check(SEVERAL, "-q", "--format", "json")
    assert (status, out) == (1, "")
    assert places(err) == [
        (4, "services.web.stop_signal"),
        (6, "services.web.restart"),
        (9, "services.db.ports[0].published"),
        (9, "services.db.ports[1].protocol"),
        (10, "services.db.cap_drop[0]"),
    ]


def test_the_errors_of_the_form_are_in_the_order_of_lines(check: Any) -> None:
    """Whatever stage finds which of them."""
    text = "services:\n  web:\n    image: busybox\n    depends_on: [nosuch]\n    nosuch: 1\n"
    text += "    ports: ['80:99999']\n    mem_limit: lots\n    networks: [n]\n"
    _, _, err = check(text, "--format", "json")
    lines = [line for line, _ in places(err)]
    assert lines == sorted(lines)
    assert len(lines) >= 4


def test_the_document_is_printed_all_the_same(check: Any) -> None:
    """As Docker Compose does, which finds all this only when it makes things."""
    status, out, err = check(SEVERAL)
    assert status == 0
    assert "restart: sometimes" in out
    told = [line for line in err.splitlines() if "`up` refuses it" in line]
    assert len(told) == 5
    assert "compose.yaml:4:18: services.web.stop_signal: Invalid signal: SIGNOPE" in told[0]


@pytest.mark.parametrize("flags", [("--services",), ("-q", "--no-consistency")])
def test_who_does_not_ask_is_not_told(check: Any, flags: tuple[str, ...]) -> None:
    status, _, err = check(SEVERAL, *flags)
    assert (status, err) == (0, "")


def test_services_that_no_profile_enables_are_let_be(check: Any) -> None:
    assert check(HEAD + "    profiles: [p]\n    restart: sometimes\n", "-q")[0] == 0


def test_what_depends_on_the_machine_or_its_environment_is_no_matter_of_the_file(check: Any) -> None:
    rest = "    cpus: 1000\n    cpuset: '900'\n    devices: [/dev/nosuch, 'vendor.com/class=x']\n    secrets: [s]\n"
    assert check(HEAD + rest + "secrets: {s: {environment: NOT_SET_ANYWHERE}}\n", "-q") == (0, "", "")
