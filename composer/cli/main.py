"""``composer``: read the global options, find the command, run it, and print what went wrong."""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # the module without its enums
import os
import sys
from time import monotonic, time

from composer.cli.arguments import Arguments, Command, Flag, HelpAsked, UsageError, parse
from composer.cli.commands import COMMANDS, DRY_RUN, ELSEWHERE, FAMILIES, GLOBAL_FLAGS, READING, REHEARSED
from composer.cli.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from types import FrameType, TracebackType

INTERRUPTED = 130
"""128 + SIGINT, what shells expect."""
INSISTENCE = 0.5
"""Seconds after an interrupt in which more of them are the same one: ``timeout -s INT`` and others tell a process and
its group."""


class Interrupts:
    """SIGINT while a command runs: KeyboardInterrupt, once. Another one would find whoever is ending because of the
    first anywhere, also where nothing catches it any more. Who insists has the process ended on the spot."""

    __slots__ = ("_since",)

    def __init__(self) -> None:
        self._since = 0.0

    def end(self) -> None:
        """The command has its exit status: from now on, it is as if it had been interrupted already."""
        self._since = self._since or monotonic()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if not self._since:
            self._since = monotonic()
            raise KeyboardInterrupt
        if monotonic() - self._since > INSISTENCE:
            os._exit(INTERRUPTED)


def main(argv: list[str] | None = None) -> int:
    """Run one command line and return its exit status."""
    words = sys.argv[1:] if argv is None else argv
    started = time()
    if None in (sys.stdin, sys.stdout, sys.stderr):
        _open_closed_streams()
    if argv is not None:
        return _run_and_report(words, started)
    sys.excepthook = _end_interrupted
    sys.unraisablehook = _pass_over
    interrupts = Interrupts()
    try:
        # A shell's background job ignores SIGINT at first; Docker's commands end by it all the same.
        signal.signal(signal.SIGINT, interrupts)
        status = _run_and_report(words, started)
        interrupts.end()
    except KeyboardInterrupt:
        status = INTERRUPTED
    _end(status)
    return status


