"""Which proxy a request goes through: ``HTTP_PROXY``, ``HTTPS_PROXY`` and ``NO_PROXY``, as Go reads them, so that what
is set for Docker does here (https://pkg.go.dev/golang.org/x/net/http/httpproxy). Pure but for the transport."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx

from runtime.image.registry.configuration import is_in_network, is_loopback

_PORTS = {"http": 80, "https": 443}


def proxy_for(scheme: str, host: str, port: int | None, env: Mapping[str, str]) -> str:
    """The proxy's URL for a request, "" for none. This machine itself is never asked through a proxy."""
    if is_loopback(host) or _is_exempt(host, port or _PORTS.get(scheme, 0), _setting(env, "NO_PROXY")):
        return ""
    found = _setting(env, f"{scheme.upper()}_PROXY")
    return found if "://" in found or not found else f"http://{found}"


def _setting(env: Mapping[str, str], name: str) -> str:
    return env.get(name) or env.get(name.lower(), "")


def _is_exempt(host: str, port: int, exceptions: str) -> bool:
    """Whether NO_PROXY names the host: ``*``, an address, a network, a domain (with its subdomains; ``.domain``:
    only these), each with an optional port."""
    host = host.lower().rstrip(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    for item in exceptions.lower().split(","):
        item = item.strip()
        if item == "*":
            return True
        if not item:
            continue
        if address is not None and "/" in item:
            if is_in_network(host, item):
                return True
            continue
        try:
            parts = urlsplit(f"//{item}")
            name, wanted_port = (parts.hostname or "").rstrip("."), parts.port
        except ValueError:
            continue
        if wanted_port not in (None, port):
            continue
        if address is not None:
            if name == host:
                return True
            continue
        suffix = name.removeprefix("*")
        if host == name or host.endswith(suffix if suffix.startswith(".") else f".{suffix}"):
            return True
    return False


class EnvironmentTransport(httpx.AsyncBaseTransport):
    """Sends each request directly or through the proxy that ``env`` has for it."""

    def __init__(self, env: Mapping[str, str], verify: ssl.SSLContext, limits: httpx.Limits) -> None:
        self._env = env
        self._verify = verify
        self._limits = limits
        self._transports: dict[str, httpx.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        proxy = proxy_for(url.scheme, url.host, url.port, self._env)
        transport = self._transports.get(proxy)
        if transport is None:
            transport = httpx.AsyncHTTPTransport(
                verify=self._verify, limits=self._limits, trust_env=False, proxy=proxy or None
            )
            self._transports[proxy] = transport
        try:
            return await transport.handle_async_request(request)
        except httpx.ConnectError as error:
            if not proxy or isinstance(error.__cause__, ssl.SSLError) or "SSL" in str(error):
                raise
            place = urlsplit(proxy)
            raise httpx.ProxyError(
                f"{place.hostname}:{place.port or 80}: {error}", request=request
            ) from error

    async def aclose(self) -> None:
        for transport in self._transports.values():
            await transport.aclose()
