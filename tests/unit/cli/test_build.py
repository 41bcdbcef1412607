"""``build``: arguments given on the command line."""

from __future__ import annotations

import pytest

from composer.cli.arguments import UsageError
from composer.cli.project.build import build_arguments


def test_a_name_alone_takes_its_value_from_the_environment() -> None:
    assert build_arguments(["A=1", "B=", "C", "D"], {"C": "there"}) == {"A": "1", "B": "", "C": "there"}


def test_what_has_no_name_is_refused() -> None:
    with pytest.raises(UsageError):
        build_arguments(["=x"], {})
