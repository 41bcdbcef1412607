"""Images from the command line: what is interrupted, who one is, and what other programs take."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import random
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Project
from tests.e2e.engine import Composer, wait_for
from tests.faulty_registry import Fault, FaultyRegistry, digest_of
from tests.integration.image.conftest import layer
from tests.registry import registry


@pytest.fixture
def faulty() -> Iterator[FaultyRegistry]:
    with FaultyRegistry().serving() as made:
        yield made


def test_an_interrupted_pull_ends_at_once_and_goes_on_later(
    composer: Composer, faulty: FaultyRegistry
) -> None:
    big = layer(1, 4 << 20)
    faulty.add_image("app", "1", [big])
    faulty.faults.append(Fault(digest_of(big), "GET", stall_after=1 << 20))
    process = composer.start("image", "pull", f"{faulty.address}/app:1")
    part = composer.paths.images / "ingest" / digest_of(big).replace(":", "-")
    wait_for(lambda: part.exists() and part.stat().st_size > 500_000, "half of the layer")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)  # the rest would never come
    assert process.returncode == 130
    faulty.seen.clear()
    composer.run("image", "pull", f"{faulty.address}/app:1")
    (again,) = (request for request in faulty.seen if digest_of(big) in request.path)
    assert int(again.headers["Range"].removeprefix("bytes=").removesuffix("-")) > 500_000


def test_what_a_projects_pull_brings(composer: Composer, faulty: FaultyRegistry, project: Project) -> None:
    """An image that could be built is pulled where a registry has it; what is not pulled is told, with the reason."""
    for name in ("app", "here"):
        faulty.add_image(name, "1", [layer(1)])
    at = faulty.address
    composer.run("image", "pull", f"{at}/here:1")
    directory = project.write(f"""
services:
  both: {{image: '{at}/app:1', build: .}}
  built: {{build: .}}
  never: {{image: '{at}/other:1', pull_policy: never}}
  here: {{image: '{at}/here:1', pull_policy: missing}}
