"""The sums of ``system df``."""

from __future__ import annotations

from composer.cli.system_df import summary


def test_sums() -> None:
    usage = {
        "LayersSize": 1000,
        "ImagesReclaimable": 250,
        "Images": [{"Containers": 1}, {"Containers": 0}, {}],
        "Containers": [{"State": "running", "SizeRw": 5}, {"State": "exited", "SizeRw": 15}],
        "Volumes": [
            {"UsageData": {"RefCount": 0, "Size": 30}},
            {"UsageData": {"RefCount": 2, "Size": 70}},
            {"UsageData": {"RefCount": 0, "Size": -1}},
        ],
    }
    assert [tuple(row.values()) for row in summary(usage)] == [
        ("Images", "3", "1", "1kB", "250B (25%)"),
        ("Containers", "2", "1", "20B", "15B (75%)"),
        ("Local Volumes", "3", "1", "100B", "30B (30%)"),
        ("Build Cache", "0", "0", "0B", "0B"),
    ]


def test_nothing() -> None:
    rows = summary({"Images": None, "Containers": None, "Volumes": None})
    assert {(row["Size"], row["Reclaimable"]) for row in rows} == {("0B", "0B")}
