"""From a decided profile to classic BPF, as seccomp(2) takes it.

First the calling convention is told apart (a number means another call in each), then the call is found by binary
search over ranges of numbers with the same verdict, then its arguments are compared. Numbers beyond the tables give
ENOSYS instead of the profile's error, so that a C library that tries a newer call falls back.
Sources: seccomp(2), linux/filter.h, linux/audit.h, Documentation/userspace-api/seccomp_filter.rst.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from runtime.kernel.seccomp_profile import (
    RET_ALLOW,
    RET_KILL_PROCESS,
    RET_LOG,
    Comparison,
    Profile,
    Rule,
    error,
)
from runtime.kernel.syscall_numbers import numbers

_AUDIT = {"x86_64": 0xC000003E, "i386": 0x40000003, "aarch64": 0xC00000B7, "arm": 0x40000028}
_X32_BIT = 0x40000000
_NARROW = ("i386", "x32", "arm")
"""Conventions whose arguments have 32 bits: the upper half of a profile's value is not compared, as by libseccomp."""
_ARM_PRIVATE = 0x0F0000
"""Where arm's own calls begin, far above the others."""

# linux/filter.h, bpf_common.h
_LOAD, _RETURN, _JUMP, _AND = 0x20, 0x06, 0x05, 0x54
_EQUAL, _GREATER, _GREATER_EQUAL = 0x15, 0x25, 0x35

# struct seccomp_data
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16

MULTIPLEXED: Mapping[str, Mapping[int, str]] = {
    "socketcall": dict(
        enumerate(
            "socket bind connect listen accept getsockname getpeername socketpair send recv sendto recvfrom shutdown"
            " setsockopt getsockopt sendmsg recvmsg accept4 recvmmsg sendmmsg".split(),
            1,
        )
    ),
    "ipc": {
        1: "semop", 2: "semget", 3: "semctl", 4: "semtimedop", 11: "msgsnd", 12: "msgrcv", 13: "msgget", 14: "msgctl",
        21: "shmat", 22: "shmdt", 23: "shmget", 24: "shmctl",
    },
}  # fmt: skip
"""Calls of i386 that stand for others, by their first argument. linux/net.h, linux/ipc.h"""
_PERMISSIVE = (RET_ALLOW, RET_LOG)

MAX_INSTRUCTIONS = 4096


@dataclass(eq=False, slots=True)
class Label:
    """A place in the program, known when everything before it is."""

    position: int = -1


@dataclass(slots=True)
class _Assembler:
    """Instructions with labels; conditional jumps reach only 255 instructions, so far ones go over a plain jump."""

    code: list[tuple[int, int, Label | None, Label | None]] = field(default_factory=list)

    def place(self, label: Label) -> None:
        label.position = len(self.code)

    def load(self, offset: int) -> None:
        self.code.append((_LOAD, offset, None, None))

    def mask(self, bits: int) -> None:
        self.code.append((_AND, bits, None, None))

    def answer(self, action: int) -> None:
        self.code.append((_RETURN, action, None, None))

    def jump(self, target: Label) -> None:
        self.code.append((_JUMP, 0, target, None))

    def branch(self, operation: int, value: int, then: Label | None, otherwise: Label | None) -> None:
        """Go to ``then`` or ``otherwise``; None is what follows. At most one of the two is not None."""
        self.code.append((operation, value, then, otherwise))

    def branch_far(self, operation: int, value: int, then: Label) -> None:
        """Go to ``then``, however far, if it holds; else on."""
        on = Label()
        self.branch(operation, value, None, on)
        self.jump(then)
        self.place(on)

    def bytes(self) -> bytes:
        """Raises ValueError when a jump or the program is too long: a fault of this module."""
        if len(self.code) > MAX_INSTRUCTIONS:
            raise ValueError("seccomp filter: the program is too long for the kernel")
        encoded = []
        for position, (operation, value, then, otherwise) in enumerate(self.code):
            yes = 0 if then is None else then.position - position - 1
            no = 0 if otherwise is None else otherwise.position - position - 1
            if operation == _JUMP:
                yes, no, value = 0, 0, yes
            encoded.append(struct.pack("=HBBI", operation, yes, no, value))
        return b"".join(encoded)


def assemble(profile: Profile, machine: str) -> bytes:
    """An array of ``struct sock_filter``."""
    program = _Assembler()
    program.load(_ARCHITECTURE)
    tables: list[tuple[Label, str]] = []
    for architecture in profile.architectures:
        if architecture in _AUDIT:
            label = Label()
            tables.append((label, architecture))
            program.branch_far(_EQUAL, _AUDIT[architecture], label)
    program.answer(RET_KILL_PROCESS)
    for label, architecture in tables:
        program.place(label)
        program.load(_NUMBER)
        if architecture == "x86_64":
            _dispatch_x32(program, profile)
        _Search(program, profile, architecture).emit()
    return program.bytes()


def _dispatch_x32(program: _Assembler, profile: Profile) -> None:
    """x32 calls come as x86-64 with a bit set in the number."""
    native = Label()
    x32 = Label()
    program.branch_far(_GREATER_EQUAL, _X32_BIT, x32)
    program.jump(native)
    program.place(x32)
    if "x32" in profile.architectures:
        _Search(program, profile, "x32").emit()
    else:
        program.answer(RET_KILL_PROCESS)
    program.place(native)


