"""Blocking every signal for a moment. As ``signal.pthread_sigmask``, which makes an enumeration's member of each signal
of the old mask, 130 for a mask of all and back: a millisecond. Standard library only.
"""

from __future__ import annotations

import ctypes
import os
import signal

_SIZE = 128
"""Bytes of sigset_t, in glibc and musl."""
_ALL = b"\xff" * _SIZE

_libc = ctypes.CDLL(None, use_errno=True)
_pthread_sigmask = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p)(
    ("pthread_sigmask", _libc)
)


class EverySignalBlocked:
    """``with EverySignalBlocked(): ...``"""

    def __enter__(self) -> None:
        self._before = ctypes.create_string_buffer(_SIZE)
        _check(_pthread_sigmask(signal.SIG_SETMASK, _ALL, self._before))

    def __exit__(self, *_: object) -> None:
        _check(_pthread_sigmask(signal.SIG_SETMASK, self._before, None))


def _check(error: int) -> None:
    if error:
        raise OSError(error, f"pthread_sigmask: {os.strerror(error)}")
