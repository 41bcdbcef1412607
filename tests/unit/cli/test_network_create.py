"""What ``network create`` makes of its subnets, and which of its words belong to which."""

from __future__ import annotations

import pytest

from composer.cli.arguments import UsageError
from composer.cli.management.network import ipam_configuration


def test_each_to_its_subnet() -> None:
    given = {"IPRange": ["10.2.0.128/25"], "Gateway": ["fd00:5::9", "10.2.0.7"]}
    auxiliary = {"a": "10.1.0.9", "b": "10.1.0.10"}
    assert ipam_configuration(["10.1.0.0/24", "10.2.0.0/24", "fd00:5::/64"], given, auxiliary) == [
        {"Subnet": "10.1.0.0/24", "AuxiliaryAddresses": auxiliary},
        {"Subnet": "10.2.0.0/24", "IPRange": "10.2.0.128/25", "Gateway": "10.2.0.7"},
        {"Subnet": "fd00:5::/64", "Gateway": "fd00:5::9"},
    ]


@pytest.mark.parametrize(
    ("subnets", "ranges", "gateways", "auxiliary", "message"),
    [
        ([], ["10.1.0.0/25"], [], {}, "every ip-range or gateway must have a corresponding subnet"),
        ([], [], [], {"a": "1.2.3.4"}, "no matching subnet for aux-address 1.2.3.4"),
        (["10.1.0.0/24"], [], ["10.2.0.1"], {}, "no matching subnet for gateway 10.2.0.1"),
        (["10.1.0.0/24"], ["10.1.0.0/16"], [], {}, "no matching subnet for range 10.1.0.0/16"),
        (["10.1.0.0/33"], [], [], {}, "Invalid subnet 10.1.0.0/33 : invalid CIDR address"),
        (["10.1.0.0/24", "10.1.0.0/25"], [], [], {}, "multiple overlapping subnet"),
        (["10.1.0.0/24"], [], ["10.1.0.1", "10.1.0.2"], {}, "cannot configure multiple gateways"),
    ],
)
def test_refused(
    subnets: list[str], ranges: list[str], gateways: list[str], auxiliary: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        ipam_configuration(subnets, {"IPRange": ranges, "Gateway": gateways}, auxiliary)
