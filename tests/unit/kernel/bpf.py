"""An interpreter of classic BPF as seccomp uses it: what a filter would answer to a call."""

from __future__ import annotations

import struct


def run(program: bytes, number: int, architecture: int, arguments: tuple[int, ...] = ()) -> int:
    """The action for one call."""
    padded = (*arguments, *[0] * (6 - len(arguments)))
    data = struct.pack("<iIQ6Q", number if number < 2**31 else number - 2**32, architecture, 0, *padded)
    code = [struct.unpack_from("<HBBI", program, at) for at in range(0, len(program), 8)]
    accumulator = position = 0
    while True:
        operation, yes, no, value = code[position]
        position += 1
        match operation:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, value)
            case 0x54:
                accumulator &= value
            case 0x06:
                return int(value)
            case 0x05:
                position += value
            case 0x15:
                position += yes if accumulator == value else no
            case 0x25:
                position += yes if accumulator > value else no
            case 0x35:
                position += yes if accumulator >= value else no
            case _:
                raise AssertionError(f"instruction {operation:#x} is not for seccomp")
