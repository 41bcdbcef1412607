"""How registries are connected to: TLS, plain HTTP where it is allowed, proxies, time limits."""

from __future__ import annotations

import ssl
from pathlib import Path
from urllib.parse import urlsplit

import certifi
import httpx

from runtime.image.configuration import RegistryConfiguration, host_name, is_loopback
from runtime.image.responses import Unreachable

_CERTIFICATES = (Path("/etc/composer/certs.d"), Path("/etc/docker/certs.d"))
_USER_AGENT = "composer/0.1"


def base_urls(host: str, configuration: RegistryConfiguration) -> tuple[str, ...]:
    """Where ``host[:port]`` may be: https; on loopback and for insecure registries also http, the likelier
    first."""
    secure, plain = f"https://{host}", f"http://{host}"
    if is_loopback(host_name(host)):
        return plain, secure
    if configuration.is_insecure(host):
        return secure, plain
    return (secure,)


def make_client(host: str, *, verify: bool, stall: float) -> httpx.AsyncClient:
    """A client whose reads end after ``stall`` seconds without data. Proxies are those of the environment,
    but never for this machine itself. Redirects are the caller's."""
    local = {f"all://{name}": None for name in ("localhost", "127.0.0.1", "[::1]")}
    if is_loopback(host_name(host)):
        local[f"all://{host}"] = None
    return httpx.AsyncClient(
        verify=_context(host, verify),
        timeout=httpx.Timeout(stall, connect=15.0, pool=None),
        limits=httpx.Limits(max_connections=32, max_keepalive_connections=8, keepalive_expiry=15.0),
        follow_redirects=False,
        mounts=local,
        headers={"User-Agent": _USER_AGENT, "Accept-Encoding": "identity", "Accept": "*/*"},
    )


def _context(host: str, verify: bool) -> ssl.SSLContext:
    """Trusts the system's authorities, those of certifi, and the ones configured for the host."""
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    context.load_verify_locations(certifi.where())
    for directory in _CERTIFICATES:
        path = directory / host / "ca.crt"
        if "/" not in host and path.is_file():
            context.load_verify_locations(path)
    return context


def is_wrong_scheme(error: httpx.TransportError) -> bool:
    """Whether the other side may just be speaking (no) TLS."""
    if isinstance(error, httpx.ProtocolError):
        return True
    return isinstance(error, httpx.ConnectError | httpx.ReadError) and not _is_refused(error)


def _is_refused(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConnectionRefusedError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def unreachable(name: str, error: httpx.TransportError) -> Unreachable:
    """The error for people: what the innermost cause says."""
    cause: BaseException = error
    while (inner := cause.__cause__ or cause.__context__) is not None:
        cause = inner
    if isinstance(error, httpx.TimeoutException):
        reason = "no answer in time"
    elif isinstance(cause, ssl.SSLCertVerificationError):
        reason = f"its certificate is not trusted: {cause.verify_message}"
    elif isinstance(cause, OSError) and cause.strerror:
        reason = cause.strerror
    else:
        reason = str(error) or type(error).__name__
    return Unreachable(
        f"cannot reach {urlsplit(name).netloc or name}: {reason}",
        hint="Check the network and HTTPS_PROXY, or configure a mirror (registry-mirrors) in engine.json.",
    )
