"""Who a container's process is, by the container's own passwd and group files."""

from __future__ import annotations

import pytest

from runtime.errors import InvalidArgument
from runtime.kernel.users import Identity, UserNotFound, check_user, identify

PASSWD = b"# comment:x:9:9::/c:\nroot:x:0:0:root:/root:/bin/sh\nweb:x:33:33:web:/var/www:/bin/sh\n1000:x:7:7::/seven:\n"
GROUP = b"root:x:0:\nweb:x:33:\naudio:x:29:web,other\nvideo:x:44:otherweb\n"


@pytest.mark.parametrize(
    ("user", "groups", "expected"),
    [
        ("", (), Identity(0, 0, (0,), "/root")),
        ("root", (), Identity(0, 0, (0,), "/root")),
        ("web", (), Identity(33, 33, (33, 29), "/var/www")),
        ("33", (), Identity(33, 33, (33, 29), "/var/www")),
        ("1000", (), Identity(1000, 0, (0,), "/")),
        ("web:audio", (), Identity(33, 29, (29,), "/var/www")),
        ("4242:4243", ("audio", "77"), Identity(4242, 4243, (4243, 29, 77), "/")),
    ],
)
def test_identity(user: str, groups: tuple[str, ...], expected: Identity) -> None:
    assert identify(user, groups, PASSWD, GROUP) == expected


@pytest.mark.parametrize("number", ["0" * 5000, "9" * 5000])
def test_lines_with_numbers_of_thousands_of_digits_are_passed_over(number: str) -> None:
    passwd = f"web:x:{number}:1::/:\n".encode() + PASSWD
    group = f"more:x:{number}:web\n".encode() + GROUP
    assert identify("web", (), passwd, group) == Identity(33, 33, (33, 29), "/var/www")


@pytest.mark.parametrize("user", ["9" * 5000, "1:" + "9" * 5000])
def test_a_user_of_thousands_of_digits_is_refused(user: str) -> None:
    with pytest.raises(InvalidArgument, match="in range"):
        check_user(user)


def test_without_files_root_has_the_root_directory_as_home() -> None:
    assert identify("", (), b"", b"") == Identity(0, 0, (0,), "/")


@pytest.mark.parametrize(
    ("user", "groups", "says"),
    [
        ("nobody", (), "unable to find user nobody: no matching entries in passwd file"),
        ("root:none", (), "unable to find group none: no matching entries in group file"),
        ("root", ("none",), "unable to find group none"),
        ("root", ("2147483648",), "uids and gids must be in range"),
        ("root", ("1" * 5000,), "uids and gids must be in range"),
    ],
)
def test_who_is_not_there(user: str, groups: tuple[str, ...], says: str) -> None:
    with pytest.raises(UserNotFound, match=says):
        identify(user, groups, PASSWD, GROUP)
