"""Profiles of one's own against libseccomp, which Docker's are compiled with: random ones, random calls, same answers.

Where one call has several conditional entries with different actions libseccomp promises no order; such profiles are
not made here. Nor are comparisons of one argument twice, which it merges in a way of its own.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from runtime.kernel.capabilities import DEFAULT
from runtime.kernel.seccomp import compile_profile
from runtime.kernel.syscall_numbers import numbers

_spec = importlib.util.spec_from_file_location("bpf", Path(__file__).with_name("bpf.py"))
assert _spec is not None and _spec.loader is not None
bpf = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(bpf)

LIBRARY = ctypes.util.find_library("seccomp")
# seccomp.h
OPERATORS = {"NE": 1, "LT": 2, "LE": 3, "EQ": 4, "GE": 5, "GT": 6, "MASKED_EQ": 7}
ACTIONS = {
    "SCMP_ACT_KILL_THREAD": 0,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x30000,
    "SCMP_ACT_ERRNO": 0x50001,
    "SCMP_ACT_TRACE": 0x7FF00001,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
TOKENS = {
    "x86_64": 0xC000003E,
    "i386": 0x40000003,
    "x32": 0x4000003E,
    "aarch64": 0xC00000B7,
    "arm": 0x40000028,
}
AUDIT = {**TOKENS, "x32": TOKENS["x86_64"]}
DOCKER = {"i386": "SCMP_ARCH_X86", "x32": "SCMP_ARCH_X32", "arm": "SCMP_ARCH_ARM"}
OTHERS = {"x86_64": ("i386", "x32"), "aarch64": ("arm",)}
VALUES = (0, 1, 2, 5, 38, 0x7E020000, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**33 + 2, 2**64 - 1)
SPECIAL = {"socket", "socketpair", "personality", "socketcall", "ipc"}
"""Stricter here: arguments of 32 bits are compared as such. The last two are looked at by test_seccomp."""


class Compare(ctypes.Structure):
    """``struct scmp_arg_cmp``."""

    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


def peer(library: Any, profile: dict[str, Any], machine: str, others: list[str]) -> bytes:
    """The filter that libseccomp makes, asked as runc asks."""
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(ACTIONS[profile["defaultAction"]])))
    for architecture in (machine, *others):
        if architecture != "x86_64":
            assert library.seccomp_arch_add(context, ctypes.c_uint32(TOKENS[architecture])) == 0
    if machine != "x86_64":
        assert library.seccomp_arch_remove(context, ctypes.c_uint32(TOKENS["x86_64"])) == 0
    for entry in profile["syscalls"]:
        if entry["action"] == profile["defaultAction"]:
            continue
        tests = [
            Compare(test["index"], OPERATORS[test["op"][9:]], test["value"], test["valueTwo"])
            for test in entry["args"]
        ]
        for name in entry["names"]:
            number = library.seccomp_syscall_resolve_name(name.encode())
            action = ctypes.c_uint32(ACTIONS[entry["action"]])
            array = (Compare * max(1, len(tests)))(*tests)
            assert library.seccomp_rule_add_array(context, action, number, len(tests), array) == 0
    memory = os.memfd_create("filter")
    assert library.seccomp_export_bpf(context, memory) == 0
    library.seccomp_release(context)
    program = os.pread(memory, os.fstat(memory).st_size, 0)
    os.close(memory)
    return program


def random_profile(chance: random.Random, names: list[str], others: list[str]) -> dict[str, Any]:
    entries = []
    pool = chance.sample(names, 6)
    for _ in range(3):
        tests = []
        for index in chance.sample(range(6), chance.randint(0, 3)):
            test = {"index": index, "op": f"SCMP_CMP_{chance.choice(sorted(OPERATORS))}"}
            tests.append({**test, "value": chance.choice(VALUES), "valueTwo": chance.choice(VALUES)})
        entries.append(
            {"names": [pool.pop(), pool.pop()], "action": chance.choice(sorted(ACTIONS)), "args": tests}
        )
    return {
        "defaultAction": chance.choice(sorted(ACTIONS)),
        "architectures": [DOCKER[other] for other in others],
        "syscalls": entries,
    }


@pytest.mark.skipif(LIBRARY is None, reason="no libseccomp to compare with")
@pytest.mark.parametrize("machine", sorted(OTHERS))
def test_same_answers(machine: str) -> None:
    library = ctypes.CDLL(LIBRARY)
    chance = random.Random(20)
    names = sorted(
        name
        for name in numbers(machine)
        if name not in SPECIAL and library.seccomp_syscall_resolve_name(name.encode()) != -1
    )
    compared = 0
    for _ in range(150):
        others = [other for other in OTHERS[machine] if chance.random() < 0.6]
        profile = random_profile(chance, names, others)
        theirs = peer(library, profile, machine, others)
        ours = compile_profile(json.dumps(profile), DEFAULT, machine, (6, 1))
        for architecture in (machine, *others):
            table = numbers(architecture)
            called = [name for entry in profile["syscalls"] for name in entry["names"] if name in table]
            for name in (*called, "read"):
                number = table[name] + (0x40000000 if architecture == "x32" else 0)
                for _ in range(4):
                    width = 2**32 - 1 if architecture in ("i386", "arm") else 2**64 - 1
                    arguments = tuple(chance.choice(VALUES) & width for _ in range(6))
                    answers = [
                        bpf.run(made, number, AUDIT[architecture], arguments) for made in (ours, theirs)
                    ]
                    assert answers[0] == answers[1], (architecture, name, arguments, profile)
                    compared += 1
    assert compared > 3000
