"""Git repositories, by the host's ``git``.

What a repository says is a stranger's: no hooks, no helpers of other protocols, no prompt, no option in an address's
place (git-config(1): protocol.allow, core.hooksPath; gitsubmodules(7)).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import trio

from runtime.build.git_urls import GitSource
from runtime.errors import ComposerError, NotFound

_PATIENCE = 600.0
"""Seconds for one command of git."""
_FIXED = (
    *("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "core.autocrlf=false"),
    *("-c", "init.defaultBranch=main", "-c", "advice.detachedHead=false", "-c", "gc.auto=0"),
    *("-c", "submodule.fetchJobs=1", "-c", "core.symlinks=true", "-c", "transfer.fsckObjects=true"),
)
_KEPT = (
    *("PATH", "HOME", "SSH_AUTH_SOCK", "XDG_CONFIG_HOME", "LANG", "TMPDIR"),
    *(
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "all_proxy",
    ),
    *("GIT_SSL_CAINFO", "SSL_CERT_FILE", "SSL_CERT_DIR"),
)


async def check_out(
    source: GitSource, directory: Path, env: Mapping[str, str], *, keep_git: bool = False
) -> str:
    """Put what ``source`` names into ``directory`` (empty), and return the commit's id.

    ``env``: of whoever asks; keys, proxies and the configuration of git are theirs. Raises NotFound for a reference or
    directory that is not there, ComposerError for what git says.
    """
    program = shutil.which("git", path=env.get("PATH") or os.defpath)
    if program is None:
        raise ComposerError(
            f"{source.url}: there is no git on this machine",
            hint="install git, or check the repository out and name its directory",
        )
    git = _Git(program, source, directory / "repository", env)
    git.place.mkdir()
    await git.run("init", "--quiet", "--template=")
    commit = await _fetch(git, source)
    if source.checksum and not commit.startswith(source.checksum):
        raise ComposerError(f"{source.url}: {source.ref or 'HEAD'} is {commit}, not {source.checksum}")
    await git.run("checkout", "--quiet", "--force", "--detach", commit)
    if source.has_submodules and (git.place / ".gitmodules").is_file():
        await git.run("submodule", "--quiet", "update", "--init", "--recursive", "--depth=1")
    keeps = keep_git or source.keeps_git
    await trio.to_thread.run_sync(_arrange, git.place, directory, source, keeps)
    return commit


async def resolve(source: GitSource, env: Mapping[str, str]) -> str:
    """The commit that ``source`` means now, without fetching it; "" when the repository does not say."""
    if source.is_commit:
        return source.ref
    program = shutil.which("git", path=env.get("PATH") or os.defpath)
    if program is None:
        return ""
    git = _Git(program, source, Path("/"), env)
    names = [source.ref, f"{source.ref}^{{}}"] if source.ref else ["HEAD"]
    listed = await git.run("ls-remote", "--quiet", "--", source.url, *names, fails=False)
    found = [line.split("\t")[0] for line in listed.splitlines() if "\t" in line]
    return found[-1] if found else ""


_NO_DEPTH = "does not support shallow"
"""What git says of a repository that is files on a web server."""


class _Git:
    def __init__(self, program: str, source: GitSource, place: Path, env: Mapping[str, str]) -> None:
        self.program = program
        self.source = source
        self.place = place
        self._env = {name: env[name] for name in _KEPT if name in env}
        self._env.setdefault("PATH", os.defpath)
        self._env |= {
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "/bin/false",
            "SSH_ASKPASS": "/bin/false",
            "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
            "GIT_ALLOW_PROTOCOL": ":".join(sorted(_protocols(source.protocol))),
        }

    async def run(self, *words: str, fails: bool = True) -> str:
        """What a command prints. Raises ComposerError with what it says, unless ``fails`` is off."""
        command: Sequence[str] = [self.program, *_FIXED, "-C", str(self.place), *words]
        with trio.move_on_after(_PATIENCE) as scope:
            done = await trio.run_process(
                command,
                stdin=subprocess.DEVNULL,
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                env=self._env,
            )
        if scope.cancelled_caught:
            raise ComposerError(f"{self.source.url}: git {words[0]} takes longer than {_PATIENCE:.0f} s")
        if done.returncode and fails:
            said = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
            raise ComposerError(f"{self.source.url}: git {words[0]}: {' '.join(said[-3:]) or 'failed'}")
        return "" if done.returncode else done.stdout.decode(errors="surrogateescape")


def _protocols(own: str) -> set[str]:
    """Those of the repository and its submodules: a repository of the network names none of this machine's."""
    return {own, "https", "ssh"}


async def _fetch(git: _Git, source: GitSource) -> str:
    """Fetch what is asked for, only that when the other side lets us, and return the commit's id."""
    wanted = source.ref or "HEAD"
    url = source.url
    try:
        try:
            await git.run("fetch", "--quiet", "--depth=1", "--no-tags", "--", url, wanted)
        except ComposerError as error:
            if _NO_DEPTH not in error.message:
                raise
            await git.run("fetch", "--quiet", "--no-tags", "--", url, wanted)
        found = await git.run("rev-parse", "--verify", "--end-of-options", "FETCH_HEAD^{commit}")
        return found.strip()
    except ComposerError as error:
        is_unknown = "couldn't find remote ref" in error.message or _looks_like_commit(wanted)
        if not source.ref or not is_unknown:
            raise
    # A short id, or a commit that the other side does not hand out by itself.
    everything = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
    await git.run("fetch", "--quiet", "--", url, *everything)
    found = await git.run("rev-parse", "--verify", "--end-of-options", f"{wanted}^{{commit}}", fails=False)
    if not found:
        raise NotFound(f"{url}: there is no branch, tag or commit {wanted}")
    return found.strip()


def _looks_like_commit(ref: str) -> bool:
    return 4 <= len(ref) <= 64 and all(letter in "0123456789abcdef" for letter in ref)


def _arrange(place: Path, directory: Path, source: GitSource, keeps_git: bool) -> None:
    """Move what was asked for to ``directory`` itself."""
    wanted = place / source.subdirectory if source.subdirectory else place
    try:
        real = wanted.resolve(strict=True)
    except OSError:
        real = place.parent
    if real != place.resolve() and place.resolve() not in real.parents:
        raise NotFound(f"{source.url}: the repository has no directory {source.subdirectory}")
    if not real.is_dir():
        raise NotFound(f"{source.url}: {source.subdirectory} is no directory")
    if not keeps_git:
        for path in [place / ".git", *place.rglob(".git")]:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    for path in list(real.iterdir()):
        path.rename(directory / path.name)
    shutil.rmtree(place)
