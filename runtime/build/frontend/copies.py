"""COPY and ADD: what an instruction says. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from typing import Any

from runtime.build.frontend.expand import json_words
from runtime.build.frontend.lines import Line
from runtime.build.frontend.stages import expanded, heredoc_text
from runtime.build.modes import parse_modes
from runtime.build.steps import Copy, FetchSource, Selection, Step

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
    source_of: Callable[[str], Step | None],
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
    for source in remote:
        if not source.startswith(("http://", "https://")) or source.partition("#")[0].endswith(".git"):
            raise line.error(f"ADD of {source}: composer does not fetch git repositories", source)
    if "keep-git-dir" in flags:
        raise line.error(
            "ADD --keep-git-dir is for git repositories, which composer does not fetch", "--keep-git"
        )
    if "checksum" in flags and (len(remote) != 1 or len(sources) != 1):
        raise line.error("checksum requires a single source, which is a URL", "--checksum")
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
        origin = source_of(flags.get("from", ""))
        if origin is None:
            raise line.error(f"{flags['from']} is empty: there is nothing to copy from it", "--from")
        selection = Selection(
            source=origin,
            patterns=local,
            exclude=tuple(excluded),
            keeps_parents=flags.get("parents") == "true",
            keeps_owners="from" in flags,
        )
    default_unpacks = None if line.name == "ADD" else False
    return Copy(
        **common,
        origin=selection,
        destination=joined,
        files=files,
        fetched=tuple(
            FetchSource(text=f"fetching {url}", place=line, url=url, checksum=flags.get("checksum", ""))
            for url in remote
        ),
        owner=flags.get("chown", ""),
        modes=flags.get("chmod", ""),
        unpacks={"true": True, "false": False}.get(flags.get("unpack", ""), default_unpacks),
        links=flags.get("link") == "true",
        exclude=tuple(excluded),
    )


def _is_remote(source: str) -> bool:
    return "://" in source or source.startswith("git@")
