"""Splitting the string form of a command into words, with the rules that Docker Compose has for it.

Not a shell's: nothing is expanded, and an unquoted ``;``, ``&``, ``|``, ``<`` or ``>`` ends the command, so
``a && b`` is ``a``. A command that needs a shell says so (``sh -c "a && b"``).
"""

from __future__ import annotations

_SPACES = " \t\r\n"
_ENDS = ";&|<>"
_ESCAPES = {"t": "\t", "n": "\n"}
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _-./=:,@%+*?[]{}~^!#$")


def shell_words(line: str) -> list[str]:
    """The words of ``line``. Raises ValueError for an open quote or a stray parenthesis.

    >>> shell_words("echo 'a b' c\\\\ d && e")
    ['echo', 'a b', 'c d']
    """
    if _PLAIN.issuperset(line):
        return line.split()
    words: list[str] = []
    word = ""
    has_word = False
    quote = ""
    """What is open: a quote, a backquote or "(" for ``$(``."""
    position, count = 0, len(line)
    while position < count:
        char = line[position]
        position += 1
        if char == "\\" and quote != "'":
            if position == count:
                raise ValueError("the command ends with a backslash")
            char = line[position]
            position += 1
            word += "\\" + char if quote in ("`", "(") and quote else _ESCAPES.get(char, char)
            has_word = True
        elif char in _SPACES:
            if quote:
                word += char
            elif has_word:
                words.append(word)
                word, has_word = "", False
        elif char in "\"'" and quote in ("", char):
            has_word = has_word or bool(quote)
            quote = "" if quote else char
        elif char == "`" and quote in ("", "`"):
            word += char
            has_word = True
            quote = "" if quote else char
        elif char == "(" and quote in ("", "("):
            if quote or not word.endswith("$"):
                raise ValueError("a parenthesis that is not quoted")
            word += char
            quote = "("
        elif char == ")" and quote in ("", "("):
            if not quote:
                raise ValueError("a parenthesis that is not quoted")
            word += char
            quote = ""
        elif char in _ENDS and not quote:
            if char == ">" and word[:1].isdigit():
                has_word = False
            break
        else:
            word += char
            has_word = True
    if quote:
        raise ValueError(
            f"the quote {quote} is not closed" if quote != "(" else "the parenthesis is not closed"
        )
    if has_word:
        words.append(word)
    return words
