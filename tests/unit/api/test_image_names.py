"""Which of an image's names are shown, and which digest a pull tells."""

from __future__ import annotations

import pytest

from composer.api.reference_patterns import matches_reference, with_names
from runtime.container.config import ImageConfig
from runtime.errors import InvalidArgument
from runtime.image.model import Image

ONE, TWO = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"


@pytest.mark.parametrize(
    ("name", "pattern", "is_match"),
    [
        ("busybox:latest", "busybox", True),
        ("busybox:latest", "busy*:l*", True),
        ("busybox:latest", "busybox:1", False),
        ("localhost:5000/a/b:1", "localhost*", False),
        ("localhost:5000/a/b:1", "*/a/b", True),
        ("localhost:5000/a/b:1", "*/*/*:1", True),
        ("localhost:5000/a/b:1", "a/b", False),
        (f"app@{ONE}", "app", True),
        ("app1:x", "app[^2]:x", True),
        ("app2:x", "app[^2]:x", False),
        ("app2:x", "app[0-3]:[x]", True),
        ("app2:x", "app[3-0]:x", False),
        ("app2:x", "app?:\\x", True),
    ],
)
def test_reference_filters(name: str, pattern: str, is_match: bool) -> None:
    assert matches_reference(name, pattern) is is_match


@pytest.mark.parametrize("pattern", ["[", "a[", "a[]", "a[^]", "a[b", "a[b-", "a[b-]", "a[-b]", "a\\", "[\\"])
def test_patterns_that_are_none(pattern: str) -> None:
    with pytest.raises(InvalidArgument, match="syntax error in pattern"):
        matches_reference("app:1", pattern)


def test_names_that_do_not_match_are_not_shown() -> None:
    image = Image(
        ONE, ImageConfig(), (), tags=("app:1", "app:2", "web:1"), digests=(f"app@{ONE}", f"web@{TWO}")
    )
    shown = with_names(image, ["app:1", "web"])
    assert shown.tags == ("app:1", "web:1")
    assert shown.digests == (f"web@{TWO}",)
