"""This terminal in raw mode, and the signals that matter while it is."""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # the module without its enums
import os
import termios

from composer.cli.terminals.terminal import size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType
    from typing import Any

_IFLAG, _OFLAG, _CFLAG, _LFLAG, _ISPEED, _OSPEED, _CC = range(7)


class RawTerminal:
    """With it every key goes to the process, Ctrl-C too (cfmakeraw, termios(3)). Leaving restores what was, and so does
    a signal that ends this command.

    ``resize`` is called with rows and columns when the terminal's size changes (SIGWINCH).
    """

    def __init__(self, resize: Callable[[int, int], None] | None) -> None:
        self._resize = resize
        self._saved: list[Any] | None = None
        self._handler: Any = None
        self._ends: list[int] = []

    def __enter__(self) -> RawTerminal:
        self._saved = termios.tcgetattr(0)
        for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
            if signal.getsignal(number) == signal.SIG_DFL:
                signal.signal(number, self._on_end)
                self._ends.append(number)
        raw = list(self._saved)
        raw[_CC] = list(raw[_CC])
        raw[_IFLAG] &= ~(
            termios.IGNBRK
            | termios.BRKINT
            | termios.PARMRK
            | termios.ISTRIP
            | termios.INLCR
            | termios.IGNCR
            | termios.ICRNL
            | termios.IXON
        )
        raw[_OFLAG] &= ~termios.OPOST
        raw[_LFLAG] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        raw[_CFLAG] = raw[_CFLAG] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
        raw[_CC][termios.VMIN], raw[_CC][termios.VTIME] = 1, 0
        termios.tcsetattr(0, termios.TCSADRAIN, raw)
        if self._resize is not None:
            self._handler = signal.signal(signal.SIGWINCH, self._on_winch)
            self._on_winch()
        return self

    def _on_winch(self, number: int = 0, frame: FrameType | None = None) -> None:
        assert self._resize is not None
        columns, rows = size(0)
        try:
            self._resize(rows, columns)
        except Exception:  # the process is ending: a size no longer matters, and a handler must not fail
            pass

    def _on_end(self, number: int, frame: FrameType | None) -> None:
        self.__exit__(None, None, None)
        os.kill(os.getpid(), number)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handler is not None:
            signal.signal(signal.SIGWINCH, self._handler)
        for number in self._ends:
            signal.signal(number, signal.SIG_DFL)
        if self._saved is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, self._saved)
