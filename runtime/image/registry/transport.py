"""How registries are connected to: TLS, plain HTTP where it is allowed, proxies, time limits."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

import certifi
import httpx

from runtime.errors import ComposerError
from runtime.image.naming import DEFAULT_DOMAIN
from runtime.image.registry.configuration import RegistryConfiguration, host_name, is_loopback
from runtime.image.registry.proxies import EnvironmentTransport
from runtime.image.registry.responses import Unreachable

_CERTIFICATES = (Path("/etc/composer/certs.d"), Path("/etc/docker/certs.d"))
_AUTHORITIES_KEPT = 600.0
"""Seconds after which the system's authorities are read again."""
_USER_AGENT = "composer/0.1"
_WRONG_CERTIFICATES = {
    9: "It is not valid yet: is this machine's clock right?",
    10: "It is to be renewed by whoever runs the registry; or this machine's clock is wrong.",
    62: "Use a name that it is for; or let whoever runs the registry have one made for this name.",
    64: "Use a name that it is for; or let whoever runs the registry have one made for this address.",
}
"""What to do about some of OpenSSL's reasons (openssl/x509_vfy.h, ``X509_V_ERR_*``)."""


def base_urls(host: str, configuration: RegistryConfiguration) -> tuple[str, ...]:
    """Where ``host[:port]`` may be: https; on loopback and for insecure registries also http, the likelier
    first."""
    secure, plain = f"https://{host}", f"http://{host}"
    if is_loopback(host_name(host)):
        return plain, secure
    if configuration.is_insecure(host):
        return secure, plain
    return (secure,)


def make_client(host: str, *, verify: bool, stall: float, env: Mapping[str, str]) -> httpx.AsyncClient:
    """A client whose reads end after ``stall`` seconds without data. Proxies are those of ``env``. Redirects are
    the caller's. Raises ComposerError when certificates that are configured for the host cannot be used."""
    limits = httpx.Limits(max_connections=32, max_keepalive_connections=8, keepalive_expiry=15.0)
    return httpx.AsyncClient(
        transport=EnvironmentTransport(env, tls_context(host, verify=verify, env=env), limits),
        timeout=httpx.Timeout(stall, connect=15.0, pool=None),
        follow_redirects=False,
        trust_env=False,
        headers={"User-Agent": _USER_AGENT, "Accept-Encoding": "identity", "Accept": "*/*"},
    )


def certificate_directories(host: str, env: Mapping[str, str]) -> list[Path]:
    """Where certificates for ``host[:port]`` may be, in Docker's layout (https://docs.docker.com/engine/security/certificates):
    ``*.crt`` are authorities, ``*.cert`` and ``*.key`` of one name identify the client."""
    if "/" in host or host in ("", ".", ".."):
        return []
    home = Path(env.get("XDG_CONFIG_HOME") or Path(env.get("HOME") or "/") / ".config")
    roots = (*_CERTIFICATES, home / "composer/certs.d", home / "docker/certs.d")
    return [root / host for root in roots if (root / host).is_dir()]


def tls_context(host: str, *, verify: bool, env: Mapping[str, str]) -> ssl.SSLContext:
    """Trusts the system's authorities, those of certifi, and the ones configured for the host; has the client
    certificates that are configured for it. Raises ComposerError naming a file that is no use."""
    directories = certificate_directories(host, env)
    if not directories:
        return _common_context(verify, int(time.monotonic() / _AUTHORITIES_KEPT))
    context = _new_context(verify)
    for directory in directories:
        for path in sorted(directory.iterdir()):
            try:
                if path.suffix == ".crt":
                    context.load_verify_locations(path)
                elif path.suffix == ".cert":
                    context.load_cert_chain(path, _key_of(path))
            except (OSError, ssl.SSLError) as error:
                raise ComposerError(
                    f"the certificate {path} cannot be used: {error.strerror or error}"
                ) from None
    return context


def _new_context(verify: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if verify:
        context.load_verify_locations(certifi.where())
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


@lru_cache(maxsize=2)
def _common_context(verify: bool, age: int) -> ssl.SSLContext:
    """For all hosts that have nothing of their own: reading all authorities takes longer than a small pull."""
    return _new_context(verify)


def _key_of(certificate: Path) -> Path:
    key = certificate.with_suffix(".key")
    if not key.is_file():
        raise ComposerError(
            f"the key {key} of the client certificate {certificate.name} is missing",
            hint="Authorities have the suffix .crt, client certificates .cert.",
        )
    return key


def is_wrong_scheme(error: httpx.TransportError) -> bool:
    """Whether the other side may just be speaking (no) TLS."""
    if isinstance(error, httpx.ProtocolError | httpx.ProxyError):
        return True
    return isinstance(error, httpx.ConnectError | httpx.ReadError) and not _is_refused(error)


def _is_refused(error: BaseException) -> bool:
    return any(isinstance(cause, ConnectionRefusedError) for cause in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """What an error comes from, innermost last. When all addresses of a host failed, the last one's counts."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        if isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[-1]
        else:
            cause = cause.__cause__ or cause.__context__


def unreachable(name: str, error: httpx.TransportError) -> Unreachable:
    """The error for people: what the innermost cause says."""
    *_, cause = _causes(error)
    place = urlsplit(name).netloc or name
    hint = "Check the network and HTTPS_PROXY, or configure a mirror (registry-mirrors) in engine.json."
    if isinstance(error, httpx.TimeoutException):
        reason = "no answer in time"
    elif isinstance(error, httpx.ProxyError):
        reason = f"the proxy {error}"
        if _is_refused(error):
            reason = f"the proxy {str(error).partition(': ')[0]}: {os.strerror(errno.ECONNREFUSED)}"
        hint = "Check HTTPS_PROXY, HTTP_PROXY and NO_PROXY in the environment of the engine."
    elif isinstance(cause, ssl.SSLCertVerificationError):
        reason = f"its certificate is not trusted: {cause.verify_message}"
        hint = _WRONG_CERTIFICATES.get(cause.verify_code) or (
            f"Put the certificate of its authority into /etc/docker/certs.d/{place}/ca.crt; or name it among"
            " insecure-registries in engine.json, if nobody can stand in between."
        )
    elif isinstance(cause, ssl.SSLError):
        # Alerts of TLS 1.3 and of before where a client certificate is wanted, or is not the right one (RFC 8446, 6.2).
        said = (cause.reason or str(cause)).lower().replace("_", " ")
        reason = f"TLS: {said}"
        if "alert" in said and "certificate" in said:
            hint = (
                "It wants a client certificate that it trusts: client.cert and client.key in"
                f" /etc/docker/certs.d/{place}/."
            )
    elif isinstance(cause, socket.gaierror):
        reason = cause.strerror or "no such name"
        hint = f"Is {host_name(place)} its right name? If so: does this machine find names at all?"
        if place == DEFAULT_DOMAIN:
            hint = "A name without a registry is one of Docker Hub's; others begin with HOST/ or HOST:PORT/."
    elif _is_refused(error):
        reason = os.strerror(errno.ECONNREFUSED)
        hint = "Nothing listens there: is the port right, and the registry running?"
    elif isinstance(cause, OSError) and cause.strerror:
        reason = os.strerror(cause.errno or 0) if cause.errno in errno.errorcode else cause.strerror
    else:
        reason = str(error) or type(error).__name__
    return Unreachable(f"cannot reach {place}: {reason}", hint=hint)
