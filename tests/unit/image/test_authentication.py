"""Challenges, tokens, Docker's config.json and the programs that it names."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import ComposerError, InvalidArgument
from runtime.image.registry.authentication import (
    Credentials,
    parse_challenges,
    parse_token,
    push_scope,
    refresh_form,
    same_origin,
    token_url,
)
from runtime.image.registry.credentials import (
    decode_header,
    encode_header,
    erase_credentials,
    helper_for,
    load_credentials,
    parse_auth,
    registry_domain,
    server_name,
    store_credentials,
)
from runtime.image.registry.responses import retry_after

BEARER = 'Bearer realm="https://auth.example.com/token?x=1",service="registry",scope="ignored"'
ANN = Credentials("ann", "se:cret")


def auth(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def test_challenges_of_one_header() -> None:
    first, second = parse_challenges(f'{BEARER}, Basic realm="a \\"b\\""')
    assert (first.scheme, first.parameter("service")) == ("bearer", "registry")
    assert second.scheme == "basic"


def test_a_token_is_asked_for_with_all_scopes() -> None:
    (challenge,) = parse_challenges(BEARER)
    url = token_url(challenge, (push_scope("a/b"), "repository:c:pull"), "https://r")
    assert url == (
        "https://auth.example.com/token?x=1&service=registry"
        "&scope=repository%3Aa%2Fb%3Apull%2Cpush&scope=repository%3Ac%3Apull"
    )
    assert refresh_form(url, "T&") == (
        "https://auth.example.com/token?x=1",
        b"service=registry&scope=repository%3Aa%2Fb%3Apull%2Cpush+repository%3Ac%3Apull"
        b"&grant_type=refresh_token&client_id=composer&refresh_token=T%26",
    )


@pytest.mark.parametrize(
    "realm",
    ["http://auth/token", "ftp://auth/", "https://u:p@auth/", "", "https://", "https://[", "https://a:x/"],
)
def test_credentials_do_not_go_just_anywhere(realm: str) -> None:
    (challenge,) = parse_challenges(f'Bearer realm="{realm}"')
    with pytest.raises(ComposerError):
        token_url(challenge, (), "https://registry.example.com")


@pytest.mark.parametrize("answer", [b"", b"{}", b"[]", b'{"token": "a\\nb"}', b'{"token": 1}'])
def test_a_token_that_is_none(answer: bytes) -> None:
    with pytest.raises(ComposerError):
        parse_token(answer)


def test_origins() -> None:
    assert same_origin("https://a/x", "https://a:443/y")
    assert not same_origin("https://a", "http://a")
    assert not same_origin("https://a", "https://b.a")
    assert not same_origin("https://a", "https://a:8443")


# config.json


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"DOCKER_CONFIG": str(tmp_path / "docker"), "PATH": f"{tmp_path}:{os.environ['PATH']}"}


def write(env: dict[str, str], **document: Any) -> Path:
    path = Path(env["DOCKER_CONFIG"]) / "config.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(
    ("registry", "key"),
    [
        ("docker.io", "https://index.docker.io/v1/"),
        ("docker.io", "docker.io"),
        ("r:5000", "r:5000"),
        ("r:5000", "https://r:5000"),
        ("r:5000", "https://r:5000/v2/"),
        ("r:5000", "http://r:5000"),
    ],
)
def test_spellings_of_a_registry(env: dict[str, str], registry: str, key: str) -> None:
    write(env, auths={key: {"auth": auth("ann", "se:cret")}})
    assert load_credentials(env, registry) == ANN
    assert load_credentials(env, "other") is None


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ({"username": "ann", "password": "se:cret"}, ANN),
        ({"auth": auth("ann", "se:cret"), "identitytoken": "T"}, Credentials("ann", "", "T")),
        ({"auth": "%%%"}, None),
        ({"auth": auth("ann", "")}, None),
        ({"username": 1}, None),
        ({}, None),
    ],
)
def test_entries(entry: dict[str, Any], found: Credentials | None) -> None:
    assert parse_auth(entry) == found


@pytest.mark.parametrize("text", ["", '{"auths": 3}', '{"auths": {"r": 3}}', '{"credHelpers": 1}'])
def test_a_configuration_that_says_nothing(env: dict[str, str], text: str) -> None:
    write(env).write_text(text)
    assert load_credentials(env, "r") is None


@pytest.mark.parametrize(("text", "why"), [("{", "not valid JSON"), ("[]", "not a JSON object")])
def test_a_configuration_that_cannot_be_read_is_told(env: dict[str, str], text: str, why: str) -> None:
    path = write(env)
    path.write_text(text)
    with pytest.raises(ComposerError, match=f"{path}: {why}"):
        load_credentials(env, "r")


def test_credentials_are_kept_beside_everything_else(env: dict[str, str]) -> None:
    path = write(env, auths={"other": {"auth": "x"}}, psFormat="table", unknown=[1])
    assert store_credentials(env, "r:5000", ANN) == str(path)
    assert load_credentials(env, "r:5000") == ANN
    document = json.loads(path.read_text())
    assert document["psFormat"] == "table" and document["unknown"] == [1]
    assert document["auths"]["other"] == {"auth": "x"}
    assert path.stat().st_mode & 0o777 == 0o600
    assert erase_credentials(env, "r:5000") is True
    assert erase_credentials(env, "r:5000") is False
    assert list(json.loads(path.read_text())["auths"]) == ["other"]


def test_a_damaged_configuration_is_not_overwritten(env: dict[str, str]) -> None:
    path = write(env)
    path.write_text("{oops")
    with pytest.raises(ComposerError, match="not valid JSON"):
        store_credentials(env, "r", ANN)
    assert path.read_text() == "{oops"


def test_which_helper() -> None:
    document = {"credsStore": "all", "credHelpers": {"r:5000": "one", "bad": 3}}
    assert [helper_for(document, name) for name in ("r:5000", "bad", "docker.io")] == ["one", "all", "all"]
    assert helper_for({}, "r") == ""


KEEPER = """#!/bin/sh
set -eu
file=$(dirname "$0")/kept
case $1 in
    store) cat > "$file" ;;
    get)
        read -r server || [ "$server" ]
        [ -e "$file" ] || { echo "credentials not found in native keychain"; exit 1; }
        [ "$server" = https://index.docker.io/v1/ ] || { echo "server $server?"; exit 1; }
        cat "$file" ;;
    erase) rm -f "$file" ;;
