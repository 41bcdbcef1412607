"""Command lines as data: flags and commands are tables, and one small parser reads words by them.

It follows pflag, which Docker's commands use: ``--flag=value``, ``--flag value``, ``-abc``, ``-n5``, ``--``,
words between flags unless the command ends its own options with its first word (exec, run). argparse would
cost more than the rest of a short command, so nothing but builtins is imported here.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from composer.cli.session import Session

    Value = bool | int | str | list[str]
    Run = Callable[[Session, "Arguments"], int]

REPEATED = frozenset(
    {"stringArray", "list", "strings", "map", "scale", "filter", "ulimit", "mount", "network"}
)
"""Kinds of value that may be given several times; ``strings`` may also be separated by commas."""

_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


class Flag:
    """One option. ``kind`` is Docker's name for the type of its value, "" for a switch. ``refusal`` says why
    it is not available: giving it is an error. ``is_hidden``: accepted, not in the help. ``word``: what a switch may be
    besides on and off."""

    __slots__ = ("default", "help", "is_hidden", "kind", "name", "refusal", "short", "word")

    def __init__(
        self,
        name: str,
        short: str = "",
        kind: str = "",
        help: str = "",
        default: str = "",
        *,
        refusal: str = "",
        is_hidden: bool = False,
        word: str = "",
    ) -> None:
        self.word = word
        self.name = name
        self.short = short
        self.kind = kind
        self.help = help
        self.default = default
        self.refusal = refusal
        self.is_hidden = is_hidden

    @property
    def label(self) -> str:
        """As messages name it: ``-t, --timeout``."""
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"


class Command:
    """One command. ``usage`` is what follows the program's name; ``at_most`` None is any number of words."""

    __slots__ = (
        "at_least",
        "at_most",
        "details",
        "flags",
        "is_interspersed",
        "needs_root",
        "refusal",
        "run",
        "summary",
        "usage",
    )

    def __init__(
        self,
        usage: str,
        summary: str,
        run: Run | None,
        flags: tuple[Flag, ...] = (),
        *,
        at_least: int = 0,
        at_most: int | None = None,
        is_interspersed: bool = True,
        details: str = "",
        refusal: str = "",
        needs_root: bool = True,
    ) -> None:
        self.usage = usage
        self.summary = summary
        self.run = run
        self.flags = flags
        self.at_least = at_least
        self.at_most = at_most
        self.is_interspersed = is_interspersed
        self.details = details
        self.refusal = refusal
        self.needs_root = needs_root


