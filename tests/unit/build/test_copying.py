"""What COPY makes of a context, and the tars of layers."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from runtime.build.ignore import parse_ignore
from runtime.build.worker.copying import SourceNotFound, chosen_sources, make_directories, place
from runtime.build.worker.layer_tar import digest_placed, write_changes, write_placed
from runtime.files.tree import Tree


@pytest.fixture
def context(tmp_path: Path) -> Path:
    root = tmp_path / "context"
    (root / "src").mkdir(parents=True)
    (root / "app.py").write_text("app")
    (root / "src/one.txt").write_text("1")
    (root / "src/two.log").write_text("2")
    (root / "out").symlink_to("/etc")
    return root


@pytest.fixture
def image(tmp_path: Path) -> Path:
    root = tmp_path / "image"
    (root / "usr/bin").mkdir(parents=True)
    (root / "bin").symlink_to("usr/bin")
    return root


@pytest.mark.parametrize(
    ("sources", "destination", "paths"),
    [
        (["app.py"], "/app/", ["app", "app/app.py"]),
        (["app.py"], "/app", ["app"]),
        (["app.py"], "/bin", ["usr/bin/app.py"]),
        (["."], "/bin/x", ["usr/bin/x", "usr/bin/x/app.py", "usr/bin/x/out", "usr/bin/x/src"]),
        (["src/*.txt", "app.py"], "/bin/", ["usr/bin/one.txt", "usr/bin/app.py"]),
        (["../../app.py"], "/a", ["a"]),
    ],
)
def test_where_files_go(
    context: Path, image: Path, sources: list[str], destination: str, paths: list[str]
) -> None:
    tree = Tree([context])
    nodes = [node for source in sources for node in chosen_sources(tree, source)]
    placed = place(tree, nodes, (), Tree([image]), destination, ignore=parse_ignore("src/*"))
    assert [item.path for item in placed] == paths


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("gone", ""),
        ("out/passwd", ""),
        ("src/two.log", ": .dockerignore excludes it"),
        ("ap.py", " (did you mean app.py?)"),
    ],
)
def test_what_is_not_there_or_not_in_the_context_is_not_found(context: Path, source: str, why: str) -> None:
    with pytest.raises(SourceNotFound) as caught:
        chosen_sources(Tree([context]), source, parse_ignore("*.gone\nsrc/two.log"))
    assert caught.value.said_of("the context /c") == f'"/{source}" is not in the context /c{why}'


def test_only_content_names_modes_and_owners_count(context: Path, image: Path) -> None:
    def digest() -> str:
        tree = Tree([context])
        return digest_placed(place(tree, [tree.root], (), Tree([image]), "/app/"))

    before = digest()
    (context / "app.py").touch()
    assert digest() == before
    (context / "app.py").write_text("other")
    assert digest() != before


def test_a_layer_of_what_is_placed(context: Path, image: Path) -> None:
    tree = Tree([context])
    placed = place(tree, [tree.root], [("made", b"x")], Tree([image]), "/app/", owner=(3, 4))
    buffer = io.BytesIO()
    write_placed(placed, buffer, 7)
    buffer.seek(0)
    with tarfile.open(fileobj=buffer) as tar:
        members = {member.name: member for member in tar}
        assert members["app/out"].linkname == "/etc"
        assert (members["app/made"].uid, members["app/made"].gid, members["app/made"].mtime) == (3, 4, 7)
        content = tar.extractfile("app/src/one.txt")
        assert content is not None and content.read() == b"1"


def test_owners_are_kept_between_stages_only(context: Path, image: Path) -> None:
    (context / "app.py").chmod(0o640)
    tree = Tree([context])
    nodes = chosen_sources(tree, "app.py")
    status = (context / "app.py").stat()
    (kept,) = place(tree, nodes, (), Tree([image]), "/a", keeps_owners=True)
    assert (kept.uid, kept.gid, kept.mode) == (status.st_uid, status.st_gid, 0o640)
    (given,) = place(
        tree, nodes, (), Tree([image]), "/a", owner=(5, 6), modes=lambda *_: 0o444, keeps_owners=True
    )
    assert (given.uid, given.gid, given.mode) == (5, 6, 0o444)


def test_a_layer_of_changes_keeps_hard_links(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    buffer = io.BytesIO()
    write_changes(str(tmp_path), buffer)
    buffer.seek(0)
    with tarfile.open(fileobj=buffer) as tar:
        assert [(member.name, member.linkname) for member in tar] == [("a", ""), ("b", "a")]


def test_workdir_makes_what_is_missing(image: Path) -> None:
    assert [item.path for item in make_directories(Tree([image]), "/bin/a/b")] == ["usr/bin/a", "usr/bin/a/b"]


@pytest.mark.parametrize(
    ("pattern", "pivot", "paths"),
    [
        ("src/one.txt", "", ["d", "d/src", "d/src/one.txt"]),
        ("src/*.txt", "src", ["d", "d/one.txt"]),
        ("**/*.txt", "", ["d", "d/src", "d/src/one.txt"]),
        ("src", "", ["d", "d/src", "d/src/one.txt", "d/src/two.log"]),
    ],
)
def test_parents_are_kept(context: Path, image: Path, pattern: str, pivot: str, paths: list[str]) -> None:
    tree = Tree([context])
    nodes = chosen_sources(tree, pattern, deep=True)
    placed = place(tree, nodes, (), Tree([image]), "/d/", pivots=[pivot] * len(nodes))
    assert [item.path for item in placed] == paths


def test_what_is_excluded_within_a_source_and_by_its_name(context: Path, image: Path) -> None:
    tree = Tree([context])
    nodes = [node for name in ("src", "app.py") for node in chosen_sources(tree, name)]
    placed = place(tree, nodes, (), Tree([image]), "/d/", exclude=parse_ignore("*.log\n*.py"))
    assert [item.path for item in placed] == ["d", "d/one.txt"]


def test_names_of_one_file_stay_names_of_one_file(context: Path, image: Path) -> None:
    (context / "src/again.txt").hardlink_to(context / "src/one.txt")
    tree = Tree([context])
    placed = place(tree, chosen_sources(tree, "src"), (), Tree([image]), "/d/")
    layer = io.BytesIO()
    write_placed(placed, layer, 0)
    layer.seek(0)
    with tarfile.open(fileobj=layer) as tar:
        assert tar.getmember("d/one.txt").linkname == "d/again.txt"
