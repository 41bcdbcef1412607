"""``completion``: scripts for shells, and what they ask: which words may come next."""

from __future__ import annotations

from composer.cli.arguments import Command, Flag, UsageError, parse
from composer.cli.commands import COMMANDS as TOP
from composer.cli.commands import FAMILIES, GLOBAL_FLAGS, HIDDEN, command, family

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from composer.cli.arguments import Arguments
    from composer.cli.session import Session

    Candidate = tuple[str, str]

FILES = ":files"
"""The answer when the shell completes better than we do."""

BASH = """\
_composer() {
    local IFS=$'\\n' line
    COMPREPLY=()
    for line in $(composer __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null); do
        if [ "$line" = :files ]; then
            compopt -o default
            return
        fi
        COMPREPLY+=("${line%%$'\\t'*}")
    done
}
complete -F _composer composer
"""
ZSH = """\
#compdef composer
_composer() {
    local -a found
    local line
    for line in "${(@f)$(composer __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        if [[ $line == :files ]]; then
            _files
            return
        fi
        [[ -n $line ]] && found+=("${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}")
    done
    _describe composer found
}
if [ "$funcstack[1]" = _composer ]; then
    _composer "$@"
else
    compdef _composer composer
fi
"""
FISH = """\
function __composer_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l found (composer __complete -- $words[2..] "$current" 2>/dev/null)
    if test "$found" = :files
        __fish_complete_path "$current"
    else
        printf '%s\\n' $found
    end
end
complete -c composer -f -a '(__composer_complete)'
"""
SCRIPTS = {"bash": BASH, "fish": FISH, "zsh": ZSH}
CHOICES = {
    "ansi": ("never", "always", "auto"),
    "progress": ("auto", "tty", "plain", "json", "quiet"),
    "pull": ("always", "missing", "never", "build"),
    "rmi": ("local", "all"),
}
"""Values of flags, whatever command they belong to."""

_THINGS = ("SERVICE", "CONTAINER", "VOLUME", "NETWORK", "IMAGE")


def run_completion(session: Session, arguments: Arguments) -> int:
    shell = arguments.words[0]
    if shell not in SCRIPTS:
        raise UsageError(f'there is no completion for "{shell}"', hint="bash, fish or zsh")
    session.write(SCRIPTS[shell])
    return 0


def run_complete(session: Session, arguments: Arguments) -> int:
    """Candidates for the last word, one a line with what it is; nothing when anything goes wrong."""
    words = arguments.words or [""]
    found, things = candidates(words)
    if things:
        found = [(name, things.lower()) for name in _names(words, things)]
    current = words[-1]
    session.write(
        "".join(
            f"{word}\t{about}\n" if about else f"{word}\n" for word, about in found if _fits(word, current)
        )
    )
    return 0


def _fits(word: str, current: str) -> bool:
    return word == FILES or word.startswith(current)


def candidates(words: Sequence[str]) -> tuple[list[Candidate], str]:
    """What may stand for the last of ``words`` (which are behind ``composer``); or no candidates and the kind of
    thing whose names may (``SERVICE``, ``CONTAINER`` ...)."""
    before, current = list(words[:-1]), words[-1]
    start, pending = _first_word(before, GLOBAL_FLAGS)
    if start == len(before):
        if pending or current.startswith("-"):
            return _flags(GLOBAL_FLAGS, pending), ""
        tops = [
            (name, text)
            for name, (where, text) in TOP.items()
            if where != "unavailable" and name not in HIDDEN
        ]
        return tops + [(name, text) for name, (where, text) in FAMILIES.items() if where != "unavailable"], ""
    name, rest = before[start], before[start + 1 :]
    if name in FAMILIES:
        table = family(name)
        if not rest:
            return [(key, entry.summary) for key, entry in table.items() if not entry.refusal], ""
        entry, rest = table.get(rest[0]), rest[1:]
    else:
        entry = command(name) if name in TOP else None
    return ([], "") if entry is None else _of_command(entry, rest, current)


def _of_command(entry: Command, before: list[str], current: str) -> tuple[list[Candidate], str]:
    start, pending = _first_word(before, entry.flags)
    while entry.is_interspersed and start < len(before):
        before = before[start + 1 :]
        start, pending = _first_word(before, entry.flags)
    if start < len(before):
        return [(FILES, "")], ""  # the words of a command inside a container
    if pending or current.startswith("-"):
        return _flags(entry.flags, pending), ""
    if entry.usage.startswith("completion"):
        return [(shell, "") for shell in SCRIPTS], ""
    kind = next((kind for kind in _THINGS if kind in entry.usage), "")
    return ([], kind) if kind else ([(FILES, "")], "")


def _first_word(words: Sequence[str], flags: Sequence[Flag]) -> tuple[int, Flag | None]:
    """Where the first word stands that is no flag nor a flag's value, and the flag whose value is still to come."""
    by_name = {f"--{flag.name}": flag for flag in flags} | {f"-{flag.short}": flag for flag in flags}
    position = 0
    while position < len(words):
        word = words[position]
        if not word.startswith("-"):
            return position, None
        flag = by_name.get(word)
        position += 1
        if flag is not None and flag.kind:
            if position == len(words):
                return position, flag
            position += 1
    return position, None


def _flags(flags: Sequence[Flag], pending: Flag | None) -> list[Candidate]:
    if pending is not None:
        return [(choice, "") for choice in CHOICES.get(pending.name, (FILES,))]
    return [(f"--{flag.name}", flag.help) for flag in flags if not (flag.is_hidden or flag.refusal)]


def _names(words: Sequence[str], things: str) -> list[str]:
    """Names of services of the project here, or of what the engine has."""
    import os
    import time

    from composer.api.client import API
    from composer.cli.session import Session
    from runtime.errors import ComposerError

    try:
        session = Session(
            parse(list(words[:-1]), GLOBAL_FLAGS, is_interspersed=False), os.environ, time.time()
        )
        if things == "SERVICE":
            body = {"project": session.source()}
            answer = session.client.request("POST", "/composer/v1/projects/resolve", body=body).json()
            return [service["Name"] for service in answer["Services"]]
        if things == "CONTAINER":
            found = session.client.request("GET", f"{API}/containers/json", {"all": True}).json()
            return sorted(item["Names"][0].lstrip("/") for item in found)
        if things == "VOLUME":
            found = session.client.request("GET", f"{API}/volumes").json()["Volumes"] or []
            return sorted(item["Name"] for item in found)
        if things == "NETWORK":
            return sorted(item["Name"] for item in session.client.request("GET", f"{API}/networks").json())
        images = session.client.request("GET", f"{API}/images/json").json()
        return sorted(tag for image in images for tag in image.get("RepoTags") or ())
    except (ComposerError, OSError, UsageError):
        return []  # a shell that completes shows no errors


COMMANDS = {
    "completion": Command(
        "completion bash|fish|zsh",
        "Print a shell's completion script",
        run_completion,
        at_least=1,
        at_most=1,
        needs_root=False,
        details="Load it with `source <(composer completion bash)`, or `composer completion fish | source`.",
    ),
    "__complete": Command(
        "__complete -- [WORD...]",
        "What shells ask to complete a word",
        run_complete,
        is_interspersed=False,
        needs_root=False,
    ),
}