""")
    done = composer.run("pull", cwd=directory)
    assert f"Image {at}/app:1  Pulled" in done.stderr
    skipped = [line.split("  ", 1)[1] for line in done.stderr.splitlines() if "Skipped" in line]
    assert sorted(skipped) == [
        "Skipped  it is here",
        "Skipped  its pull policy is never",
        "Skipped  no image to be pulled",
    ]
    assert "it can be built" in composer.run("pull", "--ignore-buildable", "both", cwd=directory).stderr
    project.write(f"services: {{both: {{image: '{at}/gone:1', build: .}}}}")
    assert "composer build both" in composer.run("pull", cwd=directory, status=1).stderr
    composer.run("pull", "--ignore-pull-failures", cwd=directory)


def test_being_somebody(composer: Composer, faulty: FaultyRegistry, project: Project) -> None:
    """The credentials are those of whoever gives the command, not of the engine."""
    faulty.accounts, faulty.uses_tokens = {"ann": "secret"}, True
    faulty.add_image("app", "1", [layer(1)])
    name = f"{faulty.address}/app:1"
    composer.run("image", "ls")
    env = {"DOCKER_CONFIG": str(project.directory / "docker")}
    project.write(f"services: {{web: {{image: '{name}', command: sleep}}}}")
    assert "access denied" in composer.run("image", "pull", name, status=1, env=env).stderr
    login = ("login", "-u", "ann", "--password-stdin", faulty.address)
    assert "incorrect" in composer.run(*login, status=1, env=env, stdin="wrong").stderr
    assert composer.run(*login, env=env, stdin="secret\n").stdout == "Login Succeeded\n"
    composer.run("create", cwd=project.directory, env=env)
    composer.run("down", cwd=project.directory)
    composer.run("image", "rm", name)
    composer.run("image", "pull", name, env=env)
    composer.run("image", "tag", name, f"{faulty.address}/other:2")
    composer.run("image", "push", f"{faulty.address}/other:2", env=env)
    assert ("other", "2") in faulty.manifests
    composer.run("logout", faulty.address, env=env)
    assert json.loads((project.directory / "docker/config.json").read_text())["auths"] == {}


def test_other_programs_take_what_leaves(composer: Composer, tmp_path: Path) -> None:
    """skopeo checks every digest of what it copies."""
    (tmp_path / "root.tar").write_bytes(layer(1, 300_000))
    composer.run("image", "import", str(tmp_path / "root.tar"), "app:1")
    composer.run("image", "save", "-o", str(tmp_path / "saved.tar"), "app:1")

    def skopeo(*words: str) -> None:
        done = subprocess.run(
            ["skopeo", *words], capture_output=True, text=True, stdin=subprocess.DEVNULL, env=os.environ
        )
        assert done.returncode == 0, done.stderr

    with registry(tmp_path / "registry") as address:
        composer.run("image", "tag", "app:1", f"{address}/app:1")
        composer.run("image", "push", f"{address}/app:1")
        skopeo("copy", "--src-tls-verify=false", f"docker://{address}/app:1", f"dir:{tmp_path}/pushed")
        skopeo("copy", f"docker-archive:{tmp_path}/saved.tar:app:1", f"dir:{tmp_path}/archive")
        skopeo("copy", f"oci-archive:{tmp_path}/saved.tar:1", f"oci:{tmp_path}/layout:app")
        skopeo(
            *("copy", "--dest-tls-verify=false", f"oci:{tmp_path}/layout:app"),
            f"docker://{address}/back:1",
        )
        image = composer.run("image", "inspect", "-f", "{{.Id}}", "app:1").stdout
        layout = tmp_path / "directory"
        layout.mkdir()
        composer.run("image", "save", "-o", str(layout), "app:1")
        skopeo("copy", f"oci:{layout}:1", f"dir:{tmp_path}/again")
        assert composer.run("image", "load", "-i", str(layout)).stdout == "Loaded image: app:1\n"
        assert composer.run("image", "save", "-o", str(tmp_path), "app:1", status=1).stderr.startswith(
            str(tmp_path)
        )
        composer.run("image", "pull", f"{address}/back:1")
        assert composer.run("image", "inspect", "-f", "{{.Id}}", f"{address}/back:1").stdout == image
    assert composer.run("system", "fsck").stdout == "No problems found.\n"


def test_loading_tells_what_it_does(composer: Composer, tmp_path: Path) -> None:
    """Each layer, unless it is to be quiet; and what is no archive is refused in one sentence before it is sent."""
    root, saved = tmp_path / "root.tar", tmp_path / "saved.tar"
    with tarfile.open(root, "w") as tar:
        tar.add(__file__, "file")
    composer.run("image", "import", str(root), "app:1")
    composer.run("image", "save", "-o", str(saved), "app:1")
    for options, says in (((), "Loading layer"), (("-q",), "")):
        composer.run("image", "rm", "app:1")
        loaded = composer.run("image", "load", *options, "-i", str(saved))
        assert loaded.stdout == "Loaded image: app:1\n"
        assert (says in loaded.stderr) if says else not loaded.stderr
    refused = composer.run("image", "load", "-i", str(tmp_path), status=1)
    assert refused.stderr.startswith(f"{tmp_path}: neither an OCI layout nor an unpacked docker-archive")
    for text, why in ((b"", "there is nothing in it"), (b"garbage", "it is no tar")):
        saved.write_bytes(text)
        refused = composer.run("image", "load", "-i", str(saved), status=1)
        assert refused.stderr == f"the archive cannot be read: {why}\n"


@pytest.mark.parametrize("moment", ["downloading", "unpacking"])
def test_a_pull_survives_the_engine(composer: Composer, faulty: FaultyRegistry, moment: str) -> None:
    """The next one goes on where the one that was killed had come to, and nothing is left behind."""
    lowest, small, big = layer(3, 1000), layer(1, 30_000), layer(2, 48 << 20)
    faulty.add_image("app", "1", [lowest, small, big])
    layers, ingest = composer.paths.images / "layers", composer.paths.images / "ingest"
    if moment == "downloading":
        faulty.faults.append(Fault(digest_of(big), "GET", stall_after=8 << 20))
    else:  # what is unpacked waits for the layer below, so that the moment cannot be missed
        faulty.faults.append(Fault(digest_of(lowest), "GET", times=2, stall_after=0))
    process = composer.start("image", "pull", f"{faulty.address}/app:1")

    def has_come() -> bool:
        with contextlib.suppress(FileNotFoundError):  # what is whole goes to another place
            if moment == "downloading":
                return any(part.stat().st_size > 5 << 20 for part in ingest.glob("sha256-*"))
            return any(path.stat().st_size for path in layers.glob(".tmp-*/diff/file2"))
        return False

    wait_for(has_come, moment)
    faulty.seen.clear()
    faulty.faults.clear()
    composer.kill("composer-core")
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert faulty.count("GET", digest_of(small)) == 0
    again = [request.headers.get("Range", "") for request in faulty.seen if digest_of(big) in request.path]
    assert again == [] if moment == "unpacking" else again[0].startswith("bytes=")
    assert composer.run("system", "fsck").stdout == "No problems found.\n"
    wait_for(lambda: not list(layers.glob(".tmp-*")), "what was interrupted to be removed")
    wait_for(lambda: not list(ingest.iterdir()), "what came to be taken over")


def test_what_a_registry_has(composer: Composer, faulty: FaultyRegistry) -> None:
    digest = faulty.add_image("app", "1", [layer(1)])
    name = f"{faulty.address}/app:1"
    kind, data = faulty.manifests["app", "1"]
    assert json.loads(composer.run("manifest", "inspect", name).stdout) == json.loads(data)
    verbose = json.loads(composer.run("manifest", "inspect", "-v", name).stdout)
    described = {"mediaType": kind, "digest": digest, "size": len(data)}
    assert verbose["Descriptor"] == described | {"platform": {"architecture": "amd64", "os": "linux"}}
    assert "no such manifest" in composer.run("manifest", "inspect", f"{name}0", status=1).stderr


def test_push_sends_what_services_are_built_to(
    composer: Composer, faulty: FaultyRegistry, project: Project
) -> None:
    project.write(
        f"services: {{web: {{image: '{faulty.address}/app:1', build: .}}, db: {{image: postgres}}}}",
        Dockerfile="FROM scratch\nCOPY compose.yaml /\n",
    )
    composer.run("build", cwd=project.directory)
    composer.run("push", "--quiet", cwd=project.directory)
    assert list(dict.fromkeys(name for name, _ in faulty.manifests)) == ["app"]


def test_what_is_said_of_the_whole_goes_to_stdout(composer: Composer, faulty: FaultyRegistry) -> None:
    """As scripts expect of Docker's command; the steps go to stderr."""
    digest = faulty.add_image("app", "latest", [layer(1)])
    faulty.add_image("app", "2", [layer(2)])
    name = f"{faulty.address}/app"
    done = composer.run("image", "pull", name)
    assert done.stdout.splitlines() == [
        "Using default tag: latest",
        "latest: Pulling from app",
        f"Digest: {digest}",
        f"Status: Downloaded newer image for {name}:latest",
        f"{name}:latest",
    ]
    assert "Pull complete" in done.stderr
    assert f"Status: Image is up to date for {name}:latest\n" in composer.run("image", "pull", name).stdout
    assert composer.run("image", "pull", "-q", name).stdout == f"{name}:latest\n"
    done = composer.run("image", "pull", "--all-tags", name)
    assert done.stdout.endswith(f"\n{name}\n") and f"newer image for {name}:2\n" in done.stdout
    composer.run("image", "tag", name, f"{name}:3")
    done = composer.run("image", "push", f"{name}:3")
    assert done.stdout.splitlines()[0] == f"The push refers to repository [{name}]"
    assert done.stdout.splitlines()[-1].startswith(f"3: digest: {digest} size: ")
    assert composer.run("image", "push", "-q", name).stdout == f"{name}:latest\n"
    done = composer.run("image", "pull", f"{name}:none", status=1)
    assert done.stdout == "" and done.stderr.startswith(f"manifest for {name}:none not found")


