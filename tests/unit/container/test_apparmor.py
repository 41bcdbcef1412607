"""Which AppArmor profile a container gets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runtime.container.config import ContainerConfig
from runtime.container.confinement import SecurityOptions, choose_apparmor, confine
from runtime.container.host_facts import HostFacts
from runtime.errors import InvalidArgument
from runtime.kernel import capabilities

BARE = HostFacts(capabilities=capabilities.ALL, kernel=(6, 1), machine="x86_64", cgroup_version=2)
ARMOURED = replace(BARE, has_apparmor=True)
WITH_DEFAULT = replace(ARMOURED, has_default_apparmor=True)


@pytest.mark.parametrize(
    ("asked", "host", "privileged", "profile"),
    [
        ("", BARE, False, ""),
        ("docker-default", BARE, False, ""),
        ("unconfined", BARE, False, ""),
        ("", ARMOURED, False, ""),
        ("mine", ARMOURED, False, "mine"),
        ("mine", ARMOURED, True, "mine"),
        ("", WITH_DEFAULT, False, "docker-default"),
        ("", WITH_DEFAULT, True, ""),
        ("docker-default", WITH_DEFAULT, True, "docker-default"),
        ("unconfined", WITH_DEFAULT, False, ""),
    ],
)
def test_profile(asked: str, host: HostFacts, privileged: bool, profile: str) -> None:
    assert choose_apparmor(asked, host, privileged=privileged) == profile


def test_a_profile_needs_apparmor() -> None:
    with pytest.raises(InvalidArgument, match="apparmor=mine: AppArmor is not enabled on this machine"):
        choose_apparmor("mine", BARE, privileged=False)


def test_it_goes_with_every_process() -> None:
    config = ContainerConfig(image="i", security_opt=("apparmor:mine",))
    assert confine(config, ARMOURED, SecurityOptions.parse(config.security_opt)).apparmor == "mine"