@dataclass(slots=True)
class _Search:
    """The part of the program for one convention; the accumulator holds the number."""

    program: _Assembler
    profile: Profile
    architecture: str
    _chains: dict[tuple[Rule, ...], Label] = field(default_factory=dict)

    def emit(self) -> None:
        ranges = self._ranges()
        self._tree(ranges)
        for rules, label in self._chains.items():
            self.program.place(label)
            self._chain(rules)

    def _ranges(self) -> list[tuple[int, tuple[Rule, ...]]]:
        """(first number, rules) in order; neighbours differ."""
        base = _X32_BIT if self.architecture == "x32" else 0
        table = {base + number: name for name, number in numbers(self.architecture).items()}
        default = (Rule(self.profile.default),)
        is_lenient = self.profile.default in (RET_ALLOW, RET_LOG)
        unknown = default if is_lenient else (Rule(error(errno.ENOSYS)),)
        last = max(number for number in table if number < base + _ARM_PRIVATE)
        points: dict[int, tuple[Rule, ...]] = {}
        for number in range(base, last + 1):
            points[number] = self._rules_of(table.get(number), default)
        points[last + 1] = unknown
        for number in sorted(table):
            if number > last:
                points[number] = self._rules_of(table[number], default)
                points.setdefault(number + 1, unknown)
        ranges: list[tuple[int, tuple[Rule, ...]]] = []
        for number in sorted(points):
            if not ranges or ranges[-1][1] != points[number]:
                ranges.append((number, points[number]))
        return ranges

    def _rules_of(self, name: str | None, default: tuple[Rule, ...]) -> tuple[Rule, ...]:
        """The rules of one call: those with conditions first, ending with one that has none."""
        rules = self.profile.rules.get(name, ()) if name is not None else ()
        others = MULTIPLEXED.get(name or "") if self.architecture == "i386" else None
        if others and all(rule.comparisons for rule in rules):
            rules = (*rules, *_multiplexed_rules(self.profile, others))
        conditional = tuple(rule for rule in rules if rule.comparisons)
        final = tuple(rule for rule in rules if not rule.comparisons)[:1] or default
        return (*conditional, *final)

    def _tree(self, ranges: list[tuple[int, tuple[Rule, ...]]]) -> None:
        if len(ranges) == 1:
            rules = ranges[0][1]
            if len(rules) == 1:
                self.program.answer(rules[0].action)
            else:
                self.program.jump(self._chains.setdefault(rules, Label()))
            return
        middle = len(ranges) // 2
        upper = Label()
        self.program.branch_far(_GREATER_EQUAL, ranges[middle][0], upper)
        self._tree(ranges[:middle])
        self.program.place(upper)
        self._tree(ranges[middle:])

    def _chain(self, rules: tuple[Rule, ...]) -> None:
        for rule in rules:
            fails = Label()
            for comparison in rule.comparisons:
                if self.architecture in _NARROW:
                    comparison = replace(comparison, bits=32)
                _compare(self.program, comparison, fails)
            self.program.answer(rule.action)
            self.program.place(fails)


def _multiplexed_rules(profile: Profile, calls: Mapping[int, str]) -> Iterator[Rule]:
    """What a profile says of calls goes for the other way to make them, too, where the first argument tells which it is
    and the others are behind a pointer, out of reach: what is allowed on conditions only is not allowed there, and
    what is refused on conditions is refused."""
    for number, name in calls.items():
        for rule in profile.rules.get(name, ()):
            if not rule.comparisons or rule.action not in _PERMISSIVE:
                yield Rule(rule.action, (Comparison(0, "MASKED_EQ", number, mask=0xFFFF, bits=32),))
                break


def _compare(program: _Assembler, wanted: Comparison, fails: Label) -> None:
    """Go on when the comparison holds, to ``fails`` when not. Little-endian, as both machines are."""
    low, high = wanted.value & 0xFFFFFFFF, wanted.value >> 32
    offset = _ARGUMENTS + 8 * wanted.index
    holds = Label()
    if wanted.operator == "MASKED_EQ":
        for part, bits, value in (
            (offset + 4, wanted.mask >> 32, high),
            (offset, wanted.mask & 0xFFFFFFFF, low),
        ):
            if part == offset + 4 and wanted.bits == 32:
                continue
            program.load(part)
            program.mask(bits)
            program.branch(_EQUAL, value, None, fails)
        return
    if wanted.bits == 64:
        program.load(offset + 4)
        _compare_high(program, wanted.operator, high, holds, fails)
    program.load(offset)
    _compare_low(program, wanted.operator, low, fails)
    program.place(holds)


def _compare_high(program: _Assembler, operator: str, value: int, holds: Label, fails: Label) -> None:
    """The upper half: decides, or is equal and leaves it to the lower one."""
    if operator == "EQ":
        program.branch(_EQUAL, value, None, fails)
    elif operator == "NE":
        program.branch(_EQUAL, value, None, holds)
    elif operator in ("GT", "GE"):
        program.branch(_GREATER, value, holds, None)
        program.branch(_EQUAL, value, None, fails)
    else:
        program.branch(_GREATER, value, fails, None)
        program.branch(_EQUAL, value, None, holds)


def _compare_low(program: _Assembler, operator: str, value: int, fails: Label) -> None:
    match operator:
        case "EQ":
            program.branch(_EQUAL, value, None, fails)
        case "NE":
            program.branch(_EQUAL, value, fails, None)
        case "GT":
            program.branch(_GREATER, value, None, fails)
        case "GE":
            program.branch(_GREATER_EQUAL, value, None, fails)
        case "LE":
            program.branch(_GREATER, value, fails, None)
        case _:
            program.branch(_GREATER_EQUAL, value, fails, None)
