"""Which shell somebody gets who looks at a step that has failed."""

from __future__ import annotations

from pathlib import Path

from composer.engine.builds.showing import find_shell


def _program(layer: Path, name: str, mode: int = 0o755) -> None:
    path = layer / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    path.chmod(mode)


def test_the_shell_is_what_the_layers_have(tmp_path: Path) -> None:
    upper, lower = tmp_path / "upper", tmp_path / "lower"
    lower.mkdir()
    assert find_shell((upper, lower), (), ()) == ()  # a step that was not started has no changes
    _program(lower, "usr/bin/dash")
    (lower / "usr/bin/sh").symlink_to("dash")
    (lower / "bin").symlink_to("usr/bin")
    assert find_shell((upper, lower), (), ()) == ("/bin/sh",)
    bash = ("bash", "-eo", "pipefail", "-c")
    assert find_shell((upper, lower), bash, ()) == ("/bin/sh",)
    _program(upper, "opt/bash", 0o644)
    assert find_shell((upper, lower), bash, ("PATH=/bin:/opt",)) == ("/bin/sh",)
    (upper / "opt/bash").chmod(0o755)
    assert find_shell((upper, lower), bash, ("PATH=/bin:/opt",)) == ("bash",)
    assert find_shell((upper, lower), bash, ()) == ("/bin/sh",)
    (lower / "usr/bin/dash").unlink()
    assert find_shell((upper, lower), (), ()) == ()
