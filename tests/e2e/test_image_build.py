"""``image build``: Dockerfiles without a project, contexts from everywhere, and what becomes of the result."""

from __future__ import annotations

import base64
import functools
import http.server
import io
import json
import os
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.engine import COMMAND, Composer

_PLAIN = 'FROM scratch\nCOPY . /src/\nENV A=1\nCMD ["/x"]\n'


@pytest.fixture
def context(tmp_path: Path) -> Path:
    root = tmp_path / "context"
    (root / "sub").mkdir(parents=True)
    (root / "Dockerfile").write_text(_PLAIN)
    (root / "a.txt").write_text("a")
    (root / "sub/b.txt").write_text("b")
    (root / ".dockerignore").write_text("Dockerfile\n.dockerignore\n")
    return root


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """With the tag v1, and on main one commit more."""
    if shutil.which("git") is None:
        pytest.skip("needs git")
    root = tmp_path / "repository"
    (root / "sub").mkdir(parents=True)
    (root / "Dockerfile").write_text(_PLAIN)
    who = ("-c", "user.name=t", "-c", "user.email=t@t")
    subprocess.run(["git", "init", "-q", "-b", "main", root], check=True)
    for version in ("v1", "v2"):
        (root / "sub/version").write_text(version)
        subprocess.run(["git", "-C", root, "add", "-A"], check=True)
        subprocess.run(["git", "-C", root, *who, "commit", "-q", "-m", version], check=True)
        subprocess.run(["git", "-C", root, "tag", version], check=True)
    return root


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A server of files, and the directory of the files."""
    root = tmp_path / "web"
    root.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=root)
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", root
        server.shutdown()


def _names(archive: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return sorted(entry.name for entry in tar if not entry.isdir())


def _tree(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): path.read_text(errors="replace")
        for path in directory.rglob("*")
        if path.is_file()
    }


def _build(composer: Composer, *words: str, cwd: Path) -> Path:
    """Build into a directory."""
    out = cwd / "out"
    shutil.rmtree(out, ignore_errors=True)
    composer.run("image", "build", "-q", "-o", "out", *words, cwd=cwd)
    return out


def test_results(composer: Composer, context: Path, tmp_path: Path) -> None:
    words = "-t one:1 -t two --label l=v --iidfile iid --metadata-file meta --annotation a=b".split()
    outputs = (
        "-o type=oci,dest=x.tar,compression=zstd -o type=docker -o type=oci,dest=layout,tar=false".split()
    )
    composer.run("image", "build", *words, *outputs, str(context), cwd=tmp_path)
    identity = (tmp_path / "iid").read_text()
    shown = composer.run(
        "image", "inspect", "-f", "{{.Id}} {{.RepoTags}} {{.Config.Labels}} {{.Config.Cmd}}", "two"
    )
    assert identity in shown.stdout and "one:1" in shown.stdout and "l:v" in shown.stdout
    metadata = json.loads((tmp_path / "meta").read_text())
    assert metadata["containerimage.config.digest"] == identity
    with tarfile.open(tmp_path / "x.tar") as tar:
        index = json.load(tar.extractfile("index.json") or io.BytesIO())
        digest = index["manifests"][0]["digest"].removeprefix("sha256:")
        manifest = json.load(tar.extractfile(f"blobs/sha256/{digest}") or io.BytesIO())
    assert manifest["annotations"] == {"a": "b"}
    assert all(layer["mediaType"].endswith("+zstd") for layer in manifest["layers"])
    assert (tmp_path / "layout/oci-layout").is_file()
    assert _tree(_build(composer, str(context), cwd=tmp_path)) == {"src/a.txt": "a", "src/sub/b.txt": "b"}
    said = {
        (mode, *flag): subprocess.run(
            [*COMMAND, "image", "build", *flag, str(context)],
            env={**composer.env, "BUILDKIT_PROGRESS": mode},
            capture_output=True,
            text=True,
            check=True,
        ).stderr
        for mode, *flag in (("rawjson",), ("quiet",), ("quiet", "--progress=rawjson"))
    }
    assert not said.pop(("quiet",)) and all('"vertexes"' in text for text in said.values())
    refused = composer.run(
        "image", "build", "-o", "type=locl,dest=x", str(context), cwd=tmp_path, status=None
    )
    assert refused.returncode and "did you mean local?" in refused.stderr


def test_a_result_does_not_depend_on_how_it_has_left_before(composer: Composer, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM scratch\nCOPY <<x /y\n{'words ' * 2000}\nx\n")

    def digest(*options: str) -> str:
        output = ",".join(("type=oci", "dest=out.tar", *options))
        composer.run("image", "build", "--metadata-file", "meta", "-o", output, ".", cwd=tmp_path)
        found: str = json.loads((tmp_path / "meta").read_text())["containerimage.digest"]
        return found

    plain = digest()
    packed = digest("compression=zstd")
    assert packed != plain
    composer.run("image", "build", "--annotation", "a=b", "-o", "type=oci,dest=out.tar", ".", cwd=tmp_path)
    assert digest() == plain == digest("compression=gzip")
    assert digest("compression=zstd") == packed


def test_contexts_from_the_standard_input(composer: Composer, context: Path, tmp_path: Path) -> None:
    archive = tmp_path / "context.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(context, ".")
    for words, given, names in (
        (("-",), archive.read_bytes(), ["src/a.txt", "src/sub/b.txt"]),
        (("-",), b"FROM scratch\nCOPY <<x /y\nz\nx\n", ["y"]),
        (("-f", "-", str(context)), b"FROM scratch\nCOPY a.txt /z\n", ["z"]),
    ):
        out = tmp_path / "out.tar"
        with out.open("wb") as target:
            subprocess.run(
                [*COMMAND, "image", "build", "-q", "-o", "-", *words],
                input=given,
                stdout=target,
                env=composer.env,
                check=True,
            )
        assert _names(out.read_bytes()) == names


def test_contexts_from_repositories_and_the_web(
    composer: Composer, context: Path, repository: Path, web: tuple[str, Path], tmp_path: Path
) -> None:
    url = f"file://{repository}"
    assert _tree(_build(composer, f"{url}#v1", cwd=tmp_path))["src/sub/version"] == "v1"
    (tmp_path / "Two").write_text("FROM scratch\nCOPY --from=other version /o\nCOPY --from=here a.txt /h\n")
    named = ("--build-context", f"other={url}#main:sub", "--build-context", f"here={context}")
    assert _tree(_build(composer, "-f", "Two", *named, str(context), cwd=tmp_path)) == {"o": "v2", "h": "a"}
    composer.run("image", "build", "-q", "-o", "type=oci,dest=layout,tar=false", str(context), cwd=tmp_path)
    (tmp_path / "Three").write_text(
        "FROM here AS a\nFROM layout\nCOPY --from=a / /a/\nCOPY --from=layout /src /l\n"
    )
    named = ("--build-context", "layout=oci-layout://layout", "--build-context", f"here={context}/sub")
    found = _tree(_build(composer, "-f", "Three", *named, str(context), cwd=tmp_path))
    assert found == {
        "src/a.txt": "a",
        "src/sub/b.txt": "b",
        "a/b.txt": "b",
        "l/a.txt": "a",
        "l/sub/b.txt": "b",
    }
    for fragment, told in (("nope", "no branch, tag or commit nope"), ("v1:none", "no directory none")):
        done = composer.run("image", "build", f"{url}#{fragment}", cwd=tmp_path, status=1)
        assert told in done.stderr
    address, files = web
    with tarfile.open(files / "context.tar", "w") as tar:
        tar.add(context, ".")
    (files / "text").write_text("FROM scratch\nCOPY <<x /y\nz\nx\n")
    assert "src/a.txt" in _tree(_build(composer, f"{address}/context.tar", cwd=tmp_path))
    assert _tree(_build(composer, f"{address}/text", cwd=tmp_path)) == {"y": "z\n"}
    assert "404" in composer.run("image", "build", f"{address}/none", cwd=tmp_path, status=1).stderr
    bare = files / "bare.git"
    subprocess.run(["git", "clone", "-q", "--bare", str(repository), str(bare)], check=True)
    subprocess.run(["git", "-C", str(bare), "update-server-info"], check=True)
    for fragment, version in (("", "v2"), ("#v1", "v1")):  # a server that knows nothing of git
        found = _tree(_build(composer, f"{address}/bare.git{fragment}", cwd=tmp_path))
        assert found["src/sub/version"] == version


def test_adding_repositories(composer: Composer, repository: Path, tmp_path: Path) -> None:
    url = f"file://{repository}"
    file = tmp_path / "Dockerfile"
    file.write_text(f"FROM scratch\nADD {url}#v1:sub /one\nADD --keep-git-dir=true {url} /two/\n")
    found = _tree(_build(composer, ".", cwd=tmp_path))
    assert found["one/version"] == "v1" and found["two/sub/version"] == "v2" and "two/.git/HEAD" in found
    file.write_text(f"FROM scratch\nADD --checksum={'0' * 40} {url}#v1 /one\n")
    done = composer.run("image", "build", ".", cwd=tmp_path, status=1)
    assert "Dockerfile:2:" in done.stderr and f"not {'0' * 40}" in done.stderr


def test_calls(composer: Composer, tmp_path: Path) -> None:
    text = (
        "# A is for all\nARG A=1\n# one begins\nFROM scratch AS one\nARG A\nARG LONGER\nFROM one AS two\nCOPY x /\n"
        "CMD run\n"
    )
    (tmp_path / "Dockerfile").write_text(text)

    def call(*words: str, status: int | None = 0) -> subprocess.CompletedProcess[str]:
        return composer.run("image", "build", "-q", *words, ".", cwd=tmp_path, status=status)

    assert (
        call("--call", "targets").stdout
        == "TARGET        DESCRIPTION\none           begins\ntwo (default) \n"
    )
    outline = "TARGET:      one\nDESCRIPTION: begins\n\nBUILD ARG   VALUE   DESCRIPTION\n"
    outline += "A           1       is for all\nLONGER      2       \n\n"
    assert call("--call=outline", "--target=one", "--build-arg", "LONGER=2").stdout == outline
    document = json.loads(call("--call=outline,format=json").stdout)
    assert (
        list(document) == ["name", "args", "sources"]
        and base64.b64decode(document["sources"][0]) == text.encode()
    )
    assert document["args"][1] == {
        "name": "LONGER",
        "location": {"ranges": [{"start": {"line": 6}, "end": {"line": 6}}]},
    }
    assert [one["name"] for one in json.loads(call("--call=targets,format=json").stdout)["targets"]] == [
        "one",
        "two",
    ]
    lint = json.loads(call("--call=check,format=json", status=1).stdout)
    assert [one["ruleName"] for one in lint["warnings"]] == ["JSONArgsRecommended"]
    assert lint["warnings"][0]["location"]["ranges"][0]["start"] == {"line": 9} and lint["sources"][0]["data"]
    assert "1 warning has been found" in call("--call=check,ignorestatus=true").stdout
    refused = (
        ("outlin", "there are build, check"),
        ("targets,format=xml", "text or json"),
        ("check,x=1", "no x"),
    )
    for words, told in refused:
        done = call("--call", words, status=None)
        assert done.returncode and told in done.stderr
    assert "'three' could not be found" in call("--call=outline", "--target=three", status=1).stderr


def test_checks(composer: Composer, tmp_path: Path) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text("FROM scratch AS Base\nCOPY x /\nCMD run\n")
    done = composer.run("image", "build", "--check", ".", cwd=tmp_path, status=1)
    assert "WARNING: StageNameCasing - https://" in done.stdout
    assert f"{file}:3:1\n3 | CMD run\n    ^" in done.stdout
    assert "Check complete, 2 warnings have been found!" in done.stdout
    file.write_text("# check=error=true\nFROM scratch\nCOPY <<x /y\nx\nCMD run\n")
    done = composer.run("image", "build", ".", cwd=tmp_path, status=1)
    assert "lint violation found for rules: JSONArgsRecommended" in done.stderr
    composer.run("image", "build", "--build-arg", "BUILDKIT_DOCKERFILE_CHECK=skip=all", ".", cwd=tmp_path)
    compose = tmp_path / "compose.yaml"
    compose.write_text("services: {web: {build: .}}")
    done = composer.run("build", "--check", cwd=tmp_path, status=1)
    assert f"{file}:5:1: JSONArgsRecommended" in done.stderr


def test_the_same_inputs_make_the_same_image(
    composer: Composer, context: Path, base: str, tmp_path: Path
) -> None:
    (context / "Dockerfile").write_text("FROM base\nWORKDIR /w\nCOPY . .\nRUN mkdir d && cat a.txt > d/e\n")
    words = (
        "image",
        "build",
        "-q",
        "--no-cache",
        "--build-arg",
        "SOURCE_DATE_EPOCH=1700000000",
        str(context),
    )
    first = composer.run(*words, cwd=tmp_path).stdout
    for path in context.rglob("*"):
        os.utime(path)
    assert composer.run(*words, cwd=tmp_path).stdout == first
    shown = composer.run("image", "inspect", "-f", "{{.Created}}", first.strip())
    assert shown.stdout.startswith("2023-11-14T22:13:20")


def test_a_step_that_failed_can_be_looked_at(composer: Composer, base: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM base\nRUN echo left > /left; exit 4\n")
    done = composer.run("image", "build", "--debug", ".", cwd=tmp_path, status=1)
    assert "exit code: 4" in done.stderr and "Traceback" not in done.stderr
    (kept,) = composer.containers()
    name = kept["Names"][0].removeprefix("/")
    assert f"composer debug {name}" in done.stderr
    assert composer.run("debug", name, "cat", "/left").stdout == "left\n"
    composer.run("container", "rm", name)


def test_platforms(composer: Composer, base: str, tmp_path: Path) -> None:
    own = composer.run("image", "inspect", "-f", "{{.Os}}/{{.Architecture}}", base).stdout.strip()
    other = "linux/arm64" if own.endswith("amd64") else "linux/amd64"
    file = tmp_path / "Dockerfile"
    file.write_text(
        "FROM --platform=$BUILDPLATFORM base AS made\nARG TARGETPLATFORM\nRUN echo $TARGETPLATFORM > /p\n"
        "FROM scratch\nCOPY --from=made /p /\n"
    )
    words = ("--platform", f"{own},{other}", "-t", "both", "-o", "type=image", ".")
    found = _tree(_build(composer, *words, cwd=tmp_path))
    assert found == {f"{name.replace('/', '_')}/p": f"{name}\n" for name in (own, other)}
    layout = "{{.Os}}/{{.Architecture}}"
    assert composer.run("image", "inspect", "-f", layout, "both").stdout.strip() == own
    shown = composer.run("image", "inspect", "--platform", other, "-f", layout, "both").stdout
    assert shown.strip() == other
    assert composer.run("image", "ls", "both", "-q").stdout.count("\n") == 1
    tree = composer.run("image", "ls", "--tree", "--filter", "reference=both").stdout
    assert [line.split()[1] for line in tree.splitlines() if "─" in line] == [own, other]
    (tmp_path / "compose.yaml").write_text(
        f"services: {{a: {{image: both, command: x}}, b: {{image: both, command: x, platform: {other}}}}}"
    )
    composer.run("create", cwd=tmp_path)
    made = {one["Labels"]["com.docker.compose.service"]: one["ImageID"] for one in composer.containers()}
    assert made["a"] != made["b"] and "Recreate" not in composer.run("create", cwd=tmp_path).stderr
    composer.run("down", cwd=tmp_path)
    composer.run("image", "rm", "--platform", other, "both")
    missing = composer.run("image", "history", "--platform", other, "both", status=1).stderr
    assert f"does not provide the specified platform ({other})" in missing
    file.write_text("FROM scratch\nCOPY <<x /y\nx\nRUN z\n")
    done = composer.run("image", "build", "--platform", other, ".", cwd=tmp_path, status=None)
    if done.returncode == 0 or "emulation" not in done.stderr:
        pytest.skip("the kernel emulates other machines")
    assert f"RUN for {other}: this machine cannot run its programs" in done.stderr


def test_steps_are_given_scripts_secrets_and_nothing_stays(
    composer: Composer, base: str, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("secret")
    (tmp_path / "Dockerfile").write_text(
        "FROM base\nRUN <<EOF\n#!/bin/sh\necho $0 > /script\nEOF\n"
        "RUN --mount=type=secret,id=t,env=TOKEN --mount=type=secret,id=t --mount=type=ssh "
        "--mount=type=cache,target=/cache/x --mount=type=tmpfs,target=/tmpfs/y,size=1m "
        "cat /run/secrets/t > /made && echo $TOKEN >> /made && ls /cache/x && cat /proc/self/mounts > /mounts\n"
        "RUN --network=none ls /run /cache /tmpfs || echo none > /nothing\n"
    )
    out = _build(composer, "--secret", "id=t,src=token", ".", cwd=tmp_path)
    assert (out / "script").read_text() == "/dev/pipes/EOF\n"
    assert (out / "made").read_text() == "secretsecret\n"
    assert (out / "nothing").read_text() == "none\n"
    mounts = (out / "mounts").read_text().splitlines()
    (root,) = (line for line in mounts if line.startswith("overlay / "))
    assert "volatile" in root  # syncing files costs nothing
    assert not any((out / name).exists() for name in ("run", "cache", "tmpfs"))
    (tmp_path / "Dockerfile").write_text(
        "FROM base\nRUN --mount=type=ssh,required echo\nRUN --security=insecure x\n"
    )
    done = composer.run("image", "build", ".", cwd=tmp_path, status=1)
    assert "--allow security.insecure" in done.stderr or "unset ssh key default" in done.stderr


def test_all_that_the_context_lacks_is_told_at_once_in_order(composer: Composer, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "FROM scratch AS one\nCOPY a there /\nFROM scratch\nCOPY --from=one /x /x\nCOPY b hidden /b/\nADD c /c\n"
    )
    for name, text in (("there", ""), ("hidden", ""), (".dockerignore", "hidden")):
        (tmp_path / name).write_text(text)
    told = composer.run("image", "build", ".", cwd=tmp_path, status=1).stderr
    assert "Built" not in told
    lines = [line.partition("Dockerfile:")[2] for line in told.splitlines() if "is not in" in line]
    assert lines == [
        f'2:6: "/a" is not in the context {tmp_path}',
        f'5:6: "/b" is not in the context {tmp_path}',
        f'5:8: "/hidden" is not in the context {tmp_path}: .dockerignore excludes it',
        f'6:5: "/c" is not in the context {tmp_path}',
    ]


def test_a_file_is_lent_to_a_step_that_writes(composer: Composer, base: str, tmp_path: Path) -> None:
    """Of the context and of another stage: as a file, and what is written is the step's alone."""
    context = tmp_path / "lent"
    context.mkdir()
    (context / "notes").write_text("mine\n")
    mounts = "--mount=type=bind,source=notes,target=/notes,rw --mount=type=bind,from=other,source=/made,target=/made,rw"
    (context / "Dockerfile").write_text(
        f"FROM {base} AS other\nRUN echo made > /made\n"
        f"FROM {base}\nRUN {mounts} echo more >> /notes && echo more >> /made && cat /notes /made > /seen\n"
    )
    composer.run("image", "build", "-t", "lent", ".", cwd=context)
    seen = composer.run("container", "run", "--rm", "--network", "none", "lent", "cat", "/seen").stdout
    assert seen == "mine\nmore\nmade\nmore\n"
    assert (context / "notes").read_text() == "mine\n"
