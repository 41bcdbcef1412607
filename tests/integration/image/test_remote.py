"""Lists of manifests, copies between registries and what is attached to images, by the commands themselves."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from composer.cli.main import main
from tests.faulty_registry import INDEX, MANIFEST, Fault, FaultyRegistry, digest_of
from tests.integration.image.conftest import layer

ARTIFACT = "application/vnd.example.signature"


@pytest.fixture(autouse=True)
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("COMPOSER_CONFIG", str(tmp_path / "engine.json"))
    monkeypatch.setattr("runtime.image.registry.connection.FIRST_PAUSE", 0.001)


@pytest.fixture
def other() -> Iterator[FaultyRegistry]:
    with FaultyRegistry().serving() as registry:
        yield registry


def sign(registry: FaultyRegistry, repository: str, subject: str, number: int = 0) -> str:
    """Attach an artifact; its digest."""
    _, data = registry.manifests[repository, subject]
    content = f"signature {number}".encode()
    blob = {"mediaType": "text/plain", "digest": registry.add_blob(repository, content), "size": len(content)}
    empty = {
        "mediaType": "application/vnd.oci.empty.v1+json",
        "digest": registry.add_blob(repository, b"{}"),
        "size": 2,
    }
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": ARTIFACT,
        "config": empty,
        "layers": [blob],
        "subject": {"mediaType": MANIFEST, "digest": subject, "size": len(data)},
        "annotations": {"number": str(number)},
    }
    return registry.add_manifest(repository, digest_of(json.dumps(document).encode()), document)


def entry(registry: FaultyRegistry, repository: str, digest: str, architecture: str) -> dict[str, Any]:
    kind, data = registry.manifests[repository, digest]
    platform = {"os": "linux", "architecture": architecture}
    return {"mediaType": kind, "digest": digest, "size": len(data), "platform": platform}


def index(registry: FaultyRegistry, repository: str, tag: str) -> str:
    """An image for two machines with an attestation; its digest."""
    entries = []
    for number, architecture in enumerate(("amd64", "arm64")):
        digest = registry.add_image(
            repository, f"only-{architecture}", [layer(number)], architecture=architecture
        )
        entries.append(entry(registry, repository, digest, architecture))
    attestation = sign(registry, repository, entries[0]["digest"], 9)
    described = entry(registry, repository, attestation, "unknown")
    described["platform"]["os"] = "unknown"
    described["annotations"] = {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": entries[0]["digest"],
    }
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [*entries, described]}
    return registry.add_manifest(repository, tag, document)


def test_a_list_is_put_together(faulty: FaultyRegistry, capsys: pytest.CaptureFixture[str]) -> None:
    here = faulty.address
    amd = faulty.add_image("amd", "1", [layer(1)])
    arm = faulty.add_image("arm", "1", [layer(2)])
    assert main(["manifest", "create", f"{here}/app:1", f"{here}/amd:1"]) == 0
    assert main(["manifest", "create", f"{here}/app:1", f"{here}/arm:1"]) == 1
    assert "no --amend" in capsys.readouterr().err
    assert main(["manifest", "create", "-a", f"{here}/app:1", f"{here}/arm:1"]) == 0
    assert main(["manifest", "annotate", "--arch", "arm64", f"{here}/app:1", f"{here}/arm:1"]) == 0
    assert main(["manifest", "annotate", "--arch", "x", f"{here}/app:1", f"{here}/arm:1"]) == 1
    capsys.readouterr()
    assert main(["manifest", "push", "--purge", f"{here}/app:1"]) == 0
    said = capsys.readouterr().out.splitlines()
    kind, data = faulty.manifests["app", "1"]
    document = json.loads(data)
    assert said[-1] == digest_of(data)
    assert kind == document["mediaType"] == INDEX
    assert [item["digest"] for item in document["manifests"]] == [amd, arm]
    assert [item["platform"]["architecture"] for item in document["manifests"]] == ["amd64", "arm64"]
    assert ("app", amd) in faulty.manifests, "what a list names is in its repository"
    assert faulty.count("POST", "mount=") and not faulty.count("PATCH"), "nothing is sent that is there"
    assert main(["manifest", "rm", f"{here}/app:1"]) == 1


def test_a_list_is_shown_here_and_from_the_registry(
    faulty: FaultyRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    root = index(faulty, "app", "1")
    name = f"{faulty.address}/app:1"
    assert main(["manifest", "inspect", name]) == 0
    assert len(json.loads(capsys.readouterr().out)["manifests"]) == 3
    assert main(["manifest", "inspect", "-v", name]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [item["Descriptor"]["size"] > 0 and "OCIManifest" in item for item in found] == [True] * 3
    assert main(["imagetools", "inspect", "--raw", name]) == 0
    assert digest_of(capsys.readouterr().out.encode()) == root
    assert main(["imagetools", "inspect", "--format", "{{.Manifest.Digest}} {{json .Image}}", name]) == 0
    digest, _, images = capsys.readouterr().out.partition(" ")
    assert digest == root
    assert set(json.loads(images)) == {"linux/amd64", "linux/arm64"}
    assert main(["manifest", "inspect", f"{faulty.address}/app:nope"]) == 1
    assert "no such manifest" in capsys.readouterr().err


def test_an_index_is_copied_to_another_registry(
    faulty: FaultyRegistry, other: FaultyRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    big = random.Random(1).randbytes(3 << 20)
    root = index(faulty, "app", "1")
    faulty.add_image("app", "big", [big])
    faulty.faults.append(Fault(path=digest_of(big), drop_after=1 << 20))
    other.faults.append(Fault(method="PATCH", read_only=1 << 20))
    words = ["imagetools", "create", "-t", f"{other.address}/copy:a", "-t", f"{other.address}/copy:b"]
    assert main([*words, f"{faulty.address}/app:1"]) == 0
    assert other.manifests["copy", "a"] == other.manifests["copy", "b"] == faulty.manifests["app", "1"]
    assert digest_of(other.manifests["copy", "a"][1]) == root
    assert main(["imagetools", "create", "-t", f"{other.address}/copy:big", f"{faulty.address}/app:big"]) == 0
    assert digest_of(big) in other.blobs


def test_sources_are_combined(faulty: FaultyRegistry, capsys: pytest.CaptureFixture[str]) -> None:
    here = faulty.address
    index(faulty, "app", "1")
    more = faulty.add_image("more", "1", [layer(7)], architecture="s390x")
    words = [
        "imagetools",
        "create",
        "-t",
        f"{here}/app:2",
        "--annotation",
        "index:a=b",
        f"{here}/app:1",
        f"{here}/more:1",
    ]
    assert main([*words, "--dry-run"]) == 0
    assert len(json.loads(capsys.readouterr().out)["manifests"]) == 4
    assert ("app", "2") not in faulty.manifests
    assert main(words) == 0
    document = json.loads(faulty.manifests["app", "2"][1])
    assert document["annotations"] == {"a": "b"}
    assert document["manifests"][3]["platform"] == {"architecture": "s390x", "os": "linux"}
    assert ("app", more) in faulty.manifests
    assert main(["imagetools", "create", "-t", f"{here}/few:1", "--platform", "amd64", f"{here}/app:2"]) == 0
    few = json.loads(faulty.manifests["few", "1"][1])["manifests"]
    assert [item["platform"]["architecture"] for item in few] == ["amd64", "unknown"], "with its attestation"
    assert main(["imagetools", "create", "--append", "-t", f"{here}/few:1", f"{here}/more:1"]) == 0
    assert len(json.loads(faulty.manifests["few", "1"][1])["manifests"]) == 3
    assert main(["imagetools", "create", "-t", f"{here}/x:1", "--annotation", "a=b", f"{here}/app:1"]) == 1


@pytest.mark.parametrize("knows", [True, False])
def test_what_is_attached_goes_along(
    faulty: FaultyRegistry, other: FaultyRegistry, knows: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """``knows``: the other registry lists referrers itself; else the tag of the specification is written."""
    faulty.has_referrers, other.has_referrers = True, knows
    image = faulty.add_image("app", "1", [layer(1)])
    first = sign(faulty, "app", image, 1)
    second = sign(faulty, "app", image, 2)
    above = sign(faulty, "app", first, 3)
    words = ["imagetools", "create", "--referrers", "--prefer-index=false", "-t", f"{other.address}/copy:1"]
    assert main([*words, f"{faulty.address}/app:1"]) == 0
    assert {("copy", item) for item in (image, first, second, above)} <= set(other.manifests)
    assert (("copy", "sha256-" + image[7:]) in other.manifests) is not knows
    capsys.readouterr()
    layout = "{{.Digest}} {{.ArtifactType}} {{.Annotations}}"
    assert main(["imagetools", "referrers", "--format", layout, f"{other.address}/copy:1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sorted(lines) == sorted([f"{first} {ARTIFACT} number=1", f"{second} {ARTIFACT} number=2"])
    assert (
        main(
            ["imagetools", "referrers", "--artifact-type", "x", "--format", layout, f"{other.address}/copy:1"]
        )
        == 0
    )
    assert capsys.readouterr().out == ""
