"""Which programs healthchecks need, and where they would be."""

from __future__ import annotations

import pytest

from composer.compose.probe_programs import candidates, is_below, probe_programs


@pytest.mark.parametrize(
    ("test", "programs"),
    [
        ([], ()),
        (["NONE"], ()),
        (["CMD"], ()),
        (["CMD", "pg_isready", "-h", "localhost"], ("pg_isready",)),
        (["CMD", "/srv/check"], ("/srv/check",)),
        (["CMD-SHELL", "curl -f http://localhost || exit 1"], ("/bin/sh", "curl")),
        (["CMD-SHELL", " wget -qO- localhost"], ("/bin/sh", "wget")),
        (["CMD-SHELL", "redis-cli ping|grep PONG"], ("/bin/sh", "redis-cli")),
        (["CMD-SHELL", "pg_isready"], ("/bin/sh", "pg_isready")),
        (["CMD-SHELL", "test -e /ready"], ("/bin/sh",)),
        (["CMD-SHELL", "[ -e /ready ]"], ("/bin/sh",)),
        (["CMD-SHELL", "PGPASSWORD=x psql"], ("/bin/sh",)),
        (["CMD-SHELL", "$CHECK now"], ("/bin/sh",)),
        (["CMD-SHELL", "'my check'"], ("/bin/sh",)),
        (["CMD-SHELL", "! nc -z localhost 80"], ("/bin/sh",)),
    ],
)
def test_what_a_test_executes(test: list[str], programs: tuple[str, ...]) -> None:
    assert probe_programs(test) == programs


def test_the_shell_of_an_image() -> None:
    assert probe_programs(["CMD-SHELL", "true"], ("/busybox/sh", "-c")) == ("/busybox/sh",)


def test_where_a_program_can_be() -> None:
    assert candidates("curl", ["/usr/bin", "/bin/"]) == ["/usr/bin/curl", "/bin/curl"]
    assert candidates("/srv/check") == ["/srv/check"]


def test_what_hangs_on_the_working_directory_is_unknown() -> None:
    assert candidates("./check") == []
    assert candidates("check", ["/bin", ""]) == []
    assert candidates("check", ["bin"]) == []


def test_what_is_below_a_mount() -> None:
    assert is_below("/opt/tools/curl", ["/data", "/opt/tools"])
    assert is_below("/opt/tools/curl", ["/opt/tools/curl"])
    assert is_below("/bin/curl", ["/"])
    assert not is_below("/opt/tools2/curl", ["/opt/tools"])
