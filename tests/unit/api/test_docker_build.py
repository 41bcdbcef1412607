"""``POST /build``: what its parameters ask for, and what clients read in the answer."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import urlencode

import pytest

from composer.api.messages import Query
from composer.api.routes_docker_build import build_request, ended, registry_accounts, shown
from composer.engine.builds.requests import ImageBuild
from composer.engine.requests import StepEvent, WarningEvent
from runtime.errors import InvalidArgument


def query(**values: Any) -> Query:
    return Query(urlencode(values, doseq=True))


def test_what_a_client_may_ask_for() -> None:
    asked = build_request(
        query(
            t=["app:1", "app:latest"],
            dockerfile="sub/Dockerfile",
            buildargs='{"A": "1", "FROM_ENVIRONMENT": null}',
            labels='{"x": "y"}',
            extrahosts=["db:10.0.0.1", "six:::1"],
            networkmode="host",
            nocache="1",
            shmsize="1024",
            ulimits='[{"Name": "nofile", "Soft": 10, "Hard": 20}]',
            cachefrom='["app:cache"]',
            platform="linux/arm64",
            memory="0",
            cgroupparent="",
            rm="1",
        )
    )
    assert asked == ImageBuild(
        dockerfile="sub/Dockerfile",
        tags=("app:1", "app:latest"),
        args={"A": "1"},
        labels={"x": "y"},
        extra_hosts=("db=10.0.0.1", "six=::1"),
        network="host",
        allow=("network.host",),
        no_cache=True,
        shm_size=1024,
        ulimits={"nofile": (10, 20)},
        cache_from=("app:cache",),
        platforms=("linux/arm64",),
    )


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"version": "2"}, "DOCKER_BUILDKIT=0"),
        ({"memory": "1048576"}, "memory"),
        ({"squash": "1"}, "squash"),
        ({"buildargs": "{"}, "buildargs is no JSON"),
        ({"labels": '{"a": 1}'}, "labels is no object of strings"),
        ({"ulimits": '[{"Name": "nofile"}]'}, "ulimits"),
    ],
)
def test_what_it_may_not(values: dict[str, str], told: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        build_request(query(**values))
    assert told in f"{raised.value.message} {raised.value.hint}"


def test_what_is_shown() -> None:
    step = {"kind": "Image", "name": "[1/2] RUN x", "parent": "app"}
    events = [
        StepEvent(kind="Image", name="app", status="Building"),
        StepEvent(**step, status="Building"),
        StepEvent(**step, status="Building", text="out"),
        StepEvent(**step, status="Cached"),
        WarningEvent(message="w"),
    ]
    assert [text for event in events for text in shown(event)] == [
        "[1/2] RUN x\n",
        "out\n",
        "[1/2] RUN x\n ---> Using cache\n",
        "[Warning] w\n",
    ]


def test_how_it_ends() -> None:
    image = "sha256:" + "ab" * 32
    assert list(ended(ImageBuild(tags=("app", "r:5000/app:2")), image)) == [
        {"aux": {"ID": image}},
        {"stream": "Successfully built abababababab\n"},
        {"stream": "Successfully tagged app:latest\n"},
        {"stream": "Successfully tagged r:5000/app:2\n"},
    ]
    assert list(ended(ImageBuild(quiet=True), image)) == [{"stream": f"{image}\n"}]


def test_accounts_of_registries() -> None:
    accounts = {"r:5000": {"username": "ann", "password": "x"}}
    header = base64.urlsafe_b64encode(json.dumps(accounts).encode()).decode()
    assert registry_accounts(header) == registry_accounts(header.rstrip("=")) == accounts
    assert registry_accounts("") == registry_accounts("!") == registry_accounts("W10=") == {}
