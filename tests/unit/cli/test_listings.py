"""What lists show, in Docker's forms."""

from __future__ import annotations

import json

from composer.api.plain_json import indented
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


def test_ports_are_in_dockers_order() -> None:
    """Ranges first, by what began them; those under other numbers behind all of them."""
    one, both = port(81, 32768, "127.0.0.1"), [port(82, 82, host, "udp") for host in ("::", "0.0.0.0")]
    assert ports_words([one, *both, *(port(5000 + i) for i in range(3)), port(5005)]) == (
        "5000-5002/tcp, 0.0.0.0:82->82/udp, [::]:82->82/udp, 5005/tcp, 127.0.0.1:32768->81/tcp"
    )


def test_json_for_people_is_as_the_standard_librarys() -> None:
    document = [{"a": [1, {"b": None}], "c": {}, "d": [], "e": "ü\n\x1b", "f": [[True, 1.5]]}, "x"]
    assert indented(document, 4) == json.dumps(document, indent=4, ensure_ascii=False)
    assert indented({}, 2) == "{}"


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
