"""COPY and ADD: what an instruction says. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from runtime.build.frontend.expand import json_words
from runtime.build.frontend.lines import Line
from runtime.build.frontend.stages import expanded, heredoc_text
from runtime.build.git_urls import parse_git_url
from runtime.build.modes import parse_modes
from runtime.build.steps import Copy, FetchSource, GitCheckout, Selection, Step

_FLAGS = {
    "COPY": ("from", "chown", "chmod", "link", "parents", "exclude"),
    "ADD": ("chown", "chmod", "link", "exclude", "checksum", "unpack", "keep-git-dir"),
}
_SWITCHES = ("link", "parents", "unpack", "keep-git-dir")


def convert_copy(
    line: Line,
    variables: Mapping[str, str],
    escape: str,
    working_dir: str,
    source_of: Callable[[str], Step],
    common: Mapping[str, Any],
) -> Copy:
    """The step of an instruction; ``source_of`` finds what ``--from`` names. Raises DockerfileError."""
    flags: dict[str, str] = {}
    excluded: list[str] = []
    for name, value in line.flags:
        if name not in _FLAGS[line.name]:
            known = ", ".join(f"--{flag}" for flag in _FLAGS[line.name])
            raise line.error(f"unknown flag: --{name} ({line.name} has {known})", f"--{name}")
        text = expanded(line, value, variables, escape)
        if name in _SWITCHES and text not in ("true", "false"):
            raise line.error(f"expecting boolean value for flag {name}, not: {text}", f"--{name}")
        if name == "exclude":
            excluded.append(text)
        else:
            flags[name] = text
    words = json_words(line.rest) or tuple(line.bare.rest.split())
    words = tuple(expanded(line, word, variables, escape) for word in words)
    if len(words) + len(line.heredocs) < 2 or not words:
        raise line.error(f"{line.name} requires at least two arguments, but only one was provided")
    *sources, destination = words
    remote = tuple(source for source in sources if line.name == "ADD" and _is_remote(source))
    if "checksum" in flags and (len(remote) != 1 or len(sources) != 1):
        raise line.error("checksum requires a single source, which is a URL", "--checksum")
    fetched = tuple(_fetched(line, url, flags) for url in remote)
    if "keep-git-dir" in flags and not any(isinstance(one, GitCheckout) for one in fetched):
        raise line.error("--keep-git-dir is for git repositories", "--keep-git-dir")
    joined = posixpath.join(working_dir or "/", destination)
    if destination.endswith(("/", "/.")) or destination == ".":
        joined = posixpath.normpath(joined).rstrip("/") + "/"
    if "chmod" in flags:
        try:
            parse_modes(flags["chmod"])
        except ValueError as error:
            raise line.error(str(error), "--chmod") from None
    files = tuple(
        (
            doc.name,
            heredoc_text(line, doc, variables, escape).encode("utf-8", "surrogateescape"),
        )
        for doc in line.heredocs
    )
    local = tuple(source for source in sources if source not in remote)
    selection = None
    if local:
        selection = Selection(
            source=source_of(flags.get("from", "")),
            patterns=local,
            exclude=tuple(excluded),
            keeps_parents=flags.get("parents") == "true",
            keeps_owners="from" in flags,
            place=line,
        )
    default_unpacks = None if line.name == "ADD" else False
    return Copy(
        **common,
        origin=selection,
        destination=joined,
        files=files,
        fetched=fetched,
        owner=flags.get("chown", ""),
        modes=flags.get("chmod", ""),
        unpacks={"true": True, "false": False}.get(flags.get("unpack", ""), default_unpacks),
        links=flags.get("link") == "true",
        exclude=tuple(excluded),
    )


def _is_remote(source: str) -> bool:
    return "://" in source or source.startswith("git@")


def _fetched(line: Line, url: str, flags: Mapping[str, str]) -> FetchSource | GitCheckout:
    """The step that fetches ``url``: a file, or a repository."""
    checksum = flags.get("checksum", "")
    try:
        source = parse_git_url(url)
    except ValueError as error:
        raise line.error(f"{url}: {error}", url) from None
    if source is not None:
        checksum = checksum or source.checksum
        if checksum and not re.fullmatch(r"[0-9a-f]{7,64}", checksum):
            raise line.error(f"the checksum of a repository is a commit's id, not {checksum!r}", "--checksum")
        keeps = source.keeps_git or flags.get("keep-git-dir") == "true"
        source = replace(source, checksum=checksum, keeps_git=keeps)
        return GitCheckout(text=f"fetching {url}", place=line, source=source)
    if not url.startswith(("http://", "https://")):
        raise line.error(f"ADD cannot fetch {url}: it takes http(s) URLs and git repositories", url)
    return FetchSource(text=f"fetching {url}", place=line, url=url, checksum=checksum)