def test_an_import_of_an_url(composer: Composer, faulty: FaultyRegistry) -> None:
    digest = faulty.add_blob("files", gzip.compress(layer(1)))
    url = f"http://{faulty.address}/v2/files/blobs/{digest}"
    done = composer.run("image", "import", "-c", "CMD x", "-c", "ONBUILD RUN y", url, "app:1")
    assert done.stdout.splitlines()[0] == f"Downloading from {url}"
    (found,) = json.loads(composer.run("image", "inspect", "app:1").stdout)
    assert done.stdout.splitlines()[-1] == found["Id"]
    assert found["Comment"] == f"Imported from {url}"
    assert found["Config"]["Cmd"] == ["/bin/sh", "-c", "x"] and found["Config"]["OnBuild"] == ["RUN y"]
    failed = composer.run("image", "import", f"{url}0", status=1)
    assert failed.stderr == f"invalid response status 404 for {url}0\n" and not failed.stdout


def test_df_counts_each_byte_once(composer: Composer, project: Project) -> None:
    """What images and the build cache share, what only one of them has, and what only the cache has: together all
    that is on the disk."""
    lines = ["FROM scratch", "COPY one /", "COPY two /", "COPY one /again"]
    project.directory.mkdir(exist_ok=True)
    for name, seed in (("one", 1), ("two", 2), ("three", 3)):
        (project.directory / name).write_bytes(random.Random(seed).randbytes(50_000 * seed))
    project.write("services: {}", Dockerfile="\n".join(lines))
    composer.run("image", "build", "-q", "-t", "first", ".", cwd=project.directory)
    project.write("services: {}", Dockerfile="\n".join([*lines[:2], "COPY three /"]))
    composer.run("image", "build", "-q", "-t", "second", ".", cwd=project.directory)
    composer.run("image", "rm", "first")
    (project.directory / "root.tar").write_bytes(layer(4, 30_000))
    composer.run("image", "import", "root.tar", "third", cwd=project.directory)
    usage = composer.api("GET", "/system/df")
    cached = sum(entry["Size"] for entry in usage["BuildCache"] if not entry["Shared"])
    sizes = {image["RepoTags"][0]: image["SharedSize"] for image in usage["Images"]}
    assert sizes == {"second:latest": 0, "third:latest": 0, "composer.local/host:latest": 0}
    root = composer.paths.images
    files = [*root.glob("layers/*/diff/**/*"), *root.glob("blobs/sha256/*")]
    on_disk = sum(path.lstat().st_size for path in files if path.is_file())
    assert cached > 100_000 and usage["LayersSize"] > 200_000
    assert usage["LayersSize"] + cached == on_disk
