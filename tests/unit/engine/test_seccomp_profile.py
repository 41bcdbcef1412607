"""``security_opt: seccomp=FILE`` of a compose file: the container keeps the text, not the path."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from composer.engine.projects.parts import PROFILE_LIMIT, with_seccomp_profile
from runtime.container.config import ContainerConfig
from runtime.errors import ComposerError


def options(*given: str) -> tuple[str, ...]:
    return with_seccomp_profile(ContainerConfig(image="i", security_opt=given)).security_opt


def test_the_text_takes_the_place_of_the_path(tmp_path: Path) -> None:
    (tmp_path / "profile.json").write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    (tmp_path / "link").symlink_to("profile.json")
    expected = ("no-new-privileges", 'seccomp={"defaultAction": "SCMP_ACT_ALLOW"}')
    assert options("no-new-privileges", f"seccomp={tmp_path}/profile.json") == expected
    assert options("no-new-privileges", f"seccomp={tmp_path}/link") == expected


@pytest.mark.parametrize(
    "option", ["seccomp=unconfined", "seccomp=builtin", 'seccomp={"a": 1}', "label=disable"]
)
def test_what_is_no_path(option: str) -> None:
    assert options(option) == (option,)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    """A pipe does not block, a directory and something endless are no profiles."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(bytes(PROFILE_LIMIT + 1))
    with pytest.raises(ComposerError, match=r"opening seccomp profile \(.*/none\) failed: No such file"):
        options(f"seccomp={tmp_path}/none")
    for name in ("pipe", "large", ""):
        with pytest.raises(ComposerError):
            options(f"seccomp={tmp_path}/{name}")
