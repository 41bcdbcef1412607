"""What a container needs of the host is looked for before it is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from composer.engine.operations import check_sources
from runtime.container.config import ContainerConfig, FileContent, Mount
from runtime.errors import InvalidArgument


def test_what_is_missing_is_named_with_its_place(tmp_path: Path) -> None:
    missing = str(tmp_path / "token.txt")
    of_secret = ContainerConfig(image="i", files=(FileContent(target="/run/secrets/token", source=missing),))
    of_bind = ContainerConfig(image="i", mounts=(Mount(type="bind", source=missing, target="/x"),))
    for config, target in ((of_secret, "/run/secrets/token"), (of_bind, "/x")):
        with pytest.raises(InvalidArgument, match=f"bind source path does not exist: {missing}") as caught:
            check_sources(config)
        assert target in caught.value.hint
    Path(missing).touch()
    check_sources(of_secret)
    check_sources(of_bind)


def test_what_is_made_or_inline_may_be_missing(tmp_path: Path) -> None:
    made = Mount(type="bind", source=str(tmp_path / "new"), target="/x", create_host_path=True)
    check_sources(
        ContainerConfig(image="i", mounts=(made,), files=(FileContent(target="/c", content=b"inline"),))
    )
