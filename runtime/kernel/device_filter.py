"""Which devices a container may use: rules as Docker writes them, for cgroup v1's list and as a program for v2.

On v2 the rules become a BPF_PROG_TYPE_CGROUP_DEVICE program (``struct bpf_cgroup_dev_ctx`` in, 1 or 0 out) that is
attached to the cgroup (``runtime.kernel.bpf``).
Sources: cgroup-v1/devices.rst, bpf(2), Documentation/bpf/standardization.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from runtime.errors import InvalidArgument

DEFAULT_RULES = (
    "c *:* m", "b *:* m", "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm", "c 5:1 rwm",
    "c 5:2 rwm", "c 136:* rwm", "c 10:200 rwm",
)  # fmt: skip
"""What every container may: making any node, using the harmless ones, terminals, and tun (moby, oci/defaults.go)."""

# linux/bpf.h
BPF_DEVCG_ACC_MKNOD, BPF_DEVCG_ACC_READ, BPF_DEVCG_ACC_WRITE = 1, 2, 4
BPF_DEVCG_DEV_BLOCK, BPF_DEVCG_DEV_CHAR = 1, 2
_ACCESS = {"m": BPF_DEVCG_ACC_MKNOD, "r": BPF_DEVCG_ACC_READ, "w": BPF_DEVCG_ACC_WRITE}

# Instructions: class | source | operation, as bpf_common.h puts them together
_LDX_W = 0x61
_MOV64_K, _MOV64_X, _MOV32_X = 0xB7, 0xBF, 0xBC
_AND32_K, _RSH32_K = 0x54, 0x74
_JNE_K, _JNE_X = 0x55, 0x5D
_EXIT = 0x95


@dataclass(frozen=True, slots=True)
class Rule:
    """One allowed class of devices; None stands for every number."""

    kind: str
    """``c``, ``b`` or ``a`` (both)."""
    major: int | None
    minor: int | None
    access: str
    """Some of ``rwm``."""

    def __str__(self) -> str:
        numbers = ("*" if number is None else str(number) for number in (self.major, self.minor))
        return f"{self.kind} {':'.join(numbers)} {self.access}"


_RULE = re.compile(r"([acb]) (\d+|\*):(\d+|\*) ([rwm]{1,3})")


def parse_rule(text: str) -> Rule:
    """``c 1:3 rwm``. Raises InvalidArgument."""
    match = _RULE.fullmatch(" ".join(text.split()))
    if match is None:
        raise InvalidArgument(
            f"invalid device cgroup format {text!r}", hint="write for instance c 10:229 rwm"
        )
    kind, major, minor, access = match.groups()
    return Rule(kind, _number(major), _number(minor), access)


def _number(text: str) -> int | None:
    return None if text == "*" else int(text)


def compile_program(rules: Sequence[Rule]) -> bytes:
    """The program that allows what one of ``rules`` does and nothing else, as ``struct bpf_insn``s."""
    # r1: context {u32 access_type (kind | access << 16), major, minor} -> r2 kind, r3 access, r4 major, r5 minor
    code = [
        _instruction(_LDX_W, 2, 1, 0),
        _instruction(_MOV64_X, 3, 2),
        _instruction(_AND32_K, 2, immediate=0xFFFF),
        _instruction(_RSH32_K, 3, immediate=16),
        _instruction(_LDX_W, 4, 1, 4),
        _instruction(_LDX_W, 5, 1, 8),
    ]
    for rule in rules:
        code += _match(rule)
    code += [_instruction(_MOV64_K, 0, immediate=0), _instruction(_EXIT)]
    return b"".join(code)


def _match(rule: Rule) -> list[bytes]:
    """Allow and end when the rule fits, else fall through to what follows."""
    tests: list[tuple[list[bytes], int, int, int]] = []
    if rule.kind != "a":
        kind = BPF_DEVCG_DEV_CHAR if rule.kind == "c" else BPF_DEVCG_DEV_BLOCK
        tests.append(([], _JNE_K, 2, kind))
    missing = 7 & ~sum(_ACCESS[letter] for letter in set(rule.access))
    if missing:
        # What is asked for must not contain anything that the rule lacks.
        tests.append(
            ([_instruction(_MOV32_X, 6, 3), _instruction(_AND32_K, 6, immediate=missing)], _JNE_K, 6, 0)
        )
    if rule.major is not None:
        tests.append(([], _JNE_K, 4, rule.major))
    if rule.minor is not None:
        tests.append(([], _JNE_K, 5, rule.minor))
    allow = [_instruction(_MOV64_K, 0, immediate=1), _instruction(_EXIT)]
    length = sum(len(before) + 1 for before, *_ in tests) + len(allow)
    code: list[bytes] = []
    for before, jump, register, value in tests:
        code += before
        code.append(_instruction(jump, register, offset=length - len(code) - 1, immediate=value))
    return code + allow


def _instruction(
    code: int, destination: int = 0, source: int = 0, offset: int = 0, *, immediate: int = 0
) -> bytes:
    return struct.pack("=BBhI", code, source << 4 | destination, offset, immediate & 0xFFFFFFFF)
