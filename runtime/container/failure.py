"""How a process on its way into a container says why it could not get there. Standard library only."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
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


@contextlib.contextmanager
def step(name: str) -> Iterator[None]:
    """Turn any error inside into a :class:`Failure` of the step ``name``."""
    try:
        yield
    except Failure:
        raise
    except OSError as error:
        text = error.strerror or str(error)
        if error.filename is not None:
            text = f"{error.filename!s}: {text}"
        raise Failure(name, error.errno or 0, f"{name}: {text}") from None
    except Exception as error:
        raise Failure(name, 0, f"{name}: {type(error).__name__}: {error}") from None
