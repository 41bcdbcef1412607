"""How a process on its way into a container says why it could not get there. Standard library only."""

from __future__ import annotations

import errno as numbers
import os
from typing import Any

ENGINE = 125
CANNOT_EXECUTE = 126
NOT_FOUND = 127
"""Docker's exit statuses of a container that could not be started."""


class Failure(Exception):
    """What failed (``step``), why, and the exit status that it makes."""

    def __init__(self, step: str, errno: int, message: str, exit_code: int = ENGINE, hint: str = "") -> None:
        super().__init__(message)
        self.step = step
        self.errno = errno
        self.message = message
        self.exit_code = exit_code
        self.hint = hint
        """The way out, where the step knows it; else it follows from ``step`` and ``errno``."""

    def as_message(self) -> dict[str, Any]:
        told = {"step": self.step, "errno": self.errno, "message": self.message, "exit_code": self.exit_code}
        return told | ({"hint": self.hint} if self.hint else {})


def reason_of(error: BaseException) -> str:
    """In words: the system's own for what it has refused, an exception's name for a mistake of ours."""
    if isinstance(error, MemoryError):
        return os.strerror(numbers.ENOMEM)
    return getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"


def errno_of(error: BaseException) -> int:
    """0 for what the system has not refused."""
    return numbers.ENOMEM if isinstance(error, MemoryError) else getattr(error, "errno", None) or 0


class step:
    """``with step("name"):`` turns any error inside into a :class:`Failure` of that step, with ``exit_code``."""

    __slots__ = ("_exit_code", "_name")

    def __init__(self, name: str, exit_code: int = ENGINE) -> None:
        self._name = name
        self._exit_code = exit_code

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, Failure) or not isinstance(error, Exception):
            return
        if isinstance(error, LookupError) and not isinstance(error, (KeyError, IndexError)):
            # What was looked up in the image is not there; the message says all.
            raise Failure(self._name, 0, str(error), self._exit_code) from None
        if isinstance(error, MemoryError):
            error = OSError(numbers.ENOMEM, os.strerror(numbers.ENOMEM))
        if not isinstance(error, OSError):
            text = f"{self._name}: {type(error).__name__}: {error}"
            raise Failure(self._name, 0, text, self._exit_code) from None
        text = error.strerror or str(error)
        if error.filename is not None and str(error.filename) not in self._name:
            text = f"{error.filename!s}: {text}"
        hint = getattr(error, "hint", "")
        raise Failure(self._name, error.errno or 0, f"{self._name}: {text}", self._exit_code, hint) from None
