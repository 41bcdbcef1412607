"""Feed mutated Compose files to the loader: whatever they are, it answers or refuses in time, and never trips.

    python -m tests.fuzz.compose_files [--seconds 600] [--seed N]

Seeds are the conformance cases. A mutation deletes, repeats, swaps or exchanges lines, words and characters, also
between files. What is printed for a finding is the file and the command to see it again; the exit status is then 1.
"""

from __future__ import annotations

import argparse
import random
import re
import signal
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from composer.compose.choice import chosen_services
from composer.compose.loader import load_project
from composer.compose.pipeline import load_traced, load_tree
from composer.compose.rendering import document, render
from composer.compose.request import LoadRequest
from runtime.errors import ComposerError

CASES = Path(__file__).parent.parent / "conformance" / "cases"
LIMIT = 2.0
"""Seconds that one file may take."""
WORDS = """
    null true false yes 0 -1 1e999 .inf .nan 0o17 0x1f 1_000 2024-01-01 ~ [] {} "" '' | > & * ! !reset !override
    !!binary <<: - ? : , # % @ ` $ $$ ${ } ${A ${A:-b} ${A:?c} ${A:+d} ${B-${A}} *a &a x- services: image: build: ports:
    volumes: networks: depends_on: extends: include: deploy: healthcheck: configs: secrets: models: 80 80:80 1-2:3-4
    99999999999999999999 1h 1x 10m é \u2028 \x85 \t \0 \ufeff
""".split()
WORD = re.compile(r"\s+|[\w.${}/-]+|.", re.DOTALL)


class Slow(Exception):
    """A file took longer than :data:`LIMIT`."""


class Files:
    """Files in memory, as the loader reads them."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = files

    def read(self, path: str) -> bytes | None:
        return self.files.get(path)

    def is_file(self, path: str) -> bool:
        return path in self.files

    def is_dir(self, path: str) -> bool:
        return any(name.startswith(f"{path.rstrip('/')}/") for name in self.files)

    def exists(self, path: str) -> bool:
        return self.is_file(path) or self.is_dir(path)


def mutate(text: str, other: str, dice: random.Random, words: Sequence[str] = WORDS) -> str:
    """``text`` with one change, or a few; ``words`` are put into it."""
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        pieces = text.splitlines(keepends=True) if dice.random() < 0.5 else WORD.findall(text)
        if not pieces:
            return dice.choice(words)
        at = dice.randrange(len(pieces))
        match dice.randrange(7):
            case 0:
                del pieces[at : at + dice.randint(1, 3)]
            case 1:
                pieces[at:at] = pieces[at : at + dice.randint(1, 5)]
            case 2:
                pieces[at] = dice.choice(words)
            case 3:
                pieces.insert(at, dice.choice(words))
            case 4:
                swap = dice.randrange(len(pieces))
                pieces[at], pieces[swap] = pieces[swap], pieces[at]
            case 5:
                lines = other.splitlines(keepends=True)
                if lines:
                    start = dice.randrange(len(lines))
                    pieces[at:at] = lines[start : start + dice.randint(1, 8)]
            case _:
                character = dice.randrange(len(pieces[at]) + 1)
                pieces[at] = (
                    pieces[at][:character]
                    + chr(dice.choice((9, 10, 32, 39, 45, 58, 123)))
                    + pieces[at][character:]
                )
        text = "".join(pieces)
    return text


def load(files: Mapping[str, bytes]) -> str:
    """All that is done with a project; how it ended, for the statistics."""
    request = LoadRequest(cwd="/p", env={"A": "1", "HOME": "/root"})
    reader = Files(files)
    try:
        tree = load_tree(request, reader)
        names = chosen_services(tree.tree, (), tree.profiles, tree.unready)
        for is_json in (False, True):
            render(document(tree.tree, names, is_json=is_json), is_json=is_json)
        load_traced(request, reader)
        load_project(request, reader)
    except ComposerError:
        return "refused"
    except ValueError as error:
        # A Problem: the commands give it its place, which must not trip either.
        from composer.compose.pipeline import locate
        from composer.compose.problem import Problem

        if not isinstance(error, Problem):
            raise
        locate(request, reader, error)
        return "refused"
    return "loaded"


def too_slow(number: int, frame: FrameType | None) -> None:
    raise Slow(f"more than {LIMIT:g} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    seeds = []
    for directory in sorted(CASES.iterdir()):
        seeds.append(
            {f"/p/{p.relative_to(directory)}": p.read_bytes() for p in directory.rglob("*") if p.is_file()}
        )
    texts = [
        t.decode(errors="replace")
        for files in seeds
        for name, t in files.items()
        if name.endswith((".yaml", ".yml"))
    ]
    signal.signal(signal.SIGALRM, too_slow)
    end = time.monotonic() + given.seconds
    counts = {"loaded": 0, "refused": 0}
    number = given.seed
    while time.monotonic() < end:
        dice = random.Random(number)
        files = dict(dice.choice(seeds))
        changed = dice.choice([name for name in files if not name.endswith(".json")] or list(files))
        files[changed] = mutate(files[changed].decode(errors="replace"), dice.choice(texts), dice).encode(
            errors="surrogateescape"
        )
        signal.setitimer(signal.ITIMER_REAL, LIMIT)
        try:
            counts[load(files)] += 1
        except Exception:
            signal.setitimer(signal.ITIMER_REAL, 0)
            traceback.print_exc()
            print(f"\n{changed}:\n{files[changed].decode(errors='replace')}\nseed {number}", file=sys.stderr)
            return 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        number += 1
    print(
        f"{number - given.seed} files in {given.seconds:g} s: {counts['loaded']} loaded, {counts['refused']} refused"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
