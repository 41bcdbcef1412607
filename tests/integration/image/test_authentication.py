"""Being somebody to a registry, and nobody to everybody else."""

from __future__ import annotations

import base64
from urllib.parse import parse_qs, urlsplit

import pytest

from runtime.errors import ComposerError
from runtime.image.registry.authentication import Credentials, CredentialSource
from runtime.image.registry.responses import AccessDenied, Unauthorized
from runtime.image.store import ImageStore
from tests.faulty_registry import Fault, FaultyRegistry, digest_of
from tests.integration.image.conftest import layer

ANN = Credentials("ann", "secret")
BASIC = "Basic " + base64.b64encode(b"ann:secret").decode()


def being(credentials: Credentials | None) -> CredentialSource:
    return lambda _: credentials


@pytest.fixture(params=["basic", "bearer"])
def guarded(faulty: FaultyRegistry, request: pytest.FixtureRequest) -> FaultyRegistry:
    faulty.accounts = {"ann": "secret"}
    faulty.uses_tokens = request.param == "bearer"
    faulty.add_image("app", "1", [layer(1), layer(2), layer(3)])
    return faulty


async def test_pull_and_push_as_somebody(store: ImageStore, guarded: FaultyRegistry) -> None:
    await store.pull(f"{guarded.address}/app:1", credentials=being(ANN))
    store.tag(f"{guarded.address}/app:1", f"{guarded.address}/other:2")
    await store.push(f"{guarded.address}/other:2", credentials=being(ANN))
    assert ("other", "2") in guarded.manifests
    if guarded.uses_tokens:
        assert guarded.count("GET", "/token") <= 4, "one for all layers, not one for each"
        with_password = [r for r in guarded.seen if r.headers.get("Authorization", "").startswith("Basic")]
        assert all(r.path.startswith("/token") for r in with_password)


@pytest.mark.parametrize("credentials", [None, Credentials("ann", "wrong")])
async def test_pull_as_nobody(
    store: ImageStore, guarded: FaultyRegistry, credentials: Credentials | None
) -> None:
    with pytest.raises(AccessDenied, match=r"pull access denied for .*/app"):
        await store.pull(f"{guarded.address}/app:1", credentials=being(credentials))


async def test_why_one_is_nobody(store: ImageStore, guarded: FaultyRegistry) -> None:
    def fail(_: str) -> None:
        raise ComposerError("the keychain is locked")

    with pytest.raises(AccessDenied) as caught:
        await store.pull(f"{guarded.address}/app:1", credentials=fail)
    assert "the keychain is locked" in caught.value.hint


async def test_nobody_is_asked_for_what_is_public(store: ImageStore, faulty: FaultyRegistry) -> None:
    def fail(_: str) -> None:
        raise AssertionError("nobody wanted to know")

    faulty.add_image("app", "1", [layer(1)])
    await store.pull(f"{faulty.address}/app:1", credentials=fail)


async def test_a_token_that_expires_is_renewed(store: ImageStore, guarded: FaultyRegistry) -> None:
    guarded.faults.append(Fault("/blobs/", "GET", times=1, status=401, headers={"WWW-Authenticate": (
        f'Bearer realm="http://{guarded.address}/token"' if guarded.uses_tokens else 'Basic realm="x"'
    )}))  # fmt: skip
    if guarded.uses_tokens:
        await store.pull(f"{guarded.address}/app:1", credentials=being(ANN))
    else:
        with pytest.raises(AccessDenied):  # the same password would be refused again
            await store.pull(f"{guarded.address}/app:1", credentials=being(ANN))


