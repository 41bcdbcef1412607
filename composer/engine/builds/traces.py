"""What the steps of a Dockerfile depended on when they were last built, so that ``build --explain`` can say what has
changed since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import trio

from composer.engine.builds.solving import Solve
from composer.engine.builds.workshop import Tell
from runtime.build.solver.explain import BELOW, FILES, Outcome, Trace, explain
from runtime.build.solver.keys import digest, facts_of, selection_facts
from runtime.build.steps import LayerStep
from runtime.storage.state import StateDatabase

KIND = "build-trace"


def by_stage(steps: Sequence[LayerStep]) -> list[LayerStep]:
    """Those that have a line, one stage after the other, each in its order. ``steps`` are so that each comes after
    those that it reads: a stage that another reads ends before it."""
    last = {step.stage: position for position, step in enumerate(steps)}
    return sorted((step for step in steps if step.number), key=lambda step: (last[step.stage], step.number))


@dataclass
class Traces:
    database: StateDatabase
    _turn: trio.Lock = field(default_factory=trio.Lock)

    async def follow(self, solve: Solve, file: str, tell: Tell | None) -> None:
        """Remember what the steps of a build depended on, and say to ``tell`` why each was done or not."""
        reasons: list[tuple[LayerStep, Outcome, str]] = []
        for step in by_stage(solve.steps()):
            key = digest((file, step.stage, step.number))
            body = self.database.get(KIND, key)
            before = msgspec.json.decode(body, type=Trace) if body is not None else None
            now = await self._trace(solve, step, before)
            if now != before:
                self.database.put(KIND, key, msgspec.json.encode(now))
            if tell is not None:
                outcome = solve.outcome(step)
                reasons.append((step, outcome, explain(before, now, outcome, is_fresh=solve.fresh(step))))
        if tell is not None:
            async with self._turn:  # those of one image stand together
                for step, outcome, reason in reasons:
                    await tell(f"why {step.title}", "Built" if outcome == "built" else "Cached", reason)

    async def _trace(self, solve: Solve, step: LayerStep, before: Trace | None) -> Trace:
        keys, contents = solve.chain_keys, solve.contents
        parts = {name: digest(value) for name, value in facts_of(step)}
        parts[BELOW] = keys[step.below] if step.below is not None else ""
        is_changed = before is None
        for selection in step.selections:
            name = f"{FILES}{' '.join(selection.patterns)} in {selection.source.text}"
            snapshot = solve.results.get(selection.source)
            if snapshot is not None and snapshot.image is None:
                parts[name] = contents.get(selection, "")
            else:
                parts[name] = digest((keys[selection.source], *selection_facts(selection)))
            is_changed = is_changed or before is None or before.parts.get(name) != parts[name]
        if not is_changed and before is not None:
            return Trace(step.text, parts, before.files)
        files: dict[str, str] = {}
        for selection in step.selections:
            if (snapshot := solve.results.get(selection.source)) is not None:
                files |= await solve.shop.worker.files(selection, snapshot)
        return Trace(step.text, parts, files)
