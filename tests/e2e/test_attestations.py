"""Provenance and lists of packages: beside images in an index, beside files, in the metadata."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from tests.e2e.engine import Composer

_SCAN = (
    "cat $BUILDKIT_SCAN_SOURCE/made > /dev/null; ls $BUILDKIT_SCAN_SOURCE_EXTRAS > /names; "
    """echo "{\\"spdxVersion\\": \\"SPDX-2.3\\", \\"name\\": \\"$(cat /names)\\"}" """
    "> $BUILDKIT_SCAN_DESTINATION/sbom.spdx.json"
)
_DOCKERFILE = """FROM base AS first
ARG WHO
RUN echo $WHO > /who
FROM base
COPY --from=first /who /made
"""


def _blob(layout: Path, digest: str) -> Any:
    return json.loads((layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes())


def test_what_is_said_of_an_image(composer: Composer, base: str, tmp_path: Path) -> None:
    (tmp_path / "Scanner").write_text(f"FROM base\nENTRYPOINT {json.dumps(['/bin/sh', '-c', _SCAN])}\n")
    composer.run("image", "build", "-q", "-t", "scanner", "-f", "Scanner", ".", cwd=tmp_path)
    (tmp_path / "Dockerfile").write_text(_DOCKERFILE)
    words = ("--build-arg", "WHO=me", "--build-arg", "HTTP_PROXY=http://u:secret@nowhere.invalid")
    words += ("--sbom", "generator=scanner", "--attest", "type=provenance,mode=max")
    words += ("--build-arg", "BUILDKIT_SBOM_SCAN_STAGE=true", "-t", "name:1", "--metadata-file", "meta")
    outputs = ("-o", "type=oci,dest=layout,tar=false", "-o", "files")
    composer.run("image", "build", *words, *outputs, ".", cwd=tmp_path)
    layout = tmp_path / "layout"
    (entry,) = _blob(layout, _index(layout)["manifests"][0]["digest"])["manifests"][1:]
    image = _blob(layout, _index(layout)["manifests"][0]["digest"])["manifests"][0]["digest"]
    assert entry["platform"] == {"architecture": "unknown", "os": "unknown"}
    assert entry["annotations"] == {
        "vnd.docker.reference.digest": image,
        "vnd.docker.reference.type": "attestation-manifest",
    }
    made, listed = (_blob(layout, layer["digest"]) for layer in _blob(layout, entry["digest"])["layers"])
    (subject,) = made["subject"]
    assert subject["name"].startswith("pkg:docker/name@1?platform=linux%2F")
    assert subject["digest"] == {"sha256": image.removeprefix("sha256:")}
    assert made["predicateType"] == "https://slsa.dev/provenance/v0.2"
    predicate = made["predicate"]
    assert predicate["invocation"]["parameters"]["args"]["build-arg:WHO"] == "me"
    assert "secret" not in json.dumps(predicate)
    assert [one["uri"].partition("?")[0] for one in predicate["materials"]] == ["pkg:docker/base@latest"]
    source = predicate["metadata"]["https://mobyproject.org/buildkit@v1#metadata"]["source"]
    assert base64.b64decode(source["infos"][0]["data"]).decode() == _DOCKERFILE
    assert listed["predicateType"] == "https://spdx.dev/Document"
    assert listed["predicate"]["name"] == "first"
    assert json.loads((tmp_path / "meta").read_text())["buildx.build.provenance"] == predicate
    beside = json.loads((tmp_path / "files/provenance.json").read_text())
    assert "made" in [one["name"] for one in beside["subject"]]
    assert (tmp_path / "files/sbom.spdx.json").is_file()


def test_what_cannot_be_said(composer: Composer, base: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM base\nCOPY <<x /y\nx\n")
    told = composer.run("image", "build", "--provenance=true", ".", cwd=tmp_path).stderr
    assert "attestations are not kept with an image here" in told
    for words, why in (
        (("--provenance", "mod=max"), "did you mean mode?"),
        (("--sbom", "true", "--pull=false"), "generating sbom using docker/buildkit-syft-scanner:stable-1"),
        (("--sbom", "generator=base"), "base: it has no program"),
        (("--provenance", "true", "-o", "type=docker,dest=x"), "write it with type=oci"),
    ):
        done = composer.run("image", "build", *words, ".", cwd=tmp_path, status=1)
        assert why in done.stderr, done.stderr


def _index(layout: Path) -> Any:
    return json.loads((layout / "index.json").read_text())
