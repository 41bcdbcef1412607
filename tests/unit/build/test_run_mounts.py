"""``RUN --mount``: what it says."""

from __future__ import annotations

import pytest

from runtime.build.frontend.mounts import RunMount, parse_mount, secret_id


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("target=/x", RunMount(type="bind", target="/x")),
        (
            "type=bind,src=a,dst=/x,from=b,rw",
            RunMount(type="bind", target="/x", source="a", origin="b", is_read_only=False),
        ),
        ('type=bind,"target=/with,comma"', RunMount(type="bind", target="/with,comma")),
        (
            "type=cache,id=c,target=/c,sharing=locked,mode=0700,uid=5,gid=6,from=s,source=d",
            RunMount(
                type="cache",
                target="/c",
                source="d",
                origin="s",
                id="c",
                sharing="locked",
                mode=0o700,
                uid=5,
                gid=6,
                is_read_only=False,
            ),
        ),
        (
            "type=tmpfs,target=/t,size=64m",
            RunMount(type="tmpfs", target="/t", size=64 << 20, is_read_only=False),
        ),
        ("type=secret,id=a,env=A,required", RunMount(type="secret", id="a", env="A", is_required=True)),
        ("type=ssh,id=x,mode=0666,required=true", RunMount(type="ssh", id="x", mode=0o666, is_required=True)),
        ("type=ssh", RunMount(type="ssh")),
    ],
)
def test_mounts(text: str, mount: RunMount) -> None:
    assert parse_mount(text) == mount


@pytest.mark.parametrize(
    "text",
    [
        "type=bind",
        "type=cache,target=/",
        "type=npm,target=/x",
        "target=/x,frmo=b",
        "type=tmpfs,target=/t,size=lots",
        "type=cache,target=/c,mode=9",
        "type=cache,target=/c,uid=-1",
        "type=cache,target=/c,sharing=all",
        "type=bind,target=/x,ro,rw",
        "type=secret",
        "type=bind,target=/x,required",
        "type=bind,target=/x,ro=perhaps",
        "target",
        '"',
    ],
)
def test_what_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_mount(text)


def test_which_secret() -> None:
    assert secret_id(parse_mount("type=secret,target=/run/x/token")) == "token"
    assert secret_id(parse_mount("type=secret,source=a")) == "a"
