"""Which proxy a request goes through."""

from __future__ import annotations

import pytest

from runtime.image.registry.proxies import proxy_for

ENV = {"HTTP_PROXY": "http://plain:3128", "HTTPS_PROXY": "secure:3128"}


@pytest.mark.parametrize(
    ("scheme", "host", "exceptions", "proxy"),
    [
        ("https", "registry.example.com", "", "http://secure:3128"),
        ("http", "registry.example.com", "", "http://plain:3128"),
        ("https", "localhost", "", ""),
        ("https", "127.0.0.1", "", ""),
        ("https", "::1", "", ""),
        ("https", "registry.example.com", "*", ""),
        ("https", "registry.example.com", "example.com", ""),
        ("https", "example.com", "example.com", ""),
        ("https", "example.com", ".example.com", "http://secure:3128"),
        ("https", "registry.example.com", "other, .example.com", ""),
        ("https", "registry.example.com", "*.example.com", ""),
        ("https", "notexample.com", "example.com", "http://secure:3128"),
        ("https", "REGISTRY.example.com.", "Example.com", ""),
        ("https", "registry.example.com", "example.com:443", ""),
        ("https", "registry.example.com", "example.com:5000", "http://secure:3128"),
        ("https", "10.1.2.3", "10.0.0.0/8", ""),
        ("https", "11.1.2.3", "10.0.0.0/8,broken/99", "http://secure:3128"),
        ("https", "10.1.2.3", "10.1.2.3", ""),
        ("https", "10.1.2.3", "2.3", "http://secure:3128"),
        ("https", "fd00::1", "fd00::/8", ""),
        ("https", "registry.example.com", ", ,:x,[", "http://secure:3128"),
    ],
)
def test_proxies(scheme: str, host: str, exceptions: str, proxy: str) -> None:
    assert proxy_for(scheme, host, None, {**ENV, "NO_PROXY": exceptions}) == proxy


def test_spellings() -> None:
    assert proxy_for("https", "r", None, {"https_proxy": "socks5://p"}) == "socks5://p"
    assert proxy_for("https", "r", None, {}) == ""
    assert proxy_for("https", "r", 5000, {**ENV, "no_proxy": "r:5000"}) == ""
