"""The sums of ``system df``."""

from __future__ import annotations

from composer.cli.management.system_df import summary
from composer.cli.management.system_df_verbose import verbose_rows


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
        "BuildCache": [
            {"Shared": True, "InUse": False, "Size": 800},
            {"Shared": False, "InUse": False, "Size": 40},
            {"Shared": False, "InUse": True, "Size": 60},
        ],
    }
    assert [tuple(row.values()) for row in summary(usage)] == [
        ("Images", "3", "1", "1kB", "250B (25%)"),
        ("Containers", "2", "1", "20B", "15B (75%)"),
        ("Local Volumes", "3", "1", "100B", "30B (30%)"),
        ("Build Cache", "3", "1", "100B", "40B (40%)"),
    ]


def test_verbose_rows() -> None:
    """One for each image, whatever it is called; with exact sizes of what it shares."""
    usage = {
        "Images": [{"Id": "sha256:12", "Created": 1, "Size": 5, "SharedSize": 2, "RepoTags": ["a:1", "b:1"]}],
        "Containers": None,
        "Volumes": [
            {
                "Name": "v",
                "Driver": "local",
                "Labels": None,
                "Mountpoint": "/v",
                "Scope": "local",
                "UsageData": {"RefCount": 1, "Size": 4096},
            }
        ],
        "BuildCache": [
            {
                "ID": "1234567890abcdef",
                "Type": "regular",
                "Description": "RUN",
                "InUse": False,
                "Shared": True,
                "Size": 7,
                "CreatedAt": "1970-01-01T00:00:01Z",
                "LastUsedAt": "1970-01-01T00:00:02Z",
                "UsageCount": 3,
            }
        ],
    }
    rows = verbose_rows(usage, 61, full=False)
    (image,), (volume,), (entry,) = rows["Images"], rows["Volumes"], rows["BuildCache"]
    assert (image["Repository"], image["SharedSize"], image["UniqueSize"]) == ("a", "2B", "3B")
    assert (volume["Links"], volume["Size"]) == ("1", "4.096kB")
    assert (entry["ID"], entry["CreatedSince"], entry["Shared"]) == (
        "1234567890ab",
        "About a minute ago",
        "true",
    )


def test_nothing() -> None:
    rows = summary({"Images": None, "Containers": None, "Volumes": None})
    assert {(row["Size"], row["Reclaimable"]) for row in rows} == {("0B", "0B")}
