"""Devices by name: what a specification says, which of several counts, what a request comes to, and every refusal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runtime.container.cdi import Edits, Node, Registry, edits_of, is_qualified, parse
from runtime.container.cdi_files import make_nodes, read_registry
from runtime.container.config import DeviceRequest, Mount
from runtime.container.host import place_of
from runtime.errors import InvalidArgument


def document(kind: str = "vendor.com/net", *names: str, **edits: Any) -> dict[str, Any]:
    devices = [
        {"name": name, "containerEdits": {"env": [f"D={name}"], **edits}} for name in names or ("one",)
    ]
    return {"cdiVersion": "0.6.0", "kind": kind, "devices": devices}


def registry(*documents: dict[str, Any]) -> Registry:
    return Registry([[parse(one, f"/{i}.json") for i, one in enumerate(documents)]])


def cdi(*names: str) -> list[DeviceRequest]:
    return [DeviceRequest(driver="cdi", device_ids=names)]


def gpus(**fields: Any) -> list[DeviceRequest]:
    return [DeviceRequest(capabilities=("gpu",), **fields)]


def test_names() -> None:
    assert is_qualified("vendor.com/class=name")
    assert not any(map(is_qualified, ("/dev/x=y", "vendor.com=x", "vendor.com/class", "1v/c=n", "v/c=")))


def test_edits() -> None:
    found = edits_of(
        {
            "env": ["A=b"],
            "deviceNodes": [
                {"path": "/dev/x", "hostPath": "/dev/null", "permissions": "r", "uid": 5, "fileMode": 0o600}
            ],
            "mounts": [
                {"hostPath": "/lib/v.so", "containerPath": "/usr/lib/v.so", "options": ["ro", "bind"]},
                {"hostPath": "x", "containerPath": "/run/v", "type": "tmpfs", "options": ["size=1m"]},
            ],
            "additionalGids": [44],
        }
    )  # fmt: skip
    assert found == Edits(
        env=("A=b",),
        nodes=(Node(path="/dev/x", source="/dev/null", permissions="r", uid=5, mode=0o600),),
        mounts=(
            Mount(
                type="bind", source="/lib/v.so", target="/usr/lib/v.so", read_only=True, recursive="disabled"
            ),
            Mount(type="tmpfs", target="/run/v", options=("size=1m",)),
        ),
        groups=("44",),
    )


def test_a_specifications_own_edits_come_once() -> None:
    both = document("vendor.com/net", "one", "two") | {"containerEdits": {"env": ["ALL=1"]}}
    assert registry(both).edits(cdi("vendor.com/net=one", "vendor.com/net=two")).env == (
        "ALL=1",
        "D=one",
        "D=two",
    )


def test_gpus() -> None:
    nvidia = document("nvidia.com/gpu", "0", "1", "all")
    amd = document("amd.com/gpu", "0", "all")
    assert registry(nvidia, amd).edits(gpus(count=-1)).env == ("D=all",)
    assert registry(nvidia).edits(gpus(count=2)).env == ("D=0", "D=1")
    assert registry(nvidia).edits(gpus(device_ids=("1",))).env == ("D=1",)
    assert registry(nvidia, amd).edits([DeviceRequest(driver="amd", count=1)]).env == ("D=0",)
    other = document("vendor.com/gpu", "all")
    assert registry(other).edits(gpus(count=-1)).env == ("D=all",)


@pytest.mark.parametrize(
    ("requests", "says", "hint"),
    [
        (
            cdi("vendor.com/net=on"),
            "unresolvable CDI device vendor.com/net=on",
            "did you mean vendor.com/net=one?",
        ),
        (cdi("other/x=y"), "unresolvable CDI device other/x=y", "there are: vendor.com/net=one"),
        (cdi("nonsense"), "invalid CDI device name 'nonsense'", "write vendor.com/class=name"),
        (
            gpus(count=-1),
            'could not select device driver "" with capabilities: [gpu]',
            "there are: vendor.com/net=one",
        ),
        (
            [DeviceRequest(driver="x")],
            'could not select device driver "x" with capabilities: [none]',
            "drivers are",
        ),
    ],
)
def test_what_there_is_not(requests: list[DeviceRequest], says: str, hint: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        registry(document()).edits(requests)
    assert caught.value.message.startswith(says)
    assert caught.value.hint.startswith(hint)


@pytest.mark.parametrize(
    ("edits", "says"),
    [
        (
            {"hooks": [{"hookName": "createContainer", "path": "/usr/bin/hook"}]},
            "it wants hooks (/usr/bin/hook)",
        ),
        ({"intelRdt": {"closID": "x"}}, "it wants intelRdt"),
        ({"deviceNodes": [{"path": "relative"}]}, "invalid path of a device node: 'relative'"),
        ({"deviceNodes": [{"path": "/dev/x", "permissions": "rwx"}]}, "invalid permissions of /dev/x"),
        ({"mounts": [{"hostPath": "/x"}]}, "a mount needs hostPath and containerPath"),
        ({"mounts": [{"hostPath": "/x", "containerPath": "/y", "type": "nfs"}]}, "mount /y: type nfs"),
        ({"env": ["A"]}, "env is not a list of NAME=value"),
    ],
)
def test_what_cannot_be_done(edits: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        registry(document("vendor.com/net", "one", **edits)).edits(cdi("vendor.com/net=one"))
    assert caught.value.message.startswith(f"CDI device vendor.com/net=one (/0.json): {says}")


def test_files(tmp_path: Path) -> None:
    """The later directory counts more; one rank must not have a device twice; broken files are named when asked."""
    first, second = tmp_path / "etc", tmp_path / "run"
    for directory in (first, second):
        directory.mkdir()
    (first / "a.json").write_text(json.dumps(document("vendor.com/net", "one", "two", env=["FROM=etc"])))
    (second / "a.yaml").write_text(
        "cdiVersion: 0.6.0\nkind: vendor.com/net\ndevices:\n- name: one\n  containerEdits: {env: [FROM=run]}\n"
    )
    (second / "ignored.txt").write_text("x")
    found = read_registry((str(first), str(second), str(tmp_path / "missing")))
    assert found.edits(cdi("vendor.com/net=one", "vendor.com/net=two")).env == ("FROM=run", "FROM=etc")
    (second / "b.yml").write_text("cdiVersion: [")
    (second / "c.json").write_text('{"cdiVersion": "0.6.0", "kind": "no kind", "devices": []}')
    (second / "d.json").write_text(json.dumps(document("vendor.com/net", "one")))
    found = read_registry((str(first), str(second)))
    with pytest.raises(InvalidArgument, match=r"is in several files: .*/a\.yaml, .*/d\.json"):
        found.edits(cdi("vendor.com/net=one"))
    with pytest.raises(InvalidArgument) as caught:
        found.edits(cdi("a.b/c=d"))
    assert "b.yml cannot be read" in caught.value.hint
    assert "invalid kind 'no kind'" in caught.value.hint


def test_nodes() -> None:
    nodes = (
        Node(path="/dev/v/null", source="/dev/null", permissions="r"),
        Node(path="/opt/own", source="/nothing", kind="c", major=1, minor=5, mode=0o600, uid=7, gid=8),
    )
    made, rules = make_nodes(nodes, place_of)
    assert made == [("v/null", "c", 1, 3, 0o666, 0, 0), ("/opt/own", "c", 1, 5, 0o600, 7, 8)]
    assert rules == ["c 1:3 r", "c 1:5 rwm"]
    with pytest.raises(InvalidArgument, match="error gathering device information for /dev/no-such"):
        make_nodes((Node(path="/dev/x", source="/dev/no-such"),), place_of)