class UsageError(Exception):
    """The command line itself is wrong. ``is_flag``: it is about a flag."""

    def __init__(self, message: str, *, hint: str = "", is_flag: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.is_flag = is_flag


class HelpAsked(Exception):
    """``--help`` was given."""


class Arguments:
    """What was given: values by the flag's name, and the words that are not flags."""

    __slots__ = ("_flags", "_values", "words")

    def __init__(self, flags: dict[str, Flag]) -> None:
        self._flags = flags
        self._values: dict[str, Value] = {}
        self.words: list[str] = []

    def has(self, name: str) -> bool:
        """The flag was given."""
        return name in self._values

    def knows(self, name: str) -> bool:
        """The command has such a flag."""
        return name in self._flags

    def is_on(self, name: str) -> bool:
        """A switch, with its default when it was not given."""
        value = self._values.get(name)
        return value is True if value is not None else self._flags[name].default == "true"

    def text(self, name: str, default: str | None = None) -> str:
        """A value given once; ``default`` (or the table's) when it was not."""
        value = self._values.get(name)
        if isinstance(value, str):
            return value
        return self._flags[name].default if default is None else default

    def number(self, name: str) -> int | None:
        """A whole number (or bytes); None when neither given nor in the table."""
        value = self._values.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        default = self._flags[name].default
        return int(default) if default else None

    def list(self, name: str) -> list[str]:
        """Values of a flag that may be repeated, in order."""
        value = self._values.get(name)
        return value if isinstance(value, list) else []

    def _set(self, flag: Flag, text: str) -> None:
        if flag.refusal and not (flag.kind == "" and text in _FALSE):
            raise UsageError(f"--{flag.name} is not available in composer: {flag.refusal}", is_flag=True)
        if flag.kind == "filter" and "=" not in text:
            raise UsageError(
                f'invalid argument "{text}" for "{flag.label}" flag: bad format of filter (expected name=value)',
                is_flag=True,
            )
        if flag.kind in REPEATED:
            values = self._values.setdefault(flag.name, [])
            assert isinstance(values, list)
            values.extend(text.split(",") if flag.kind == "strings" else [text])
        else:
            self._values[flag.name] = _convert(flag, text)


def _convert(flag: Flag, text: str) -> Value:
    if flag.kind == "":
        if text in _TRUE:
            return True
        if text in _FALSE:
            return False
        if flag.word and text == flag.word:
            return text
        raise _invalid(flag, text, f"true{', ' + flag.word if flag.word else ''} or false expected")
    if flag.kind in ("int", "uint16", "uint"):
        try:
            number = int(text, 10)
        except ValueError:
            raise _invalid(flag, text, "a whole number expected") from None
        if (number < 0 and flag.kind != "int") or (flag.kind == "uint16" and number > 65535):
            raise _invalid(flag, text, "out of range")
        return number
    if flag.kind == "bytes":
        from composer.cli.output.units import parse_size

        try:
            size = parse_size(text)
        except ValueError:
            size = -2
        # Only memory and swap together may be without a limit.
        if size < (-1 if flag.name == "memory-swap" else 0):
            raise _invalid(flag, text, f"invalid size: '{text}', such as 512m or 2g are expected")
        return size
    if flag.kind == "decimal":
        try:
            is_number = float(text) - float(text) == 0
        except ValueError:
            is_number = False
        if not is_number:
            raise _invalid(flag, text, f"failed to parse {text} as a rational number")
    return text


def _invalid(flag: Flag, text: str, why: str) -> UsageError:
    return UsageError(f'invalid argument "{text}" for "{flag.label}" flag: {why}', is_flag=True)


def parse(words: Sequence[str], flags: Sequence[Flag], *, is_interspersed: bool = True) -> Arguments:
    """Read ``words`` by a table of flags.

    Raises UsageError for what the table does not have, and HelpAsked for ``--help`` (and ``-h`` when no flag
    of the table is ``-h``).
    """
    by_name = {flag.name: flag for flag in flags}
    by_short = {flag.short: flag for flag in flags if flag.short}
    found = Arguments(by_name)
    position, count = 0, len(words)
    while position < count:
        word = words[position]
        position += 1
        if word == "--":
            found.words.extend(words[position:])
            break
        if len(word) < 2 or word[0] != "-":
            if not is_interspersed:
                found.words.extend(words[position - 1 :])
                break
            found.words.append(word)
            continue
        if word[1] == "-":
            name, has_value, value = word[2:].partition("=")
            flag = by_name.get(name)
            if flag is None:
                if name == "help":
                    raise HelpAsked
                raise UsageError(
                    f"unknown flag: --{name}", hint=_nearest(name, by_name, prefix="--"), is_flag=True
                )
            if not has_value:
                if flag.kind == "":
                    value = "true"
                elif position < count:
                    value = words[position]
                    position += 1
                else:
                    raise UsageError(f"flag needs an argument: --{name}", is_flag=True)
            found._set(flag, value)
            continue
        cluster = word[1:]
        while cluster:
            letter, cluster = cluster[0], cluster[1:]
            flag = by_short.get(letter)
            if flag is None:
                if letter == "h":
                    raise HelpAsked
                raise UsageError(f"unknown shorthand flag: '{letter}' in {word}", is_flag=True)
            if flag.kind == "":
                if cluster.startswith("="):
                    found._set(flag, cluster[1:])
                    break
                found._set(flag, "true")
                continue
            if cluster:
                value = cluster.removeprefix("=")
            elif position < count:
                value = words[position]
                position += 1
            else:
                raise UsageError(f"flag needs an argument: '{letter}' in {word}", is_flag=True)
            found._set(flag, value)
            break
    return found


def parse_command(command: Command, words: Sequence[str]) -> Arguments:
    """Read the words behind a command's name, and count those that are not flags."""
    found = parse(words, command.flags, is_interspersed=command.is_interspersed)
    count = len(found.words)
    if count < command.at_least:
        raise UsageError(
            f"requires at least {command.at_least} arg(s), only received {count}",
            hint=f"usage: composer {command.usage}",
        )
    if command.at_most is not None and count > command.at_most:
        most = command.at_most
        raise UsageError(
            f"accepts at most {most} arg(s), received {count}"
            if most
            else f'unexpected argument "{found.words[0]}"',
            hint=f"usage: composer {command.usage}",
        )
    return found


def _nearest(name: str, known: dict[str, Flag], *, prefix: str = "") -> str:
    from runtime.nearest import nearest

    close = nearest(name, [flag.name for flag in known.values() if not flag.is_hidden])
    return f"did you mean {prefix}{close}?" if close else ""
