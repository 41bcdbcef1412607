"""The keys that leave a container running, as engine and command find them in what is typed."""

from __future__ import annotations

DETACH_LIMIT = 16
"""Keys of a detach sequence."""


class DetachKeys:
    """Finds the key sequence that detaches (``ctrl-p,ctrl-q``) in what a client types.

    ``feed`` returns what is to be passed on, and whether the sequence is complete; keys of a sequence that
    has begun are held back until it is clear that it is none.
    """

    def __init__(self, sequence: bytes) -> None:
        self._sequence = sequence
        self._matched = 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        if not self._sequence:
            return data, False
        passed = bytearray()
        for byte in data:
            if byte != self._sequence[self._matched]:
                passed += self._sequence[: self._matched]
                self._matched = 0
            if byte == self._sequence[self._matched]:
                self._matched += 1
                if self._matched == len(self._sequence):
                    return bytes(passed), True
            else:
                passed.append(byte)
        return bytes(passed), False


def parse_detach_keys(text: str) -> bytes:
    """``ctrl-<a-z or @ [ \\ ] ^ _>`` and single characters, separated by commas. Raises ValueError."""
    keys = bytearray()
    for key in filter(None, text.split(",")):
        if len(key) == 1 and key.isascii():
            keys += key.encode()
        elif key.startswith("ctrl-") and len(key) == 6 and (key[5].isalpha() or key[5] in "@[\\]^_"):
            keys.append(ord(key[5].upper()) & 0x1F)
        else:
            raise ValueError(f"invalid key in detach keys: {key}")
    if len(keys) > DETACH_LIMIT:
        raise ValueError(f"more than {DETACH_LIMIT} detach keys")
    return bytes(keys)


DEFAULT_DETACH_KEYS = parse_detach_keys("ctrl-p,ctrl-q")
