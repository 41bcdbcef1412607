"""Help in Docker's layout."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from composer.cli.arguments import Command, Flag

WIDTH = 80


def command_help(command: Command, *, width: int = WIDTH) -> str:
    """Usage, what the command does, and its options."""
    parts = [f"Usage:  composer {command.usage}\n", f"\n{command.summary}\n"]
    if command.details:
        parts.append("\n" + "\n".join(textwrap.wrap(command.details, width)) + "\n")
    if command.refusal:
        parts.append("\n" + "\n".join(textwrap.wrap(f"Not available: {command.refusal}.", width)) + "\n")
    visible = [flag for flag in command.flags if not flag.is_hidden]
    if visible:
        parts.append("\nOptions:\n" + options_help(visible, width=width))
    return "".join(parts)


def group_help(
    usage: str,
    summary: str,
    flags: Sequence[Flag],
    sections: Iterable[tuple[str, Sequence[tuple[str, str]]]],
    *,
    width: int = WIDTH,
) -> str:
    """Help of a command with commands below it: ``sections`` are titles with names and their summaries."""
    parts = [f"Usage:  composer {usage}\n\n{summary}\n"]
    if flags:
        parts.append("\nOptions:\n" + options_help(flags, width=width))
    sections = [(title, rows) for title, rows in sections if rows]
    column = max((len(name) for _, rows in sections for name, _ in rows), default=0)
    for title, rows in sections:
        parts.append(f"\n{title}:\n")
        parts.extend(f"  {name.ljust(column)}  {text}\n" for name, text in rows)
    prefix = usage.split(" [", 1)[0].removesuffix(" COMMAND").removesuffix("COMMAND")
    program = f"composer {prefix}".strip() if prefix else "composer"
    parts.append(f"\nRun '{program} COMMAND --help' for more information on a command.\n")
    return "".join(parts)


def options_help(flags: Sequence[Flag], *, width: int = WIDTH) -> str:
    """The table of options, as pflag lays it out, in order of their names."""
    rows = [(_left(flag), _right(flag)) for flag in sorted(flags, key=lambda flag: flag.name.lower())]
    column = max(len(left) for left, _ in rows) + 3
    lines = []
    for left, right in rows:
        wrapped = textwrap.wrap(right, max(width - column, 24), break_on_hyphens=False) or [""]
        lines.append(f"{left.ljust(column)}{wrapped[0]}".rstrip())
        lines.extend(" " * column + more for more in wrapped[1:])
    return "\n".join(lines) + "\n"


def _left(flag: Flag) -> str:
    short = f"-{flag.short}, " if flag.short else "    "
    return f"  {short}--{flag.name}{f' {flag.kind}' if flag.kind else ''}"


def _right(flag: Flag) -> str:
    text = flag.help
    if flag.refusal:
        text += f" (not available: {flag.refusal})"
    if flag.default and flag.default not in ("0", "false"):
        shown = flag.default if flag.kind in ("", "int", "uint16", "bytes") else f'"{flag.default}"'
        text += f" (default {shown})"
    return text
