"""The rules of docs/architecture.md that a program can check: who imports whom, what is pure, what is executed."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted([*ROOT.glob("composer/**/*.py"), *ROOT.glob("runtime/**/*.py")])

ALLOWED: dict[str, tuple[str, ...]] = {
    "runtime.errors": (),
    "runtime.nearest": (),
    "runtime.crash_points": (),
    "runtime.kernel": ("runtime.errors", "runtime.nearest"),
    "runtime.storage": ("runtime.kernel", "runtime.errors", "runtime.container.config"),
    "runtime.network": ("runtime.kernel", "runtime.errors", "runtime.storage"),
    "runtime.container": (
        "runtime.nearest",
        "runtime.kernel",
        "runtime.errors",
        "runtime.crash_points",
        "runtime.storage",
        "runtime.network.sandbox",
        "runtime.network.sandbox_script",
    ),
    "runtime.image": ("runtime.kernel", "runtime.errors", "runtime.storage", "runtime.container"),
    "runtime.build": ("runtime.errors", "runtime.build.git_urls"),
    "runtime.build.frontend": (
        "runtime.nearest",
        "runtime.errors",
        "runtime.build.steps",
        "runtime.build.ignore",
        "runtime.build.modes",
        "runtime.build.git_urls",
        "runtime.container.cdi",
        "runtime.container.config",
        "runtime.image.changes",
    ),
    "runtime.build.solver": ("runtime.errors", "runtime.build.steps"),
    "runtime.build.worker": (
        "runtime.nearest",
        "runtime.errors",
        "runtime.kernel",
        "runtime.storage",
        "runtime.container",
        "runtime.image",
        "runtime.files",
        "runtime.build.steps",
        "runtime.build.ignore",
        "runtime.build.modes",
        "runtime.build.git_urls",
    ),
    "runtime.files": ("runtime",),
    "runtime.doctor": ("runtime.kernel", "runtime.errors", "runtime.network", "runtime.storage"),
    "composer.compose": ("runtime.errors", "runtime.nearest"),
    "composer.plan": (
        "composer.compose",
        "composer.engine.requests",
        "runtime.errors",
        "runtime.container.config",
    ),
    "composer.makeable": ("composer.compose", "composer.plan", "runtime"),
    "composer.engine": ("composer.makeable", "composer.plan", "composer.compose", "composer.disk", "runtime"),
    "composer.disk": ("runtime.errors",),
    "composer.program": (),
    "composer.installed": ("runtime",),
    "composer.own_log": (),
    "composer.api": ("composer.engine", "composer.program", "runtime"),
    "composer.api.client": (
        "composer.api.http",
        "composer.api.plain_json",
        "composer.engine.requests",
        "runtime",
    ),
    "composer.cli": (
        "composer.disk",
        "composer.api.plain_json",
        "composer.api.durations",
        "composer.api.moments",
        "composer.api.detaching",
        "composer.api.client",
        "composer.compose",
        "composer.engine.requests",
        "composer.makeable",
        "composer.program",
        "runtime",
    ),
    "composer.core": ("composer", "runtime"),
    "composer.__main__": ("composer.cli",),
}
"""What a part may import besides itself and other people's libraries. First match by longest name."""

EXCEPTIONS: dict[tuple[str, str], str] = {}
"""(module, what it imports): the reason why it may."""

PURE = (
    "composer.compose",
    "composer.plan",
    "composer.makeable",
    "runtime.build.frontend",
    "runtime.build.solver",
)
IMPURE = frozenset(
    {
        *(
            "anyio",
            "asyncio",
            "ctypes",
            "fcntl",
            "glob",
            "http",
            "httpx",
            "io",
            "mmap",
            "multiprocessing",
            "os",
        ),
        *(
            "pathlib",
            "pty",
            "random",
            "resource",
            "secrets",
            "select",
            "selectors",
            "shutil",
            "signal",
            "socket",
        ),
        *("sqlite3", "ssl", "subprocess", "tempfile", "threading", "time", "trio", "urllib"),
    }
)
"""Modules whose use is an effect, or reads something other than the arguments."""
PURE_EXCEPTIONS: dict[tuple[str, str], str] = {}

