"""What ``https://host/repo.git#branch:directory`` and its like name (Docker's reference, "Remote context"). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit, urlunsplit

_SCP = re.compile(r"(?:[A-Za-z0-9._~-]+@)(?P<host>\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):(?P<path>[^:].*)")
_SCHEMES = ("git", "ssh", "git+ssh", "http", "https", "file")
_QUERY = ("ref", "branch", "tag", "subdir", "checksum", "commit", "keep-git-dir", "submodules")
_REF = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+@-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class GitSource:
    """A part of a repository."""

    url: str
    """As git takes it."""
    protocol: str
    """As git's protocol.allow names it: https, http, ssh, git, file."""
    ref: str = ""
    """Branch, tag or commit; "": what the repository's HEAD is."""
    subdirectory: str = ""
    checksum: str = ""
    """What the commit's id has to begin with."""
    keeps_git: bool = False
    has_submodules: bool = True

    @property
    def is_commit(self) -> bool:
        """Whether the ref is the full id of a commit, so that it means the same for ever."""
        return _COMMIT.fullmatch(self.ref) is not None


def parse_git_url(text: str) -> GitSource | None:
    """The repository that ``text`` names; None when it names something else. Raises ValueError for a reference or
    a directory that cannot be."""
    place, _, fragment = text.partition("#")
    options: dict[str, str] = {}
    if _SCP.fullmatch(place) and "://" not in place:
        url, protocol = place, "ssh"
    else:
        if re.match(r"github\.com/", place):
            place = f"https://{place}"
        parts = urlsplit(place)
        if parts.scheme not in _SCHEMES or not (parts.hostname or parts.scheme == "file"):
            return None
        if parts.scheme in ("http", "https"):
            is_repository = parts.path.endswith(".git") or (
                parts.hostname == "github.com" and parts.path.strip("/").count("/") == 1
            )
            if not is_repository:
                return None
        given = parse_qsl(parts.query, keep_blank_values=True)
        if parts.query and all(key in _QUERY for key, _ in given):
            options = dict(given)
            parts = parts._replace(query="")
        url = urlunsplit(parts._replace(fragment=""))
        protocol = {"git+ssh": "ssh"}.get(parts.scheme, parts.scheme)
    ref, _, subdirectory = fragment.partition(":")
    ref = ref or options.get("ref") or options.get("branch") or options.get("tag") or ""
    subdirectory = (subdirectory or options.get("subdir", "")).strip("/")
    checksum = options.get("checksum") or options.get("commit") or ""
    if ref and (not _REF.fullmatch(ref) or ".." in ref):
        raise ValueError(f"{ref!r} is no branch, tag or commit")
    if ".." in subdirectory.split("/"):
        raise ValueError(f"the directory {subdirectory!r} is not in the repository")
    if checksum and not re.fullmatch(r"[0-9a-f]{7,64}", checksum):
        raise ValueError(f"{checksum!r} is no id of a commit")
    return GitSource(
        url,
        protocol,
        ref,
        subdirectory,
        checksum,
        options.get("keep-git-dir", "").lower() in ("1", "true"),
        options.get("submodules", "").lower() not in ("0", "false"),
    )
