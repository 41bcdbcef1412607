"""The gzip form of a stream."""

from __future__ import annotations

import io
import random

import pytest

from runtime.image.compression import Compressing, decompressed


class _Pieces:
    """A source that gives ``size`` bytes at once, whatever it is asked for."""

    def __init__(self, data: bytes, size: int) -> None:
        self._data, self._size = data, size

    def read(self, size: int, /) -> bytes:
        count = min(size, self._size)
        piece, self._data = self._data[:count], self._data[count:]
        return piece


def _whole(source: Compressing) -> bytes:
    return b"".join(iter(lambda: source.read(-1), b""))


@pytest.mark.parametrize("level", [None, 6])
def test_what_pieces_a_stream_comes_in_makes_no_difference(level: int | None) -> None:
    chance = random.Random(1)
    data = b"".join(chance.choice((b"some words, ", b"others. ", b"0" * 64)) for _ in range(200_000))
    first = _whole(Compressing(_Pieces(data, len(data)), level))
    for size in (1000, 4096, (1 << 20) + 1):
        assert _whole(Compressing(_Pieces(data, size), level)) == first
    assert decompressed(io.BytesIO(first)).read(-1) == data
