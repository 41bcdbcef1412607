"""What ``--change`` does, and what ``--platform`` means."""

from __future__ import annotations

import pytest

from runtime.errors import InvalidArgument
from runtime.image.changes import apply_changes, triggers
from runtime.image.platform import Platform, parse_platform

HERE = Platform("linux", "arm64", "")


def test_changes() -> None:
    changes = ["CMD a b", "env A=1", " EXPOSE 80", "ONBUILD RUN x", 'ENTRYPOINT ["c"]', "onbuild\tCOPY . ."]
    config = apply_changes(changes)
    assert config.cmd == ("/bin/sh", "-c", "a b")
    assert (config.env, config.exposed_ports, config.entrypoint) == (("A=1",), ("80/tcp",), ("c",))
    assert triggers(changes) == ("RUN x", "COPY . .")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("RUN x", "^run is not a valid change command$"),
        ("FROM", "^from is not a valid change command$"),
        ("", "'' is not a valid change command"),
        ("ENV", "ENV requires at least one argument"),
        ("ONBUILD", "ONBUILD requires at least one argument"),
        ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
    ],
)
def test_changes_that_are_none(change: str, told: str) -> None:
    with pytest.raises(InvalidArgument, match=told):
        apply_changes([change])


@pytest.mark.parametrize(
    ("text", "platform"),
    [
        ("linux", HERE),
        ("windows", Platform("windows", "arm64")),
        ("aarch64", Platform("linux", "arm64")),
        ("riscv64", Platform("linux", "riscv64")),
        ("linux/arm/v7", Platform("linux", "arm", "v7")),
        ("plan9/mips", Platform("plan9", "mips")),
    ],
)
def test_platforms(text: str, platform: Platform) -> None:
    assert parse_platform(text, HERE) == platform


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("bogus", '"bogus": unknown operating system or architecture'),
        ("linux/", '"" is an invalid component of "linux/"'),
        ("li nux/arm", '"li nux" is an invalid component'),
        ("a/b/c/d", '"a/b/c/d": cannot parse platform specifier'),
    ],
)
def test_platforms_that_are_none(text: str, told: str) -> None:
    with pytest.raises(InvalidArgument, match=told):
        parse_platform(text, HERE)
