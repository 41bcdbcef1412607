"""URLs of what is published on an address of the project's own."""

from __future__ import annotations

from typing import Any

from composer.cli.project.ps import urls


def container(
    service: str, address: str, published: int, target: int, protocol: str = "tcp", state: str = "running"
) -> dict[str, Any]:
    publisher = {"URL": address, "PublishedPort": published, "TargetPort": target, "Protocol": protocol}
    return {"Service": service, "State": state, "Publishers": [publisher]}


def test_the_scheme_is_what_is_usual_behind_the_port() -> None:
    found = urls([container("web", "127.9.8.7", 8080, 80), container("db", "127.9.8.7", 5432, 5432)])
    assert found == [("db", "postgresql://127.9.8.7:5432"), ("web", "http://127.9.8.7:8080")]


def test_a_scheme_s_own_port_is_left_out() -> None:
    assert urls([container("web", "127.9.8.7", 443, 443)]) == [("web", "https://127.9.8.7")]
    assert urls([container("web", "127.9.8.7", 80, 443)]) == [("web", "https://127.9.8.7:80")]


def test_only_what_runs_is_tcp_and_on_an_own_address_has_one() -> None:
    assert not urls(
        [
            container("a", "127.0.0.1", 80, 80),
            container("b", "0.0.0.0", 80, 80),
            container("c", "127.9.8.7", 53, 53, "udp"),
            container("d", "127.9.8.7", 0, 80),
            container("e", "127.9.8.7", 80, 80, state="exited"),
        ]
    )
