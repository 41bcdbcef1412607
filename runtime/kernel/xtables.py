"""The old iptables, which has its rules apart from nf_tables': only what a chain of it does with what no rule is for
(linux/netfilter_ipv4/ip_tables.h)."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from pathlib import Path

IPT_SO_GET_INFO = 64
IPT_SO_GET_ENTRIES = 65
NF_INET_FORWARD = 2
NF_DROP = -1
"""-NF_DROP - 1, as a standard target's verdict has it."""

_NAMES = Path("/proc/net/ip_tables_names")
_INFO = struct.Struct("=32sI5I5III")
_ENTRIES = struct.Struct("=32sI4x")
_ENTRY = struct.Struct("=84xIHH")
_TARGET = struct.Struct("=32xi")

_libc = ctypes.CDLL(None, use_errno=True)


def drops_forwarded() -> bool:
    """Whether the policy of the old ``filter FORWARD`` is to drop. Looks only at a table that is there: asking for
    another one would make it. Raises OSError."""
    try:
        if "filter" not in _NAMES.read_text(encoding="ascii").split():
            return False
    except FileNotFoundError:
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        info = _INFO.unpack(_get(raw, IPT_SO_GET_INFO, b"filter", _INFO.size))
        underflow, size = info[7 + NF_INET_FORWARD], info[13]
        entries = _get(raw, IPT_SO_GET_ENTRIES, _ENTRIES.pack(b"filter", size), _ENTRIES.size + size)
    return policy_at(entries[_ENTRIES.size :], underflow) == NF_DROP


def policy_at(entries: bytes, offset: int) -> int:
    """The verdict of the rule at ``offset``, which is a chain's last."""
    _, target, _ = _ENTRY.unpack_from(entries, offset)
    (verdict,) = _TARGET.unpack_from(entries, offset + target)
    return int(verdict)


def _get(raw: socket.socket, option: int, question: bytes, size: int) -> bytes:
    """getsockopt(2) with a question in the buffer, which the socket module does not have."""
    buffer = ctypes.create_string_buffer(question, size)
    length = ctypes.c_uint32(size)
    if _libc.getsockopt(raw.fileno(), socket.IPPROTO_IP, option, buffer, ctypes.byref(length)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"iptables: {os.strerror(number)}")
    return buffer.raw[: length.value]
