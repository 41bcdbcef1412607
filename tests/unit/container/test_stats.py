"""Statistics documents out of readings."""

from __future__ import annotations

from runtime.container import stats
from runtime.kernel.cgroup_reading import BlockIO, Reading, parse_pressure

NET_DEV = """Inter-| Receive | Transmit
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed
    lo: 100 1 0 0 0 0 0 0 100 1 0 0 0 0 0 0
  eth0: 4860 50 1 2 0 0 0 0 700 7 3 4 0 0 0 0
"""


def test_networks() -> None:
    assert stats.parse_networks(NET_DEV) == {
        "eth0": {
            "rx_bytes": 4860, "rx_packets": 50, "rx_errors": 1, "rx_dropped": 2,
            "tx_bytes": 700, "tx_packets": 7, "tx_errors": 3, "tx_dropped": 4,
        }
    }  # fmt: skip
    assert stats.parse_networks("") == {}


def test_document() -> None:
    reading = Reading(
        version=1, cpu_total=30, cpu_user=20, cpu_system=10, per_cpu=(10, 20), memory_usage=5, memory_peak=9,
        memory_limit=100, memory={"cache": 1}, pids=2, pids_limit=50, bytes_moved=(BlockIO(8, 0, "Read", 512),),
    )  # fmt: skip
    document = stats.document(
        "id", "name", reading, {}, {"read": "before", "cpu_stats": {"x": 1}}, 1_500_000_000
    )
    assert document["read"] == "1970-01-01T00:00:01.500000000Z"
    assert (document["preread"], document["precpu_stats"]) == ("before", {"x": 1})
    assert document["cpu_stats"]["cpu_usage"] == {
        "total_usage": 30, "usage_in_kernelmode": 10, "usage_in_usermode": 20, "percpu_usage": [10, 20],
    }  # fmt: skip
    assert document["memory_stats"] == {"usage": 5, "max_usage": 9, "stats": {"cache": 1}, "limit": 100}
    assert document["pids_stats"] == {"current": 2, "limit": 50}
    assert document["blkio_stats"]["io_service_bytes_recursive"] == [
        {"major": 8, "minor": 0, "op": "Read", "value": 512}
    ]
    assert document["name"] == "/name"


def test_pressure_where_the_kernel_has_it() -> None:
    text = (
        "some avg10=12.50 avg60=1.00 avg300=0.10 total=4242\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
    )
    reading = Reading(version=2, pressure={"memory": parse_pressure(text)})
    document = stats.document("id", "name", reading, {}, {}, 5)
    assert document["memory_stats"]["psi"] == {
        "some": {"avg10": 12.5, "avg60": 1.0, "avg300": 0.1, "total": 4242},
        "full": {"avg10": 0.0, "avg60": 0.0, "avg300": 0.0, "total": 0},
    }
    assert "psi" not in document["cpu_stats"] and "psi" not in document["blkio_stats"]


def test_not_running() -> None:
    document = stats.document("id", "name", None, {}, {}, 5)
    assert document["read"] == document["preread"] == "0001-01-01T00:00:00Z"
    assert document["memory_stats"] == document["pids_stats"] == {}
    assert document["cpu_stats"]["cpu_usage"]["total_usage"] == 0
