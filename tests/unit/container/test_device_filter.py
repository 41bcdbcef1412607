"""Device rules, and the BPF program that is made of them, run by an interpreter of the few instructions it uses."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import InvalidArgument
from runtime.kernel.device_filter import DEFAULT_RULES, Rule, compile_program, parse_rule

MASK64, MASK32 = (1 << 64) - 1, (1 << 32) - 1
BITS = {"m": 1, "r": 2, "w": 4}


def run(program: bytes, kind: str, major: int, minor: int, access: str) -> bool:
    """The kernel's verdict. A jump out of the program or backwards is an error here, as the verifier has it."""
    context = struct.pack(
        "=III", sum(BITS[c] for c in access) << 16 | (2 if kind == "c" else 1), major, minor
    )
    code = [program[at : at + 8] for at in range(0, len(program), 8)]
    registers = [0] * 11
    at = 0
    while True:
        operation, pair, offset, immediate = struct.unpack("=BBhi", code[at])
        destination, source = pair & 15, pair >> 4
        at += 1
        match operation:
            case 0x61:
                registers[destination] = struct.unpack_from("=I", context, offset)[0]
            case 0xB7:
                registers[destination] = immediate & MASK64
            case 0xBF:
                registers[destination] = registers[source]
            case 0xBC:
                registers[destination] = registers[source] & MASK32
            case 0x54:
                registers[destination] &= immediate & MASK32
            case 0x74:
                registers[destination] = (registers[destination] & MASK32) >> immediate
            case 0x55:
                assert offset >= 0
                at += offset if registers[destination] != immediate & MASK64 else 0
            case 0x95:
                return bool(registers[0])
            case _:
                raise AssertionError(f"unknown instruction {operation:#x}")


def allows(rule: Rule, kind: str, major: int, minor: int, access: str) -> bool:
    return (
        rule.kind in ("a", kind)
        and rule.major in (None, major)
        and rule.minor in (None, minor)
        and set(access) <= set(rule.access)
    )


numbers = st.integers(0, 4)
accesses = st.sets(st.sampled_from("rwm"), min_size=1).map(lambda letters: "".join(sorted(letters)))
rules = st.builds(Rule, st.sampled_from("acb"), st.none() | numbers, st.none() | numbers, accesses)


@given(st.lists(rules, max_size=6), st.sampled_from("cb"), numbers, numbers, accesses)
def test_program_says_what_the_rules_say(
    given_rules: list[Rule], kind: str, major: int, minor: int, access: str
) -> None:
    expected = any(allows(rule, kind, major, minor, access) for rule in given_rules)
    assert run(compile_program(given_rules), kind, major, minor, access) == expected


@pytest.mark.parametrize(
    ("device", "verdict"),
    [
        ("c 1 3 rw", True), ("c 5 2 rw", True), ("c 136 77 rw", True), ("c 10 200 rwm", True), ("b 7 0 m", True),
        ("b 7 0 r", False), ("c 10 229 rw", False), ("c 1 1 r", False), ("b 7 0 rm", False),
        ("c 4095 1048575 w", False),
    ],
)  # fmt: skip
def test_default(device: str, verdict: bool) -> None:
    kind, major, minor, access = device.split()
    program = compile_program([parse_rule(text) for text in DEFAULT_RULES])
    assert run(program, kind, int(major), int(minor), access) == verdict


def test_rules_as_text() -> None:
    for text in (*DEFAULT_RULES, "a *:* rwm", "c 10:* r"):
        assert str(parse_rule(text)) == text
    assert str(parse_rule(" c  1:3   rwm ")) == "c 1:3 rwm"
    for text in ("c 1 rwm", "d 1:3 rwm", "c 1:3", "c 1:3 x", "c a:b r"):
        with pytest.raises(InvalidArgument):
            parse_rule(text)
