"""How images are listed: a row for each name, and the tree of what each has for which platform."""

from __future__ import annotations

from typing import Any

import pytest

from composer.cli.management.image_list import image_rows, tree

ID = f"sha256:{'1' * 64}"
D1, D2 = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"


def image(tags: list[str], digests: list[str] | None = None, **fields: Any) -> dict[str, Any]:
    return {
        "Id": ID,
        "Created": 1_700_000_000,
        "Size": 1_985_472,
        "Containers": 0,
        "SharedSize": -1,
        "RepoTags": tags,
        "RepoDigests": digests,
        **fields,
    }


@pytest.mark.parametrize(
    ("tags", "digests", "plain", "with_digests"),
    [
        (["a:1", "a:2"], [f"a@{D1}"], ["a 1", "a 2"], [f"a 1 {D1}", f"a 2 {D1}"]),
        (["a:1"], [f"b@{D1}"], ["a 1", "b <none>"], ["a 1 <none>", f"b <none> {D1}"]),
        ([], [f"a@{D1}", f"a@{D2}"], ["a <none>"], [f"a <none> {D1}", f"a <none> {D2}"]),
        ([], [], ["<none> <none>"], ["<none> <none> <none>"]),
        (["h:5000/a:1"], None, ["h:5000/a 1"], ["h:5000/a 1 <none>"]),
    ],
)
def test_a_row_for_each_name(
    tags: list[str], digests: list[str] | None, plain: list[str], with_digests: list[str]
) -> None:
    one = image(tags, digests)
    assert [f"{row['Repository']} {row['Tag']}" for row in image_rows(one, 0, full=False)] == plain
    rows = image_rows(one, 0, full=False, digests=True)
    assert [f"{row['Repository']} {row['Tag']} {row['Digest']}" for row in rows] == with_digests


def test_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    (row,) = image_rows(image(["a:1"]), 1_700_000_000 + 7200, full=False)
    assert row["CreatedAt"] == "2023-11-14 22:13:20 +0000 UTC"
    assert (row["CreatedSince"], row["ID"], row["Digest"]) == ("2 hours ago", "1" * 12, "<none>")
    assert (row["Size"], row["VirtualSize"]) == ("1.99MB", "1.985MB")
    assert (row["SharedSize"], row["UniqueSize"]) == ("N/A", "N/A")
    (row,) = image_rows(image(["a:1"], SharedSize=1_000_000, Created=0), 0, full=True)
    assert (row["SharedSize"], row["UniqueSize"], row["CreatedSince"]) == ("1MB", "985.5kB", "N/A")
    assert row["ID"] == ID


def test_tree() -> None:
    manifest = {
        "ID": D1,
        "Size": {"Content": 900_000, "Total": 2_885_472},
        "ImageData": {
            "Platform": {"os": "linux", "architecture": "arm64", "variant": ""},
            "Containers": ["c"],
        },
    }
    images = [image(["a:2", "a:1"], Manifests=[manifest], Containers=1), image([])]
    assert tree(images, everything=False) == [
        "IMAGE            ID             DISK USAGE   CONTENT SIZE   EXTRA",
        "a:1",
        "a:2              111111111111       2.89MB          900kB   U",
        "└─ linux/arm64   aaaaaaaaaaaa       2.89MB          900kB   U",
    ]
    assert tree(images, everything=True)[-1].startswith("<untagged>       111111111111 ")