async def test_what_a_token_has_to_allow_changes_in_the_middle_of_a_layer(
    store: ImageStore, faulty: FaultyRegistry
) -> None:
    """A long download breaks off, and the token is no good any more: it goes on where it was. The registry may name
    another scope with that; what is asked for stays what is needed, as with Docker."""
    faulty.accounts, faulty.uses_tokens = {"ann": "secret"}, True
    big = layer(1, 4 << 20)
    faulty.add_image("app", "1", [big])
    wants = f'Bearer realm="http://{faulty.address}/token",scope="repository:app:pull repository:base:pull"'
    faulty.faults += [
        Fault(digest_of(big), "GET", drop_after=3 << 20),
        Fault(digest_of(big), "GET", status=401, headers={"WWW-Authenticate": wants}),
    ]
    await store.pull(f"{faulty.address}/app:1", credentials=being(ANN))
    first, second = (parse_qs(urlsplit(r.path).query)["scope"] for r in faulty.seen if "/token" in r.path)
    assert first == second == ["repository:app:pull"]
    ranges = [r.headers.get("Range", "") for r in faulty.seen if digest_of(big) in r.path]
    assert ranges[0] == "" and all(text.startswith("bytes=") for text in ranges[1:])


@pytest.mark.parametrize(
    "fault",
    [
        Fault("/token", "GET", times=2, status=503),
        Fault("/token", "GET", times=1, drop_after=0),
    ],
    ids=repr,
)
async def test_a_token_server_may_have_a_bad_day(
    store: ImageStore, faulty: FaultyRegistry, fault: Fault
) -> None:
    faulty.accounts, faulty.uses_tokens = {"ann": "secret"}, True
    faulty.add_image("app", "1", [layer(1)])
    faulty.faults.append(fault)
    await store.pull(f"{faulty.address}/app:1", credentials=being(ANN))
    assert fault.times == 0


async def test_a_bad_token_is_no_reason_to_ask_for_ever(store: ImageStore, faulty: FaultyRegistry) -> None:
    faulty.accounts, faulty.uses_tokens = {"ann": "secret"}, True
    faulty.add_image("app", "1", [layer(1)])
    challenge = {"WWW-Authenticate": f'Bearer realm="http://{faulty.address}/token"'}
    faulty.faults.append(Fault("/manifests/", times=99, status=401, headers=challenge))
    with pytest.raises(AccessDenied):
        await store.pull(f"{faulty.address}/app:1", credentials=being(ANN))
    assert faulty.count("GET", "/token") <= 3


async def test_redirects_carry_no_credentials_elsewhere(store: ImageStore, guarded: FaultyRegistry) -> None:
    with FaultyRegistry().serving() as storage:
        storage.add_image("app", "1", [layer(1), layer(2), layer(3)])
        guarded.redirect_blobs_to = f"http://{storage.address}"
        await store.pull(f"{guarded.address}/app:1", credentials=being(ANN))
        assert storage.count("GET", "/blobs/") == 4
        assert not [request for request in storage.seen if "Authorization" in request.headers]
        assert "Authorization" in guarded.seen[-1].headers


async def test_uploads_carry_no_credentials_elsewhere(store: ImageStore, guarded: FaultyRegistry) -> None:
    await store.pull(f"{guarded.address}/app:1", credentials=being(ANN))
    store.tag(f"{guarded.address}/app:1", f"{guarded.address}/copy:1")
    guarded.owned.clear()
    with FaultyRegistry().serving() as storage:
        storage.uploads["7"] = bytearray()
        elsewhere = {"Location": f"http://{storage.address}/v2/copy/blobs/uploads/7"}
        guarded.faults.append(Fault("/uploads/", "POST", times=99, status=202, headers=elsewhere))
        with pytest.raises(ComposerError):
            await store.push(f"{guarded.address}/copy:1", credentials=being(ANN))
        assert storage.seen
        assert not [request for request in storage.seen if "Authorization" in request.headers]


async def test_login(store: ImageStore, guarded: FaultyRegistry) -> None:
    await store.registries.login(guarded.address, ANN)
    with pytest.raises(Unauthorized, match="incorrect username or password"):
        await store.registries.login(guarded.address, Credentials("ann", "wrong"))
