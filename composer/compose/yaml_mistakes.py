"""What was meant where YAML cannot be read: a parser's complaint in the words of whoever wrote the file.

A parser notices a mistake when it can go no further, often lines behind it, and speaks of tokens. Here the text around
that place is looked at for the mistakes that people make. What is not among them keeps the parser's words.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Complaint(NamedTuple):
    """What the parser said. Lines and columns count from 1; 0 when it named none."""

    problem: str
    line: int
    column: int
    context: str = ""
    context_line: int = 0
    context_column: int = 0


class Mistake(NamedTuple):
    """What is wrong, where, and what to do about it."""

    message: str
    line: int
    column: int
    hint: str = ""


_CONFLICT = re.compile(r"(?:<{7}|={7}|>{7})(?: |$)")
_ODD_SPACE = re.compile("[\u00a0\u2000-\u200b\u202f\u3000\ufeff]")
_INDENT = re.compile("[ \t\u00a0\u2000-\u200b\u202f\u3000\ufeff]*")
_TIGHT = re.compile(r"\s*(?:- +)?([A-Za-z_][\w.-]*):(?=[^\s/:])(.+)")
"""``key:value``"""
_WORD = re.compile(r"\s*(?:- +)?([A-Za-z_][\w.-]*)\s*(?:#.*)?\Z")
_PAIR = re.compile(r"(\s*(?:- +)?)([A-Za-z_][\w.-]*) +([^\s:#].*)")
_KEYED = re.compile(r"\s*(?:- +)*(?:\"[^\"]*\"|'[^']*'|[^\s:#\"'][^:#]*?)\s*:(?:\s+|$)")
_VALUE = re.compile(r"\s*(?:- +)*(?:[^\s:#\"'][^:#]*?:\s+)?(.*?)\s*(?:\s#.*)?\Z")
_ASIDE = re.compile(r"\"[^\"]*\"|'[^']*'|(?:^|(?<=\s))#.*")
"""What brackets mean nothing in: quoted text and comments."""
_NAMES = {"[": "]", "{": "}"}


def diagnose(text: str, complaint: Complaint) -> Mistake:
    """The mistake behind ``complaint`` about ``text``."""
    lines = text.splitlines()
    for rule in _RULES:
        found = rule(lines, complaint)
        if found is not None:
            return found
    said = " ".join(part for part in (complaint.problem, complaint.context) if part)
    return Mistake(said, complaint.line, complaint.column)


def _line(lines: list[str], number: int) -> str:
    return lines[number - 1] if 0 < number <= len(lines) else ""


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _is_blank(line: str) -> bool:
    stripped = line.strip()
    return not stripped or stripped.startswith("#")


def _above(lines: list[str], number: int) -> int:
    """The nearest line above ``number`` that says something; 0 when there is none."""
    number = min(number, len(lines) + 1) - 1
    while number > 0 and _is_blank(_line(lines, number)):
        number -= 1
    return max(number, 0)


def _quoted(value: str) -> str:
    return f'"{value}"' if '"' not in value and "\\" not in value else f"'{value}'"


def _foreign(lines: list[str], said: Complaint) -> Mistake | None:
    """Lines of other languages: marks of a merge conflict, fences of Markdown."""
    for number, line in enumerate(lines[: said.line + 1], 1):
        if _CONFLICT.match(line):
            return Mistake(
                "a merge conflict is left in the file",
                number,
                1,
                "keep one of the two sides, and take out the lines with <<<<<<<, ======= and >>>>>>>",
            )
        if line.startswith("```"):
            return Mistake("``` is Markdown and not YAML", number, 1, "take the line out")
    return None


def _blanks(lines: list[str], said: Complaint) -> Mistake | None:
    """Tabs, and spaces that only look like some, in front of a line."""
    first = said.context_line if 0 < said.context_line < said.line else _above(lines, said.line)
    for number in range(max(first, 1), said.line + 1):
        found = _INDENT.match(_line(lines, number))
        indent = found[0] if found else ""
        if "\t" in indent and not _is_blank(_line(lines, number)):
            return Mistake(
                "a tab in the indentation",
                number,
                indent.index("\t") + 1,
                "indent with spaces: YAML allows no tabs there",
            )
        odd = _ODD_SPACE.search(indent)
        if odd is not None:
            return Mistake(
                f"a character that only looks like a space (U+{ord(odd[0]):04X}) in the indentation",
                number,
                odd.start() + 1,
                "indent with plain spaces; such characters come from copying",
            )
    return None


def _first_character(lines: list[str], said: Complaint) -> Mistake | None:
    """Text that begins with a character that means something."""
    line = _line(lines, said.line)
    if said.problem.startswith("found character that cannot start any token"):
        column = said.column
    elif said.context in ("while scanning an alias", "while scanning an anchor", "while scanning a tag"):
        column = said.context_column
        line = _line(lines, said.context_line)
    else:
        return None
    value = line[column - 1 :].strip()
    if not value or value[0] not in "@`%*&!":
        return None
    return Mistake(
        f"text cannot begin with {value[0]}, which means something in YAML",
        said.context_line or said.line,
        column,
        f"quote it: {_quoted(value)}",
    )


def _backslash(lines: list[str], said: Complaint) -> Mistake | None:
    if said.context != "while parsing a quoted scalar" and said.context != "while scanning a quoted scalar":
        return None
    if "escape" not in said.problem and "hexdecimal" not in said.problem:
        return None
    line = _line(lines, said.line)
    column = line.rfind("\\", 0, said.column) + 1 or said.column
    hint = "within single quotes it is an ordinary character; within double quotes write it twice"
    return Mistake('a backslash within "double quotes" begins an escape sequence', said.line, column, hint)


def _quotes(lines: list[str], said: Complaint) -> Mistake | None:
    """A quotation mark that is not closed, or that closes before the text ends."""
    if said.problem == "found unexpected end of stream" and "quoted" in said.context:
        return Mistake(
            "a quotation mark is not closed",
            said.context_line,
            said.context_column,
            "close it at the end of the value",
        )
    if not said.problem.startswith("did not find expected"):
        return None
    before = _line(lines, said.line)[: said.column - 1].rstrip()
    if not before.endswith(("'", '"')):
        return None
    quote = before[-1]
    opening = before.find(quote)
    if opening < len(before) - 1 and before.count(quote) % 2 == 0:
        rest = _line(lines, said.line)[opening:].strip()
        if quote == "'":
            hint = f"use the other quotation marks around it, or write '' for an apostrophe: {rest}"
        else:
            hint = "put all of the value within the quotation marks, or none"
        return Mistake("text stands behind a closing quotation mark", said.line, said.column, hint)
    for number in range(said.line - 1, max(said.context_line - 1, 0), -1):
        line = _line(lines, number)
        if line.count(quote) % 2:
            column = line.rfind(quote) + 1
            return Mistake(
                "a quotation mark is not closed", number, column, "close it at the end of the value"
            )
    return None


def _brackets(lines: list[str], said: Complaint) -> Mistake | None:
    """``[`` and ``{``: not closed, or without a comma."""
    if said.context not in ("while parsing a flow sequence", "while parsing a flow mapping"):
        return None
    opening = _line(lines, said.context_line)[said.context_column - 1 : said.context_column]
    if opening not in _NAMES:
        return None
    after = _line(lines, said.context_line)[said.context_column :]
    if opening == "{" and after.startswith("{"):
        return Mistake(
            "{{ begins a mapping within a mapping",
            said.context_line,
            said.context_column,
            "templates of other tools are not replaced here; text with braces in front is quoted",
        )
    here = _line(lines, said.line)[said.column - 1 : said.column]
    if said.line > said.context_line or not here:
        return Mistake(
            f"{opening} is not closed",
            said.context_line,
            said.context_column,
            f"close it with {_NAMES[opening]}",
        )
    if here in "]}":
        return Mistake(
            f"{here} does not close {opening}", said.line, said.column, f"close it with {_NAMES[opening]}"
        )
    if here == "{" and _line(lines, said.line)[: said.column - 1].endswith("$"):
        return Mistake("${…} in braces has to be quoted", said.line, said.column - 1, 'write "${…}"')
    return Mistake("a comma is missing here", said.line, said.column, "items are separated by commas")


def _open_end(lines: list[str], said: Complaint) -> Mistake | None:
    """``[`` and ``{`` that nothing follows, and commas that nothing stands in front of."""
    if said.problem != "did not find expected node content" or said.context != "while parsing a flow node":
        return None
    if _line(lines, said.line)[said.column - 1 : said.column] == ",":
        return Mistake("nothing stands in front of the comma", said.line, said.column, "take it out")
    if said.line <= len(lines) and _line(lines, said.line)[said.column - 1 :].strip():
        return None
    closed = 0
    for number in range(min(said.line, len(lines)), 0, -1):
        line = _ASIDE.sub(lambda found: " " * len(found[0]), _line(lines, number))
        for column in range(len(line), 0, -1):
            character = line[column - 1]
            if character in "]}":
                closed += 1
            elif character in _NAMES and closed:
                closed -= 1
            elif character in _NAMES:
                close = _NAMES[character]
                return Mistake(f"{character} is not closed", number, column, f"close it with {close}")
    return None


def _second_colon(lines: list[str], said: Complaint) -> Mistake | None:
    """``: `` where no key may be: in a value, or because the line above is not what it was meant to be."""
    if said.problem != "mapping values are not allowed in this context":
        return None
    line = _line(lines, said.line)
    keyed = _KEYED.match(line)
    if keyed is not None and keyed.end() < said.column:
        value = line[keyed.end() :].strip()
        return Mistake(
            "a second colon with a space behind it, in a value without quotation marks",
            said.line,
            said.column,
            f"quote the value: {_quoted(value)}",
        )
    above = _above(lines, said.line)
    return _not_a_key(lines, above) or _deeper(lines, above, said.line)


def _not_a_key(lines: list[str], number: int) -> Mistake | None:
    """A line that lacks a colon, or the space behind it."""
    line = _line(lines, number)
    if _KEYED.match(line):
        return None
    if tight := _TIGHT.match(line):
        return Mistake(
            "there is no space behind the colon",
            number,
            tight.end(1) + 1,
            f"{tight[1]}: {tight[2].strip()}",
        )
    if word := _WORD.match(line):
        return Mistake(f"a colon is missing behind {word[1]}", number, word.end(1) + 1, f"{word[1]}:")
    if pair := _PAIR.match(line):
        return Mistake(
            f"a colon is missing behind {pair[2]}", number, pair.end(2) + 1, f"{pair[2]}: {pair[3].strip()}"
        )
    return None


def _deeper(lines: list[str], above: int, number: int) -> Mistake | None:
    upper, line = _line(lines, above), _line(lines, number)
    if not above or _indent(line) <= _indent(upper):
        return None
    return Mistake(
        f"indented deeper than line {above}, which has a value already",
        number,
        _indent(line) + 1,
        f"begin it below the first letter of {upper.split(':')[0].strip(' -')}",
    )


def _tight_colon(lines: list[str], said: Complaint) -> Mistake | None:
    if said.problem != "found unexpected ':'":
        return None
    hint = 'put a space behind it when a key without a value is meant, and quotation marks around text: "a:"'
    return Mistake("a colon that nothing follows", said.line, said.column, hint)


def _no_colon(lines: list[str], said: Complaint) -> Mistake | None:
    if said.problem != "could not find expected ':'":
        return None
    return _not_a_key(lines, said.context_line)


def _dash(lines: list[str], said: Complaint) -> Mistake | None:
    if said.problem != "block sequence entries are not allowed in this context":
        return None
    return Mistake(
        "a list item behind a key", said.line, said.column, "the list begins on the next line, or is [a, b]"
    )


def _indentation(lines: list[str], said: Complaint) -> Mistake | None:
    """A line that begins where nothing above it begins, or that is an item among keys."""
    if said.context not in ("while parsing a block mapping", "while parsing a block collection") and (
        said.problem != "did not find expected <document start>"
    ):
        return None
    line = _line(lines, said.line)
    if said.column != _indent(line) + 1:
        return None
    is_item = line.lstrip().startswith("- ") or line.strip() == "-"
    ended = _ending_line(lines, said.line)
    if ended and not _fits(lines, said.line):
        upper = _line(lines, ended)
        return Mistake(
            f"indented by {_spaces(_indent(line))}, where no line above begins: line {ended}"
            f" ({upper.strip()[:40]}) is indented by {_spaces(_indent(upper))}",
            said.line,
            said.column,
            "lines of one block begin in the same column: indent one of the two like the other",
        )
    if said.context_line and is_item and said.context == "while parsing a block mapping":
        return Mistake(
            "a list item among keys",
            said.line,
            said.column,
            f"line {said.context_line} begins a mapping: take the dash away, or indent the item below its own key",
        )
    if said.context_line and not is_item and said.context == "while parsing a block collection":
        return Mistake(
            "a key among list items",
            said.line,
            said.column,
            f"line {said.context_line} begins a list: take the dashes away, or indent the key differently",
        )
    return None


def _spaces(number: int) -> str:
    return "1 space" if number == 1 else f"{number or 'no'} spaces"


def _stack(lines: list[str], number: int) -> list[int]:
    """Columns where blocks that are open above ``number`` begin."""
    stack: list[int] = []
    for line in lines[: number - 1]:
        if _is_blank(line):
            continue
        indent = _indent(line)
        while stack and stack[-1] > indent:
            stack.pop()
        if not stack or stack[-1] < indent:
            stack.append(indent)
    return stack


def _fits(lines: list[str], number: int) -> bool:
    return _indent(_line(lines, number)) in _stack(lines, number)


def _ending_line(lines: list[str], number: int) -> int:
    """The nearest line above that is indented otherwise and less, or else the nearest of all."""
    indent = _indent(_line(lines, number))
    for above in range(number - 1, 0, -1):
        if not _is_blank(_line(lines, above)) and _indent(_line(lines, above)) < indent:
            return above
    return _above(lines, number)


_RULES = (
    _foreign,
    _blanks,
    _first_character,
    _backslash,
    _brackets,
    _open_end,
    _quotes,
    _second_colon,
    _no_colon,
    _tight_colon,
    _dash,
    _indentation,
)
