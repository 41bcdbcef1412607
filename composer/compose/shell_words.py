"""Splitting the string form of a command into words, with the rules that Docker Compose has for it.

Not a shell's: nothing is expanded, and an unquoted ``;``, ``&``, ``|``, ``<`` or ``>`` ends the command, so
``a && b`` is ``a``. A command that needs a shell says so (``sh -c "a && b"``).
"""

from __future__ import annotations

_SPACES = " \t\r\n"
_ENDS = ";&|<>"
_LITERAL_IN = {"'": '"(', '"': "'(", "`": "'\"(", "(": "'\"`", ")": "'\"`"}
"""What opens or closes something, and in what else it is an ordinary character."""
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
    inside: set[str] = set()
    """What is open: quotes, a backquote, and "(" for what stands in ``$()``. Two at once are quotes in a backquote."""
    position, count = 0, len(line)
    while position < count:
        char = line[position]
        position += 1
        if char == "\\" and "'" not in inside:
            if position == count:
                raise ValueError("the command ends with a backslash")
            word += line[position]
            position += 1
            has_word = True
        elif char in _SPACES:
            if inside:
                word += char
            elif has_word:
                words.append(word)
                word, has_word = "", False
        elif char in _LITERAL_IN and inside.isdisjoint(_LITERAL_IN[char]):
            if char == "(":
                if "(" in inside or not word.endswith("$"):
                    raise ValueError("a parenthesis that is not quoted")
                inside.add("(")
            elif char == ")":  # one that closes nothing opens: the next closes it
                inside ^= {"("}
            else:
                has_word = has_word or char in inside
                inside ^= {char}
            if char not in "\"'":
                word += char
                has_word = True
        elif char in _ENDS and not inside:
            if char == ">" and word[:1].isdigit():
                has_word = False
            break
        else:
            word += char
            has_word = True
    if inside:
        if inside == {"("}:
            raise ValueError("a parenthesis that is not quoted, or not closed")
        raise ValueError(f"the quote {' and '.join(sorted(inside))} is not closed")
    if has_word:
        words.append(word)
    return words
