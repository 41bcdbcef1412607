"""What is put into /etc/hosts and resolv.conf is one line each: nothing that a user writes makes a second one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from runtime.errors import InvalidArgument
from runtime.network.files import hosts_file, parse_extra_host, resolv_conf

EVIL = ("a\n6.6.6.6 b", "a\rb", "a\x00b", "a\x1b[31mb", "a\x7fb")


@pytest.mark.parametrize("text", EVIL)
@pytest.mark.parametrize(
    "place",
    [
        lambda text: hosts_file(text, addresses=["10.0.0.2"]),
        lambda text: hosts_file("web", domainname=text, addresses=["10.0.0.2"]),
        lambda text: parse_extra_host(f"{text}=10.0.0.3"),
        lambda text: parse_extra_host(f"name=10.0.0.3{text}"),
        lambda text: parse_extra_host(f"name=fe80::1%{text}"),
        lambda text: resolv_conf("", dns=(text,)),
        lambda text: resolv_conf("", search=(text,)),
        lambda text: resolv_conf("", options=(text,)),
    ],
    ids=(
        "hostname",
        "domain",
        "extra host",
        "extra address",
        "zone of an address",
        "server",
        "search",
        "option",
    ),
)
def test_no_second_line(place: Callable[[str], object], text: str) -> None:
    with pytest.raises(InvalidArgument):
        place(text)
