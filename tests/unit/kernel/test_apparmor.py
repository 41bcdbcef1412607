"""Which attribute is written, and what is said when it cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.kernel import apparmor


def attribute(directory: Path, name: str) -> Path:
    path = directory / "self/attr" / name
    path.parent.mkdir(parents=True)
    path.touch()
    return path


@pytest.mark.parametrize("name", ["apparmor/exec", "exec"])
def test_it_is_written_where_this_kernel_has_it(tmp_path: Path, name: str) -> None:
    path = attribute(tmp_path, name)
    apparmor.execute_under("docker-default", str(tmp_path))
    assert path.read_text() == "exec docker-default"


def test_the_own_attribute_comes_first(tmp_path: Path) -> None:
    """The other one belongs to whichever security module is the first."""
    own = attribute(tmp_path, "apparmor/exec")
    (tmp_path / "self/attr/exec").touch()
    apparmor.execute_under("mine", str(tmp_path))
    assert own.read_text() == "exec mine"
    assert (tmp_path / "self/attr/exec").read_text() == ""


def test_without_apparmor(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="apparmor is not in this kernel"):
        apparmor.execute_under("mine", str(tmp_path))


def test_loaded_profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "profiles"
    path.write_text("docker-default (enforce)\nname with (brackets) (complain)\n")
    monkeypatch.setattr(apparmor, "PROFILES", str(path))
    assert apparmor.is_loaded("docker-default")
    assert apparmor.is_loaded("name with (brackets)")
    assert not apparmor.is_loaded("docker")
    monkeypatch.setattr(apparmor, "PROFILES", str(tmp_path / "missing"))
    assert not apparmor.is_loaded("docker-default")
