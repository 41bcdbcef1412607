"""The way to a registry: its certificates, those of the client, and proxies."""

from __future__ import annotations

import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from runtime.errors import ComposerError
from runtime.image.registry.configuration import RegistryConfiguration
from runtime.image.registry.transport import tls_context
from runtime.image.store import ImageStore
from runtime.storage.state import StateDatabase
from tests.faulty_registry import FaultyRegistry
from tests.integration.image.conftest import AMD64, layer

NAME = "registry.test:5000"


def openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True, stdin=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and a certificate by it that names a server (and serves as a client's)."""
    root = tmp_path_factory.mktemp("keys")
    fast = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    authority, own = (f"{root}/authority", f"{root}/own")
    openssl(
        "req",
        "-x509",
        *fast,
        "-keyout",
        f"{authority}.key",
        "-out",
        f"{authority}.crt",
        "-subj",
        "/CN=authority",
    )
    openssl(
        *("req", "-x509", *fast, "-CA", f"{authority}.crt", "-CAkey", f"{authority}.key"),
        *("-keyout", f"{own}.key", "-out", f"{own}.cert", "-subj", "/CN=own"),
        *("-addext", "subjectAltName=DNS:registry.test", "-addext", "basicConstraints=critical,CA:FALSE"),
    )
    return root


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    path = tmp_path / "docker/certs.d" / NAME
    path.mkdir(parents=True)
    return path


def shake_hands(keys: Path, home: Path, *, wants_client: bool = False) -> None:
    """Speak TLS to a server with the certificate, as a client does that is configured below ``home``."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(keys / "own.cert", keys / "own.key")
    server.load_verify_locations(keys / "authority.crt")
    server.verify_mode = ssl.CERT_REQUIRED if wants_client else ssl.CERT_NONE
    client = tls_context(NAME, verify=True, env={"XDG_CONFIG_HOME": str(home)})
    with FaultyRegistry().serving(server) as registry:
        host, _, port = registry.address.partition(":")
        with (
            socket.create_connection((host, int(port)), timeout=30) as plain,
            client.wrap_socket(plain, server_hostname="registry.test") as secure,
        ):
            secure.sendall(b"GET /v2/ HTTP/1.0\r\n\r\n")
            assert b" 200 " in secure.recv(100)


def test_an_authority_of_ones_own(keys: Path, certificates: Path, tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(keys, tmp_path)
    (certificates / "ca.crt").write_bytes((keys / "authority.crt").read_bytes())
    shake_hands(keys, tmp_path)


def test_a_client_certificate(keys: Path, certificates: Path, tmp_path: Path) -> None:
    (certificates / "any-name.crt").write_bytes((keys / "authority.crt").read_bytes())
    with pytest.raises((ssl.SSLError, AssertionError, ConnectionError)):
        shake_hands(keys, tmp_path, wants_client=True)
    for suffix in ("cert", "key"):
        (certificates / f"me.{suffix}").write_bytes((keys / f"own.{suffix}").read_bytes())
    shake_hands(keys, tmp_path, wants_client=True)


@pytest.mark.parametrize("name", ["ca.crt", "me.cert"])
def test_files_that_are_no_use_are_named(certificates: Path, tmp_path: Path, name: str) -> None:
    (certificates / name).write_text("nonsense")
    with pytest.raises(ComposerError, match=r"ca\.crt cannot be used|the key .*/me\.key .* is missing"):
        tls_context(NAME, verify=True, env={"XDG_CONFIG_HOME": str(tmp_path)})


async def test_a_proxy(tmp_path: Path, faulty: FaultyRegistry) -> None:
    """Plain HTTP goes through a proxy by whole addresses, which this registry takes for paths."""
    faulty.add_image("app", "1", [layer(1)])
    database = StateDatabase(tmp_path / "state.db")
    configuration = RegistryConfiguration(
        insecure=(NAME,), env={"HTTP_PROXY": f"http://{faulty.address}", "NO_PROXY": "other.test"}
    )
    store = ImageStore(tmp_path / "images", database, configuration, platform=AMD64, env={})
    try:
        await store.pull(f"{NAME}/app:1")
    finally:
        database.close()
    assert all(request.path.startswith(f"http://{NAME}/v2/") for request in faulty.seen)