STDLIB_ONLY = (
    "runtime.errors",
    "runtime.crash_points",
    "runtime.kernel",
    "runtime.container.keeper",
    "runtime.container.shim",
    "runtime.container.bootstrap",
)
"""What the keeper and the shims are made of: nothing beyond the standard library, all of it imported before a fork."""

LENGTH = 480
LONG: dict[str, str] = {
    "composer.compose.model": "the Compose file as records: a table, read by looking things up",
}
"""Modules with more lines, and why they are still one idea."""

MEANINGLESS = frozenset({"util", "utils", "helper", "helpers", "common", "misc", "manager"})
PROGRAMS = frozenset(
    {
        *("brctl", "conntrack", "containerd", "crun", "docker", "dockerd", "firewall-cmd", "ip", "ip6tables"),
        *(
            "iptables",
            "mount",
            "newuidmap",
            "nft",
            "nsenter",
            "podman",
            "runc",
            "sysctl",
            "tc",
            "umount",
            "unshare",
        ),
    }
)
"""What other runtimes execute, and this one does not."""
SCOPES = ("trio.open_nursery", "trio.CancelScope", "trio.move_on_after", "trio.fail_after")

EXECUTING = {
    "runtime.build.worker.ssh_agents": "keys are used by OpenSSH's agent: composer has no cryptography of its own",
    "runtime.build.worker.preloading": "half of a large context is looked at by this interpreter again: locks, threads",
    "runtime.build.worker.git": "git's protocols and their credentials are git's own",
    "runtime.image.registry.credential_helper": "keychains open only to the programs that config.json names",
    "runtime.container.bootstrap": "the next keeper is this interpreter again, spawned from a process with threads",
}
"""Modules that execute other programs on the host, and why there is no other way."""


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {_name(path): path for path in MODULES}


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes(), str(path))


def _imports(path: Path, *, at_import: bool = False) -> Iterator[str]:
    """Absolute names of what a module imports (``at_import``: when it is itself imported, not in a function),
    without what is for type checkers only."""
    pending: list[ast.AST] = [_tree(path)]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in map(_last_name, ast.walk(node.test)):
            pending.extend(node.orelse)
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and at_import:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in NAMES else str(node.module)
        else:
            pending.extend(
                child for child in ast.iter_child_nodes(node) if isinstance(child, _HOLDS_STATEMENTS)
            )


_HOLDS_STATEMENTS = (ast.stmt, ast.excepthandler, ast.match_case)


