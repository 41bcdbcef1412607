"""What lists show, in Docker's forms."""

from __future__ import annotations

import json

from composer.cli.management.volume import TITLES, volume_row
from composer.cli.output.tables import formatted
from composer.cli.project.containers import ports_words


def port(target: int, published: int = 0, host: str = "0.0.0.0", protocol: str = "tcp") -> dict[str, object]:
    return {
        "URL": host if published else "",
        "TargetPort": target,
        "PublishedPort": published,
        "Protocol": protocol,
    }


def test_ports() -> None:
    assert ports_words([port(80, 8080), port(80, 8080, "::")]) == "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"
    moved = [port(90, 8090), port(91, 8091)]
    assert ports_words(moved) == "0.0.0.0:8090->90/tcp, 0.0.0.0:8091->91/tcp"
    same = [port(7000, 7000), port(7001, 7001), port(7002, 7002)]
    assert ports_words(same) == "0.0.0.0:7000-7002->7000-7002/tcp"
    assert (
        ports_words([port(7000, 7000), port(7001, 8001)]) == "0.0.0.0:7000->7000/tcp, 0.0.0.0:8001->7001/tcp"
    )
    assert ports_words([port(9000), port(9001), port(53, protocol="udp")]) == "53/udp, 9000-9001/tcp"


def test_volumes_as_json_are_dockers() -> None:
    volume = {
        "Name": "v",
        "Driver": "local",
        "Labels": {"b": "2", "a": "1"},
        "Mountpoint": "/m",
        "Scope": "local",
        "Options": None,
        "CreatedAt": "2026-01-01T00:00:00Z",
    }
    assert formatted([volume_row(volume)], TITLES, "json", default=("Driver", "Name")) == (
        '{"Availability":"N/A","Driver":"local","Group":"N/A","Labels":"a=1,b=2","Links":"N/A",'
        '"Mountpoint":"/m","Name":"v","Scope":"local","Size":"N/A","Status":"N/A"}\n'
    )
    assert json.loads(formatted([{"B": 1, "A": 2}], {}, "json", default=())) == {"A": 2, "B": 1}