esac
"""


@pytest.fixture
def keeper(env: dict[str, str], tmp_path: Path) -> Path:
    program = tmp_path / "docker-credential-keeper"
    program.write_text(KEEPER)
    program.chmod(0o755)
    return write(env, credsStore="keeper")


@pytest.mark.parametrize("credentials", [ANN, Credentials("", "", "T")])
def test_a_helper_keeps_secrets(env: dict[str, str], keeper: Path, credentials: Credentials) -> None:
    assert load_credentials(env, "docker.io") is None
    assert store_credentials(env, "docker.io", credentials) == ""
    assert "auth" not in json.loads(keeper.read_text())["auths"]["https://index.docker.io/v1/"]
    assert load_credentials(env, "docker.io") == credentials
    assert erase_credentials(env, "docker.io") is True
    assert load_credentials(env, "docker.io") is None


def test_a_helper_that_fails_is_named(env: dict[str, str], keeper: Path) -> None:
    store_credentials(env, "docker.io", ANN)
    with pytest.raises(ComposerError, match=r"docker-credential-keeper get failed: server r\?"):
        load_credentials(env, "r")


@pytest.mark.parametrize("name", ["missing", "../keeper", "a b", "-x"])
def test_a_helper_that_is_none(env: dict[str, str], name: str) -> None:
    write(env, credHelpers={"r": name})
    with pytest.raises(ComposerError, match=r"not found|invalid credential helper"):
        load_credentials(env, "r")


# Names and headers


def test_names_of_registries() -> None:
    for text in ("", "docker.io", "index.docker.io", "https://index.docker.io/v1/"):
        assert registry_domain(text) == "docker.io"
    assert server_name("docker.io") == "https://index.docker.io/v1/"
    assert registry_domain("https://r.example:5000/v2/") == "r.example:5000"
    assert registry_domain("localhost") == "localhost"
    for text in ("nodots", "r.example:x", "a b"):
        with pytest.raises(InvalidArgument):
            registry_domain(text)


def test_the_header_of_the_api() -> None:
    assert decode_header(encode_header(ANN, "docker.io")) == ANN
    for text in ("", "e30=", "e30", "!!", "bnVsbA=="):
        assert decode_header(text) is None


def test_credentials_are_not_shown() -> None:
    assert "se:cret" not in repr(ANN)


@pytest.mark.parametrize(
    ("header", "pause"),
    [
        ("3", 3.0),
        ("0", 0.0),
        ("86400", 30.0),
        ("9" * 400, 30.0),
        ("Thu, 01 Jan 1970 00:01:47 GMT", 7.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 30.0),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("\u0663", None),
    ],
)
def test_when_to_try_again(header: str, pause: float | None) -> None:
    assert retry_after(header, 100.0) == pause
