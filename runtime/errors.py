"""The one root of errors meant for people.

Raise where most is known, add context on the way up with :meth:`ComposerError.within`, print once at the edge.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self


class Location:
    """A place in a text file. ``line`` and ``column`` count from 1; 0 means unknown.

    ``path`` is the dotted path of the value, for instance ``services.web.ports[0]``; ``text`` is the line itself,
    without its line end, for showing under the message. (No dataclass: each command would pay for its import.)
    """

    __slots__ = ("column", "file", "line", "path", "text")

    def __init__(self, file: str, line: int = 0, column: int = 0, path: str = "", text: str = "") -> None:
        self.file = file
        self.line = line
        self.column = column
        self.path = path
        self.text = text

    def _key(self) -> tuple[str, int, int, str, str]:
        return self.file, self.line, self.column, self.path, self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Location) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"Location{self._key()!r}"

    def __str__(self) -> str:
        return ":".join([self.file, *(str(n) for n in (self.line, self.column) if n)])


class ComposerError(Exception):
    """Something a person can act on.

    ``message`` says what is wrong, ``hint`` what to do about it, ``locations`` where (innermost first), and
    ``exit_status`` what the command ends with. ``status`` is the HTTP status the engine's API answers with.
    """

    exit_status: int = 1
    status: int = 500
    errors: tuple[ComposerError, ...] = ()
    """All that was found in the run, when it is more than one thing; the message has them, too."""
    about: str = ""
    """Which value of the configuration is to blame, as a dotted path from what the error speaks of (``ports``): who
    knows the file that it came from finds the place."""

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        exit_status: int | None = None,
        status: int | None = None,
        locations: tuple[Location, ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.locations = locations
        if exit_status is not None:
            self.exit_status = exit_status
        if status is not None:
            self.status = status

    def pointing_at(self, about: str) -> Self:
        """Say which value is to blame (put before what is known already), and return self to be raised."""
        self.about = f"{about}.{self.about}".removesuffix(".")
        return self

    def within(self, context: str) -> ComposerError:
        """Put ``context`` before the message ("while pulling postgres:16"), and return self to be raised."""
        self.message = f"{context}: {self.message}"
        self.args = (self.message,)
        return self


class concerning:
    """``with concerning("ports"):`` makes errors raised inside be about that value."""

    __slots__ = ("_about",)

    def __init__(self, about: str) -> None:
        self._about = about

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, ComposerError):
            error.pointing_at(self._about)


class ConnectionLost(ComposerError):
    """The engine has closed the connection in the middle of something."""


class NotFound(ComposerError):
    """What was named does not exist."""

    status = 404


class Conflict(ComposerError):
    """The request contradicts the present state (name taken, still running, in use)."""

    status = 409


class InvalidArgument(ComposerError):
    """The request itself is wrong."""

    status = 400
