"""Images made of containers, and files put into one that has not run yet."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.engine import Composer
from tests.integration.image.conftest import layer


def test_an_image_of_a_container(composer: Composer, tmp_path: Path) -> None:
    (tmp_path / "root.tar").write_bytes(layer(1, 1000))
    (tmp_path / "new").write_text("new")
    composer.run("image", "import", "-c", "ENV A=1", str(tmp_path / "root.tar"), "base:1")
    composer.run("container", "create", "--name", "one", "-e", "B=2", "base:1", "/nothing")
    composer.run("container", "cp", "-q", str(tmp_path / "new"), "one:/new")
    assert composer.run("container", "diff", "one").stdout.splitlines() == ["A /new"]
    done = composer.run("container", "commit", "-m", "why", "-a", "ann", "-c", "USER 5", "one", "made:1")
    (image,) = json.loads(composer.run("image", "inspect", "made:1").stdout)
    assert image["Id"] == done.stdout.strip()
    assert image["Config"]["Env"] == ["A=1", "B=2"]
    assert (image["Config"]["User"], image["Comment"], image["Author"]) == ("5", "why", "ann")
    assert len(image["RootFS"]["Layers"]) == 2
    composer.run("container", "create", "--name", "two", "made:1")
    composer.run("container", "cp", "-q", "two:/new", str(tmp_path / "again"))
    assert (tmp_path / "again").read_text() == "new"
    composer.run("container", "rm", "one", "two")


def test_what_cannot_be_committed(composer: Composer) -> None:
    composer.run("container", "create", "--name", "one", "composer.local/host", "true")
    done = composer.run("container", "commit", "one", "x:1", status=1)
    assert "composer.local/host is this machine itself" in done.stderr
    done = composer.run("container", "commit", "missing", status=1)
    assert "No such container: missing" in done.stderr
    composer.run("container", "rm", "one")
