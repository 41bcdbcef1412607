"""Devices by name, from a specification of this machine to what the container sees."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Project
from tests.e2e.engine import Composer


@pytest.fixture
def kind(tmp_path: Path) -> Iterator[str]:
    """A kind of devices that only this test has, described where programs describe them."""
    name = f"composer-test-{uuid.uuid4().hex[:8]}.example/thing"
    directory = Path("/var/run/cdi")
    was_there = directory.is_dir()
    directory.mkdir(exist_ok=True)
    path = directory / f"{name.replace('/', '-')}.json"
    (tmp_path / "library").write_text("of the device\n")
    edits = {
        "env": ["THING=1"],
        "deviceNodes": [{"path": "/dev/thing0", "hostPath": "/dev/full", "permissions": "rw", "fileMode": 0o640}],
        "mounts": [{"hostPath": str(tmp_path / "library"), "containerPath": "/opt/library", "options": ["ro", "bind"]}],
        "additionalGids": [4711],
    }  # fmt: skip
    document = {"cdiVersion": "0.7.0", "kind": name, "devices": [{"name": "zero", "containerEdits": edits}]}
    path.write_text(json.dumps(document))
    yield name
    path.unlink()
    if not was_there:
        with contextlib.suppress(OSError):  # somebody else has put something there meanwhile
            directory.rmdir()


SCRIPT = "cat /opt/library; stat -c '%F %a %t:%T' /dev/thing0; echo $$THING; id -G; echo x > /opt/library"


def test_a_device_of_a_specification(composer: Composer, project: Project, kind: str) -> None:
    project.write(
        f"""
        services:
          one:
            image: composer.local/host
            command: [sh, -c, "{SCRIPT}"]
            devices: ["{kind}=zero"]
        """
    )
    done = composer.run("run", "--rm", "one", cwd=project.directory, status=None)
    seen = done.stdout.splitlines()
    assert seen[:3] == ["of the device", "character special file 640 1:7", "1"]
    assert "4711" in seen[3].split()
    assert "Read-only file system" in done.stderr
    options = ("--rm", "--network", "none", "--device", f"{kind}=zero", "composer.local/host")
    assert composer.run("container", "run", *options, "printenv", "THING").stdout == "1\n"
    done = composer.run("container", "create", "--device", f"{kind}=zer", "composer.local/host", status=1)
    assert done.stderr.splitlines() == [f"unresolvable CDI device {kind}=zer", f"  did you mean {kind}=zero?"]


def test_gpus_that_are_not_there(composer: Composer, project: Project) -> None:
    project.write("services:\n  one:\n    image: composer.local/host\n    gpus: all\n")
    done = composer.run("up", "-d", cwd=project.directory, status=1)
    assert 'could not select device driver "" with capabilities: [gpu]' in done.stderr
    assert composer.run("container", "run", "--gpus", "x", "composer.local/host", status=125).stderr


def test_a_step_of_a_build_has_devices_that_it_is_allowed(
    composer: Composer, base: str, kind: str, tmp_path: Path
) -> None:
    step = "cat /opt/library > /seen && stat -c '%F %a' /dev/thing0 >> /seen && echo $THING >> /seen"
    file = tmp_path / "Dockerfile"
    file.write_text(
        f"FROM {base}\nRUN --device={kind}=zero {step}\nFROM scratch\nCOPY --from=0 /seen /opt* /out/\n"
    )
    build = ("image", "build", "--network", "none", "--output", str(tmp_path / "result"), str(tmp_path))
    refused = composer.run(*build, status=1)
    assert f"Dockerfile:2:5: the device {kind}=zero is not allowed" in refused.stderr
    composer.run(*build, "--allow", f"device={kind}=zero")
    assert (tmp_path / "result/out/seen").read_text() == "of the device\ncharacter special file 640\n1\n"
    assert not (tmp_path / "result/out/library").exists()  # what is mounted leaves nothing
    file.write_text(f"FROM {base}\nRUN --device={kind}=other,required true\n")
    assert "is not there" in composer.run(*build, "--allow", "device", status=1).stderr
    file.write_text(f"FROM {base}\nRUN --device={kind}=other true\n")
    composer.run("image", "build", "--network", "none", str(tmp_path))
