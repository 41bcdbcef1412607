"""Values of a project that the file format takes and no container can be made with."""

from __future__ import annotations

from runtime.errors import InvalidArgument


def invalid(path: str, message: str, hint: str = "") -> InvalidArgument:
    """An error about the value at a dotted ``path``: whoever knows the files finds where that was written.

    >>> error = invalid("services.web.restart", 'invalid restart policy "sometimes"')
    >>> error.message, error.about
    ('services.web.restart: invalid restart policy "sometimes"', 'services.web.restart')
    """
    error = InvalidArgument(f"{path}: {message}", hint=hint)
    error.about = path
    return error