def _last_name(node: ast.AST) -> str:
    """``c`` of ``a.b.c`` and of ``c``, "" of all else."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _is_within(name: str, part: str) -> bool:
    return name == part or name.startswith(part + ".")


def _part(name: str) -> str | None:
    return max((part for part in ALLOWED if _is_within(name, part)), key=len, default=None)


def test_imports_point_one_way() -> None:
    wrong = []
    for name, path in NAMES.items():
        if (part := _part(name)) is None:
            assert name in ("composer", "runtime"), f"{name} is in no part of the architecture"
            assert set(_imports(path)) <= {"__future__"}, f"{name}: the package itself imports nothing"
            continue
        for imported in _imports(path):
            if imported.split(".")[0] not in ("composer", "runtime"):
                continue
            if imported in ("composer", "runtime") or (name, imported) in EXCEPTIONS:
                continue
            if not any(_is_within(imported, allowed) for allowed in (part, *ALLOWED[part])):
                wrong.append(f"{name} imports {imported}")
    assert not wrong, "\n".join(wrong)


def test_what_decides_is_pure() -> None:
    wrong = [
        f"{name} imports {imported}"
        for name, path in NAMES.items()
        if any(_is_within(name, part) for part in PURE)
        for imported in _imports(path)
        if imported.split(".")[0] in IMPURE and (name, imported) not in PURE_EXCEPTIONS
    ]
    wrong += [
        f"{name}:{node.lineno} calls {node.func.id}()"
        for name, path in NAMES.items()
        if any(_is_within(name, part) for part in PURE)
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("open", "print")
    ]
    assert not wrong, "\n".join(wrong)


def test_what_is_forked_needs_the_standard_library_only() -> None:
    seen: set[str] = set()
    pending = [name for name in NAMES if any(_is_within(name, part) for part in STDLIB_ONLY)]
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        for imported in _imports(NAMES[name], at_import=True):
            if imported in NAMES:
                pending.append(imported)
            else:
                assert imported.split(".")[0] in sys.stdlib_module_names, f"{name} imports {imported}"


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_module_can_be_imported(name: str) -> None:
    """Also those that a command imports late, where no other test may ever get."""
    importlib.import_module(name)


def test_the_core_starts_without_what_builds_and_pulls() -> None:
    """Most engines are started for neither; both are a third of what there is to import."""
    late = (
        "httpx",
        "networkx",
        "rich",
        "runtime.build.frontend",
        "runtime.build.worker.worker",
        "runtime.image.pull",
    )
    code = f"import composer.core, sys; print(*[name for name in {late} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_modules_hold_one_idea() -> None:
    lengths = {name: len(path.read_text().splitlines()) for name, path in NAMES.items()}
    assert {name: length for name, length in lengths.items() if length > LENGTH and name not in LONG} == {}
    assert [name for name in LONG if name not in NAMES] == [], "gone: strike them off"
    assert [name for name in NAMES if name.rsplit(".", 1)[-1] in MEANINGLESS] == []


def test_nothing_is_executed_but_the_containers_own_program() -> None:
    wrong = []
    for name, path in NAMES.items():
        if name not in EXECUTING:
            wrong += [f"{name} imports subprocess" for imported in _imports(path) if imported == "subprocess"]
        for node in ast.walk(_tree(path)):
            if not isinstance(node, ast.Call):
                continue
            last = _last_name(node.func)
            if name not in EXECUTING and last in ("system", "popen", "posix_spawn", "run_process"):
                called = ast.unparse(node.func)
                if called in ("os.system", "os.popen", "os.posix_spawn", "trio.run_process"):
                    wrong.append(f"{name}:{node.lineno}: {called}")
            if last in ("execv", "execve", "execvp", "which"):
                words = {str(text.value) for text in ast.walk(node) if isinstance(text, ast.Constant)}
                wrong += [f"{name}:{node.lineno}: {last} of {word}" for word in words & PROGRAMS]
    assert not wrong, "\n".join(wrong)


def test_a_module_says_what_it_is() -> None:
    wrong = []
    for name, path in NAMES.items():
        tree = _tree(path)
        if tree.body and not ast.get_docstring(tree):
            wrong.append(f"{name}: no docstring")
        if len(tree.body) > 1 and "__future__" not in [getattr(node, "module", "") for node in tree.body]:
            wrong.append(f"{name}: no `from __future__ import annotations`")
    assert not wrong, "\n".join(wrong)


def test_nothing_is_yielded_from_inside_a_nursery() -> None:
    """Who reads an async generator may leave it in the middle, and then its nursery (or cancel scope) would be closed
    by another task than opened it. Context managers end where they began, and may."""
    wrong = []
    for name, path in NAMES.items():
        for function in ast.walk(_tree(path)):
            if not isinstance(function, ast.AsyncFunctionDef) or any(
                "contextmanager" in ast.unparse(decorator) for decorator in function.decorator_list
            ):
                continue
            for block in ast.walk(function):
                if isinstance(block, ast.With | ast.AsyncWith) and any(
                    ast.unparse(item.context_expr).split("(")[0] in SCOPES for item in block.items
                ):
                    wrong += [
                        f"{name}:{node.lineno}" for node in ast.walk(block) if isinstance(node, ast.Yield)
                    ]
    assert not wrong, "\n".join(wrong)


HEAVY = frozenset(
    {"ast", "dataclasses", "hashlib", "inspect", "logging", "pathlib", "subprocess", "tempfile", "trio"}
)
"""What makes the keeper, and with it the fork for each container, larger than what it is used for."""


def test_the_keeper_carries_nothing_heavy() -> None:
    program = "import sys, runtime.container.keeper; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-S", "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not HEAVY & set(done.stdout.split())