def _end_interrupted(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """``sys.excepthook``: whoever else handles SIGINT meanwhile (trio) may raise more than one."""
    if issubclass(kind, KeyboardInterrupt):
        os._exit(INTERRUPTED)
    sys.__excepthook__(kind, error, trace)


def _pass_over(found: sys.UnraisableHookArgs) -> None:
    """``sys.unraisablehook``: an interrupt where it cannot be raised (a destructor, a weak reference's callback) ends
    the process all the same. That a signal came just while its handler was replaced is nothing to tell of
    (``PyErr_CheckSignals``)."""
    if found.exc_type is KeyboardInterrupt:
        os._exit(INTERRUPTED)
    if found.exc_type is not OSError or found.object is not None:
        sys.__unraisablehook__(found)


def _open_closed_streams() -> None:
    """Whoever started this may have closed standard streams (``<&-``, ``>&-``): they are /dev/null then. Otherwise the
    next descriptor that is opened, the engine's connection, would be one of them."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            os.set_inheritable(number, True)
    sys.stdin = sys.stdin or os.fdopen(0)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")


def _run_and_report(words: list[str], started: float) -> int:
    """An interrupt while something is told is an interrupt as well."""
    try:
        status = _run(words, started)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # Who reads is gone: say nothing, also not when the interpreter flushes at its end.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        return 128 + 13
    except Exception as error:
        return _report(error, _is_debug(words))


def _make_readable(env: MutableMapping[str, str]) -> None:
    """Replace bytes that are no UTF-8, as Docker's commands do: what is sent to the engine is JSON."""
    for name, value in list(env.items()):
        if not value.isascii():
            env[name] = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        if not name.isascii() and not name.isprintable():
            del env[name]


def _is_debug(words: list[str]) -> bool:
    """Whether the global flag was given: ``build --debug`` is something else."""
    try:
        return parse(words, GLOBAL_FLAGS, is_interspersed=False).is_on("debug")
    except (HelpAsked, UsageError):
        return False


def _end(status: int) -> None:
    """End the process without tearing the interpreter down: there is nothing left to do, and it takes a
    while."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        pass
    os._exit(status)


def _run(words: list[str], started: float) -> int:
    python = sys.version_info
    if python < (3, 11):
        return _fail(f"composer needs Python 3.11 or newer; this is {python[0]}.{python[1]}")
    try:
        options = parse(words, GLOBAL_FLAGS, is_interspersed=False)
    except HelpAsked:
        return _print_root_help()
    if options.is_on("version"):
        options.words = ["version"]
    if not options.words or options.words == ["help"]:
        return _print_root_help()
    name, *rest = options.words
    if name == "help":
        name, rest = rest[0], [*rest[1:], "--help"]
    if name == "compose" and rest:  # a habit of Docker's users
        name, *rest = rest
    if name in COMMANDS:
        from composer.cli.commands import command

        return _run_command(command(name), rest, options, started)
    if name in FAMILIES:
        return _run_family(name, rest, options, started)
    return _unknown(name, [*COMMANDS, *FAMILIES])


def _run_family(name: str, words: list[str], options: Arguments, started: float) -> int:
    from composer.cli.commands import apart, family

    if words and (found := apart(name, words[0])) is not None:
        return _run_command(found, words[1:], options, started, flag_error=125)
    table = family(name)
    if words and words[0] in table:
        return _run_command(table[words[0]], words[1:], options, started, flag_error=125)
    if not words or words[0] in ("-h", "--help", "help"):
        from composer.cli.help import group_help

        available = {key: entry for key, entry in table.items() if not entry.refusal} or table
        rows = [(key, entry.summary) for key, entry in available.items() if not _is_alias(key, entry)]
        sys.stdout.write(group_help(f"{name} COMMAND", FAMILIES[name][1], (), [("Commands", rows)]))
        return 0
    if words[0].startswith("-"):
        return _fail(f"unknown flag: {words[0]}", f"see `composer {name} --help`", 125)
    return _unknown(words[0], list(table), name)


def _is_alias(name: str, entry: Command) -> bool:
    return entry.usage.split()[1] != name


def _run_command(
    command: Command, words: list[str], options: Arguments, started: float, flag_error: int = 1
) -> int:
    from composer.cli.arguments import parse_command

    try:
        if command.refusal and not ("--help" in words or "-h" in words):
            return _fail(f"{command.usage.split(' [')[0]} is not available in composer: {command.refusal}")
        name = command.usage.split()[0]
        if not any(flag.name == DRY_RUN.name for flag in command.flags):
            command.flags = (*command.flags, _dry_run_flag(name))
        arguments = parse_command(command, words)
    except HelpAsked:
        from composer.cli.help import command_help

        sys.stdout.write(command_help(command))
        return 0
    except UsageError as error:
        return _fail(
            error.message, _in_front(error.message) or error.hint, flag_error if error.is_flag else 1
        )
    _make_readable(os.environ)
    session = Session(options, os.environ, started)
    if options.is_on("dry-run") or arguments.is_on("dry-run"):
        if name not in REHEARSED | READING:
            return _fail(
                f"--dry-run is not available in composer for `{name}`",
                f"{', '.join(sorted(REHEARSED))} have it",
            )
        session.is_dry_run = True
    if command.needs_root:
        _check_machine()
    _check_options(options)
    assert command.run is not None
    try:
        return command.run(session, arguments)
    except UsageError as error:
        if not error.is_flag:
            raise
        return _fail(error.message, error.hint, flag_error)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        if not session.other_engine():
            raise
        raise UsageError(
            "the engine's answer is not one that this command knows"
        ) from error  # why is told below
    finally:
        session.compare_versions()


def _in_front(message: str) -> str:
    """The hint for a flag that is none of the command's, but goes in front of it."""
    name = message.removeprefix("unknown flag: --")
    if name == message or name not in {flag.name for flag in GLOBAL_FLAGS}:
        return ""
    return f"it goes in front of the command: composer --{name} … COMMAND"


def _dry_run_flag(command: str) -> Flag:
    """In the help of commands that do something with it."""
    return Flag(DRY_RUN.name, help=DRY_RUN.help, is_hidden=command not in REHEARSED)


def _check_machine() -> None:
    """Say plainly what is missing, before anything is tried."""
    if sys.platform != "linux":
        raise UsageError(
            f"composer needs Linux: it is a container runtime of its own, and this is {sys.platform}"
        )
    if os.geteuid() != 0:
        raise UsageError(
            "composer needs root: it makes namespaces, mounts and networks",
            hint="run it with sudo, or as root in a machine or container of your own",
        )


def _check_options(options: Arguments) -> None:
    """Refuse global options with values that cannot be honoured."""
    ansi = options.text("ansi")
    if ansi not in ("never", "always", "auto"):
        raise UsageError(f'invalid value for --ansi: "{ansi}"', hint="never, always or auto", is_flag=True)
    if ansi == "always" and options.text("progress") == "plain":
        raise UsageError("can't use --progress plain while ANSI support is forced", is_flag=True)


def _print_root_help() -> int:
    from composer.cli.commands import HIDDEN, SUMMARY, USAGE
    from composer.cli.help import group_help

    sections = [
        ("Management Commands", [(name, text) for name, (_, text) in FAMILIES.items()]),
        ("Commands", [(name, text) for name, (_, text) in COMMANDS.items() if name not in HIDDEN]),
    ]
    sys.stdout.write(group_help(USAGE, SUMMARY, GLOBAL_FLAGS, sections))
    return 0


def _unknown(name: str, known: list[str], family: str = "") -> int:
    from runtime.nearest import nearest

    close = nearest(name, known)
    hint = f"did you mean {close}?" if close else f"see `composer {family + ' ' if family else ''}--help`"
    if not family and name in ELSEWHERE:
        hint = f"did you mean composer {ELSEWHERE[name]}?"
    return _fail(f'unknown command: "{family + " " if family else ""}{name}"', hint)


def _fail(message: str, hint: str = "", status: int = 1) -> int:
    sys.stdout.flush()
    sys.stderr.write(message + "\n" + (f"  {hint}\n" if hint else ""))
    return status


def _report(error: Exception, is_debug: bool) -> int:
    """Print an error once, at the edge."""
    if isinstance(error, UsageError):
        return _fail(error.message, error.hint)
    from runtime.errors import ComposerError

    if is_debug:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, ComposerError):
        from composer.cli.faults import describe

        return _fail(describe(error), status=error.exit_status)
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return _fail(f"{place}{error.strerror or error}")
    return _fail(
        f"composer itself failed: {type(error).__name__}: {error}",
        "this is a mistake in composer; run it with --debug to see where",
    )


if __name__ == "__main__":
    main()
