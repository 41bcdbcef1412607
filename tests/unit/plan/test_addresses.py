"""A project's own loopback address."""

from __future__ import annotations

import ipaddress

import pytest

from composer.compose.model import Port, Project, Service
from composer.plan.addresses import address_of, asked_address, with_address
from runtime.errors import InvalidArgument


def project(**fields: object) -> Project:
    ports = (Port(target=80, published="8080"), Port(target=81, published="81", host_ip="192.0.2.1"))
    service = Service(name="web", image="busybox", ports=ports)
    return Project(name="shop", working_dir="/srv/shop", services={"web": service}, **fields)  # type: ignore[arg-type]


def test_stable_and_each_ones_own() -> None:
    assert address_of("shop", "/a") == address_of("shop", "/a")
    found = {address_of(f"shop{number}", "/a") for number in range(2000)}
    assert len(found) > 1990
    for text in found:
        address = ipaddress.IPv4Address(text)
        assert address.is_loopback and not text.startswith("127.0.")
        assert address.packed[3] not in (0, 255)
    assert address_of("shop", "/a") != address_of("shop", "/b")


def test_ports_that_name_an_address_keep_it() -> None:
    own = address_of("shop", "/srv/shop")
    ports = with_address(project(), "auto").services["web"].ports
    assert [(port.host_ip, port.published) for port in ports] == [(own, "8080"), ("192.0.2.1", "81")]
    assert with_address(project(), "127.9.9.9").services["web"].ports[0].host_ip == "127.9.9.9"
    assert with_address(project(), "") == project()


def test_what_the_file_says() -> None:
    assert asked_address(project(extensions={"x-composer": {"address": "auto"}})) == "auto"
    assert asked_address(project(extensions={"x-composer": {"silence": []}})) == ""


def test_others_are_refused() -> None:
    for wrong in ("192.0.2.1", "::1", "automatic", "127.0.0"):
        with pytest.raises(InvalidArgument, match="neither auto nor an address of"):
            with_address(project(), wrong)
    with pytest.raises(InvalidArgument, match="neither auto"):
        asked_address(project(extensions={"x-composer": {"address": 7}}))
