"""What the steps of a Dockerfile depended on when they were last built, so that ``build --explain`` can say what has
changed since."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from composer.engine.builds.solving import Solve
from composer.engine.builds.workshop import Tell
from runtime.build.solver.explain import BELOW, FILES, Trace, explain
from runtime.build.solver.keys import digest, facts_of, selection_facts
from runtime.build.steps import LayerStep
from runtime.storage.state import StateDatabase

KIND = "build-trace"


@dataclass
class Traces:
    database: StateDatabase

    async def follow(self, solve: Solve, file: str, tell: Tell | None) -> None:
        """Remember what the steps of a build depended on, and say to ``tell`` why each was done or not."""
        for step in solve.steps():
            if not step.number:  # of no line
                continue
            key = digest((file, step.stage, step.number))
            body = self.database.get(KIND, key)
            before = msgspec.json.decode(body, type=Trace) if body is not None else None
            now = await self._trace(solve, step, before)
            if now != before:
                self.database.put(KIND, key, msgspec.json.encode(now))
            if tell is not None:
                outcome = solve.outcome(step)
                reason = explain(before, now, outcome, is_fresh=solve.fresh(step))
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
