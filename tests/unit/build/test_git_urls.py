"""What addresses of repositories mean, and what is none."""

from __future__ import annotations

import pytest

from runtime.build.git_urls import GitSource, parse_git_url

_COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("https://host/a.git", GitSource("https://host/a.git", "https")),
        ("https://host/a.git#v1:sub/dir", GitSource("https://host/a.git", "https", "v1", "sub/dir")),
        ("https://host/a.git#:sub", GitSource("https://host/a.git", "https", "", "sub")),
        ("git@host:me/a.git#main", GitSource("git@host:me/a.git", "ssh", "main")),
        ("ssh://git@host:22/a", GitSource("ssh://git@host:22/a", "ssh")),
        ("git://host/a", GitSource("git://host/a", "git")),
        ("file:///srv/a", GitSource("file:///srv/a", "file")),
        ("github.com/me/a", GitSource("https://github.com/me/a", "https")),
        (
            "https://host/a.git?tag=v1&subdir=s&keep-git-dir=true&submodules=false",
            GitSource("https://host/a.git", "https", "v1", "s", "", True, False),
        ),
        (
            f"https://host/a.git?ref=main&checksum={_COMMIT}",
            GitSource("https://host/a.git", "https", "main", "", _COMMIT),
        ),
    ],
)
def test_repositories(text: str, source: GitSource) -> None:
    assert parse_git_url(text) == source


@pytest.mark.parametrize(
    "text", ["https://host/a.tar.gz", "/srv/a.git", "a/b", "docker-image://x", "http://x", "ext::sh"]
)
def test_what_is_no_repository(text: str) -> None:
    assert parse_git_url(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "https://h/a.git#--upload-pack=x",
        "https://h/a.git#a..b",
        "git@h:a.git#-x",
        "https://h/a.git#x:../..",
        "https://h/a.git?checksum=zz",
    ],
)
def test_what_git_is_never_given(text: str) -> None:
    with pytest.raises(ValueError):
        parse_git_url(text)


def test_a_commit_means_the_same_for_ever() -> None:
    assert GitSource("u", "https", _COMMIT).is_commit
    assert not GitSource("u", "https", "main").is_commit
