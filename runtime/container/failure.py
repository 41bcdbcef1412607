"""How a process on its way into a container says why it could not get there. Standard library only."""

from __future__ import annotations

from typing import Any

ENGINE = 125
CANNOT_EXECUTE = 126
NOT_FOUND = 127
"""Docker's exit statuses of a container that could not be started."""


class Failure(Exception):
    """What failed (``step``), why, and the exit status that it makes."""

    def __init__(self, step: str, errno: int, message: str, exit_code: int = ENGINE) -> None:
        super().__init__(message)
        self.step = step
        self.errno = errno
        self.message = message
        self.exit_code = exit_code

    def as_message(self) -> dict[str, Any]:
        return {"step": self.step, "errno": self.errno, "message": self.message, "exit_code": self.exit_code}


class step:
    """``with step("name"):`` turns any error inside into a :class:`Failure` of that step."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, Failure) or not isinstance(error, Exception):
            return
        if not isinstance(error, OSError):
            raise Failure(self._name, 0, f"{self._name}: {type(error).__name__}: {error}") from None
        text = error.strerror or str(error)
        if error.filename is not None:
            text = f"{error.filename!s}: {text}"
        raise Failure(self._name, error.errno or 0, f"{self._name}: {text}") from None
