"""Names in lists come in the order in which Docker has them."""

from __future__ import annotations

from composer.cli.output.tables import natural


def test_numbers_by_their_value() -> None:
    as_docker = ["net-Q3", "net-q1", "net-q2", "net-q2-a", "net-q2a", "net-q02", "net-q10", "net_1", "neta"]
    assert sorted(sorted(as_docker, key=len), key=natural) == as_docker
