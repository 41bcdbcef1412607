"""Options of single containers: what they come to in the API's request, and which are told from the command's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from composer.cli.arguments import Flag, UsageError, parse
from composer.cli.management.container_options import OPTIONS, create_body, env_lines, streams
from composer.cli.management.mount_options import bind, mount


def body(*words: str) -> dict[str, Any]:
    return create_body(
        parse([*words, "image", "cmd"], (*OPTIONS, DETACH), is_interspersed=False), {"HOME": "/h"}
    )


DETACH = Flag("detach", "d")


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("src=v,dst=/x", {"Type": "volume", "Source": "v", "Target": "/x"}),
        ("type=tmpfs,target=/x,tmpfs-size=1m,tmpfs-mode=1770",
         {"Type": "tmpfs", "Source": "", "Target": "/x", "TmpfsOptions": {"SizeBytes": 1 << 20, "Mode": 0o1770}}),
        ("type=bind,source=/a,target=/x,ro,bind-recursive=readonly,bind-propagation=rprivate",
         {"Type": "bind", "Source": "/a", "Target": "/x", "ReadOnly": True,
          "BindOptions": {"ReadOnlyForceRecursive": True, "Propagation": "rprivate"}}),
        ("type=bind,src=/a,dst=/x,readonly=true,bind-recursive=writable",
         {"Type": "bind", "Source": "/a", "Target": "/x", "ReadOnly": True,
          "BindOptions": {"ReadOnlyNonRecursive": True}}),
        ("type=bind,src=/a,dst=/x,bind-recursive=disabled",
         {"Type": "bind", "Source": "/a", "Target": "/x", "BindOptions": {"NonRecursive": True}}),
        ('type=volume,src=v,dst=/x,volume-nocopy,volume-label=a=b,"volume-opt=o=size=1m,uid=1"',
         {"Type": "volume", "Source": "v", "Target": "/x",
          "VolumeOptions": {
              "NoCopy": True, "Labels": {"a": "b"}, "DriverConfig": {"Options": {"o": "size=1m,uid=1"}}}}),
    ],
)  # fmt: skip
def test_mounts(text: str, made: dict[str, Any]) -> None:
    assert mount(text) == made


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("type=bind,src=/a", "target is required"),
        ("type=bind,src=/a,dst=/x,foo=bar", "unexpected key 'foo' in 'foo=bar'"),
        ("type=bind,src=/a,dst", "invalid field 'dst' must be a key=value pair"),
        (
            "type=volume,src=v,dst=/x,bind-propagation=shared",
            "cannot mix 'bind-*' options with mount type 'volume'",
        ),
        ("type=bind,src=/a,dst=/x,bind-recursive=readonly", "requires 'readonly' to be specified"),
        ("type=bind,src=/a,dst=/x,ro,bind-recursive=readonly", "requires 'bind-propagation=rprivate'"),
        ("type=bind,src=/a,dst=/x,bind-recursive=maybe", "invalid value for bind-recursive: maybe"),
        ("type=tmpfs,dst=/x,tmpfs-size=much", "invalid value for tmpfs-size: much"),
    ],
)
def test_mounts_that_are_none(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        mount(text)
    assert says in caught.value.message
    assert caught.value.is_flag


def test_binds_from_where_one_is() -> None:
    assert bind("./a:/x:ro", "/here") == "/here/a:/x:ro"
    assert bind("../a:/x", "/here/now") == "/here/a:/x"
    assert bind("v:/x", "/here") == "v:/x"
    assert bind("/x", "/here") == "/x"
    assert body("-v", "/a:/x", "-v", "/a:/x")["HostConfig"]["Binds"] == ["/a:/x"]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ((), ["stdout", "stderr"]),
        (("-i",), ["stdout", "stderr", "stdin"]),
        (("-a", "STDERR"), ["stderr"]),
        (("-i", "-a", "stdin"), ["stdin"]),
    ],
)
def test_streams(words: tuple[str, ...], found: list[str]) -> None:
    asked = body(*words)
    assert [name for name in ("stdout", "stderr", "stdin") if asked[f"Attach{name.capitalize()}"]] == found
    assert streams(parse([*words, "image"], (*OPTIONS, DETACH), is_interspersed=False)) == found


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("-a", "stdfoo"), "valid streams are STDIN, STDOUT and STDERR"),
        (("-d", "-a", "stdout"), "conflicting options: cannot specify both --attach and --detach"),
        (("--rm", "--restart", "always"), "conflicting options: cannot specify both --restart and --rm"),
        (("--no-healthcheck", "--health-cmd", "x"), "--no-healthcheck conflicts with --health-* options"),
        (("-e", "=x"), "invalid environment variable: =x"),
        (
            ("--sysctl", "kernel.msgmax"),
            'invalid argument "kernel.msgmax" for "--sysctl" flag: KEY=value expected',
        ),
        (("-l", "=x"), 'invalid argument "=x" for "-l, --label" flag: invalid label: empty name'),
        (("--cpus", "many"), "failed to parse many as a rational number"),
        (("--mac-address", "foo"), "foo is not a valid mac address"),
        (("--shm-size", "-1"), "invalid size: '-1'"),
        (("--shm-size", "big"), "invalid size: 'big'"),
        (
            ("--security-opt", "seccomp=/no/such"),
            "opening seccomp profile (/no/such) failed: open /no/such: no such",
        ),
    ],
)
def test_what_cannot_be(words: tuple[str, ...], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        body(*words)
    assert says in caught.value.message


def test_files_of_variables(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("# said\n\nA=1 2\n  B=\nHOME\n")
    assert body("--env-file", str(file), "-e", "C=3")["Env"] == ["A=1 2", "B=", "HOME=/h", "C=3"]
    for text, says in (
        ("A B=1\n", "variable 'A B' contains whitespaces"),
        ("=1\n", "no variable name on line '=1'"),
    ):
        file.write_text(text)
        with pytest.raises(UsageError, match="invalid env file") as caught:
            env_lines(str(file))
        assert says in caught.value.message
