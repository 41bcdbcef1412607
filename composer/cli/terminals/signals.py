"""Signals to this command that go on to a container's main process."""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # the module without its enums

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType
    from typing import Any

_NAMES = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGTERM", "SIGALRM", "SIGCONT")
PASSED: dict[int, str] = {getattr(signal, name): name for name in _NAMES}
"""Numbers and names of the signals that are passed on."""


class SignalProxy:
    """While it is entered, signals call ``send`` with their name instead of ending this command."""

    def __init__(self, send: Callable[[str], None]) -> None:
        self._send = send
        self._saved: dict[int, Any] = {}

    def __enter__(self) -> SignalProxy:
        for number in PASSED:
            self._saved[number] = signal.signal(number, self._on_signal)
        return self

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        try:
            self._send(PASSED[number])
        except Exception:  # it has ended meanwhile; what it ended with is about to be read
            pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._saved.items():
            signal.signal(number, handler)
