"""What `image build` says that it has made."""

from __future__ import annotations

from typing import Any

import pytest

from composer.cli.management.image_build import made_lines


def _output(
    type: str, dest: str = "", *, is_directory: bool = False, is_image: bool = False
) -> dict[str, Any]:
    return {"Type": type, "Dest": dest, "IsDirectory": is_directory, "IsImage": is_image}


_IMAGE = _output("image", is_image=True)


@pytest.mark.parametrize(
    ("tags", "outputs", "expected"),
    [
        ([], [_IMAGE], ["image without a name  8355a84ec63a"]),
        (["a", "b"], [_IMAGE], ["a  8355a84ec63a", "b  8355a84ec63a"]),
        (
            ["a"],
            [_output("local", "/w/out", is_directory=True)],
            ["./out  a directory with the image's files"],
        ),
        ([], [_output("tar", "/v/x.tar")], ["/v/x.tar  a file with the image's files"]),
        ([], [_output("oci", "/tmp/streamed")], []),
        (
            ["a"],
            [_IMAGE, _output("oci", "/w/oci", is_directory=True)],
            ["a  8355a84ec63a", "./oci  a directory with an OCI image"],
        ),
        ([], [_output("cacheonly")], ["the build cache, as asked: no image, no files"]),
    ],
)
def test_what_was_made(tags: list[str], outputs: list[dict[str, Any]], expected: list[str]) -> None:
    data = {"Id": "sha256:8355a84ec63a6e50", "Outputs": outputs}
    assert list(made_lines(tags, data, "/tmp/streamed", "/w")) == expected
