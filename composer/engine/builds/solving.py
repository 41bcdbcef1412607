"""Doing what a build needs: the solver says which steps and in which order, the worker does them, side by side.

Equal steps are done once, also those of builds that go on at the same time: whoever comes second waits and finds the
result in the cache.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import trio

from composer.engine.builds.workshop import Tell, Workshop
from runtime.build.frontend.lines import Line
from runtime.build.solver.cache_config import CachedResult
from runtime.build.solver.explain import Outcome
from runtime.build.solver.graph import Schedule, in_order, step_graph, to_do
from runtime.build.solver.keys import Fresh, chain_key, content_key, digest, is_independent, layer_key
from runtime.build.steps import (
    ContextSource,
    Copy,
    DockerfileError,
    FetchSource,
    GitCheckout,
    ImageSource,
    LayerStep,
    Selection,
    Step,
    combined,
)
from runtime.build.worker.records import CacheRecord
from runtime.build.worker.snapshot import Snapshot
from runtime.build.worker.worker import Setting
from runtime.errors import ComposerError

if TYPE_CHECKING:
    import networkx as nx

_ATTEMPTS = 3
"""How often a step is done whose context changes meanwhile."""


@dataclass(frozen=True)
class ImportedCache:
    """A cache elsewhere: what it has by key, and how to bring that here."""

    name: str
    results: Mapping[str, CachedResult]
    bring: Callable[[CachedResult], Awaitable[Snapshot]]


@dataclass
class Solve:
    """One build. ``remembered`` (chain key -> result) is shared by the builds of one command, so that with
    ``--no-cache``, too, a step is done once."""

    shop: Workshop
    setting: Setting
    fresh: Fresh
    resolve: Callable[[ImageSource], Awaitable[Snapshot]]
    tell: Tell
    remembered: dict[str, Snapshot] = field(default_factory=dict)
    imports: Sequence[ImportedCache] = ()
    results: dict[Step, Snapshot] = field(default_factory=dict)
    _keys: dict[Step, str] = field(default_factory=dict)
    _contents: dict[Selection, str] = field(default_factory=dict)
    _uncertain: set[Step] = field(default_factory=set)
    """Steps whose chain key says nothing: something before them is done again, or has changed meanwhile."""
    _used: list[str] = field(default_factory=list)
    _outcomes: dict[Step, Outcome] = field(default_factory=dict)
    """Of what was not simply in the cache."""
    _layers: dict[Step, CacheRecord] = field(default_factory=dict)
    """Of each ``COPY --link``: its layer alone."""
    _holds: list[str] = field(default_factory=list)
    has_made: bool = False
    """Whether anything had to be done."""

    async def run(self, targets: Sequence[Step]) -> Mapping[Step, Snapshot]:
        """The results of ``targets`` (and of others). They are in use until :meth:`close`. Raises DockerfileError,
        ComposerErrors."""
        graph = step_graph(targets)
        order = tuple(in_order(graph))
        await _all([(self._find, step) for step in order if not isinstance(step, LayerStep)])
        await self._digest_contexts(order)
        self._set_keys(order)
        known = {
            step: found
            for step in order
            if isinstance(step, LayerStep) and (found := self._cached(step)) is not None
        }
        await self._import_known(graph, targets, order, known)
        needed = to_do(graph, targets, known.keys() | self.results.keys())
        for step in order:
            if isinstance(step, LayerStep) and (step in known or step not in needed):
                if step in known:
                    self.results[step] = known[step]
                self._used.append(self._keys[step])
                await self.tell(step.title, "Cached", "")
        await self._do_all(graph, frozenset(needed - self.results.keys()))
        self.shop.cache.touch(self._used)
        await trio.to_thread.run_sync(self.shop.worker.save_contexts)
        return self.results

    def __post_init__(self) -> None:
        self.shop.builds += 1

    def _held(self, snapshot: Snapshot) -> Snapshot:
        """Not to be pruned until the build is over."""
        if snapshot.image is not None:
            self._holds.append(snapshot.image.id)
            self.shop.in_use[snapshot.image.id] += 1
        return snapshot

    def close(self) -> None:
        """The results are needed no more."""
        for image_id in self._holds:
            self.shop.in_use[image_id] -= 1
            if not self.shop.in_use[image_id]:
                del self.shop.in_use[image_id]
        self.shop.builds -= 1

    async def _import_known(
        self,
        graph: nx.DiGraph[Step],
        targets: Sequence[Step],
        order: Sequence[Step],
        known: dict[LayerStep, Snapshot],
    ) -> None:
        """Add to ``known`` what caches elsewhere have, as far as it is needed."""
        keys = {
            step: self._keys[step]
            for step in order
            if isinstance(step, LayerStep) and step not in known and step not in self._uncertain
        }
        elsewhere = {step for step, key in keys.items() if any(key in one.results for one in self.imports)}
        while elsewhere:
            needed = to_do(graph, targets, elsewhere | known.keys() | self.results.keys())
            step = next((one for one in order if one in elsewhere and one in needed), None)
            if not isinstance(step, LayerStep):
                return
            elsewhere.discard(step)
            if (found := await self._imported(step, keys[step])) is not None:
                self.shop.cache.put([keys[step]], found, step.text)
                known[step] = found

    async def _imported(self, step: LayerStep, key: str) -> Snapshot | None:
        """What a cache elsewhere has under a key, brought here."""
        for cache in self.imports:
            if (result := cache.results.get(key)) is None:
                continue
            try:
                found = self._held(await cache.bring(result))
            except ComposerError as error:
                await self.tell(f"importing from {cache.name}", "Warning", error.message.partition("\n")[0])
            else:
                self.has_made = True
                self._outcomes[step] = "imported"
                return found
        return None

    @property
    def chain_keys(self) -> Mapping[Step, str]:
        return self._keys

    @property
    def contents(self) -> Mapping[Selection, str]:
        """What was read, as far as it had to be."""
        return self._contents

    @property
    def ordered(self) -> tuple[Step, ...]:
        """All that belong to the build, each after those that it reads."""
        return tuple(self._keys)

    def steps(self) -> list[LayerStep]:
        """All that are needed, in order."""
        return [step for step in self._keys if isinstance(step, LayerStep)]

    def outcome(self, step: Step) -> Outcome:
        return self._outcomes.get(step, "cached")

    async def bring_all(self) -> None:
        """What caches elsewhere have of steps that were not needed, for a cache that is to have all."""
        for step, key in self._keys.items():
            if not isinstance(step, LayerStep) or step in self.results or step in self._uncertain:
                continue
            if self.shop.cache.by_key(key) is None and (found := await self._imported(step, key)) is not None:
                self.shop.cache.put([key], found, step.text)

    def records(self) -> list[CacheRecord]:
        """Of the steps that were needed, as the cache has them, in order."""
        found: dict[str, CacheRecord] = {}
        for step in self._keys:
            if not isinstance(step, LayerStep):
                continue
            record = None
            if step in self.results:
                record = self.shop.cache.of(self.results[step])
            elif step not in self._uncertain:
                record = self.shop.cache.by_key(self._keys[step])
            if record is not None:
                found[record.id] = record
            if (layer := self._layers.get(step)) is not None:
                found[layer.id] = layer
        return list(found.values())

    async def _find(self, step: Step) -> None:
        """The result of a source."""
        match step:
            case ImageSource():
                await self.tell(step.title, "Building", "")
                self.results[step] = self._held(await self.resolve(step))
                await self.tell(step.title, "Built", "")
            case ContextSource():
                self.results[step] = self.shop.worker.context(step, self.setting)
            case FetchSource() | GitCheckout():
                await self.tell(step.title, "Building", "")
                self.results[step] = await self.shop.worker.fetch(step, self.setting)
                await self.tell(step.title, "Built", "")

    async def _digest_contexts(self, order: Sequence[Step]) -> None:
        """Of what is there before any step is done. Raises DockerfileError with all that is not, as the file has it."""
        failures: list[tuple[int, DockerfileError]] = []

        async def one(step: LayerStep, selection: Selection) -> None:
            try:
                await self._digest(selection)
            except ComposerError as error:
                if not isinstance(error, DockerfileError):
                    error = selection.error(error.message)
                line = step.place.number if isinstance(step.place, Line) else 0
                failures.append((line, error))

        async with trio.open_nursery() as nursery:
            for step in order:
                for selection in step.selections if isinstance(step, LayerStep) else ():
                    source = self.results.get(selection.source)
                    if isinstance(step, LayerStep) and source is not None and source.image is None:
                        nursery.start_soon(one, step, selection)
        if failures:
            raise combined([error for _, error in sorted(failures, key=lambda failure: failure[0])])

    async def _digest(self, selection: Selection) -> None:
        self._contents[selection] = await self.shop.worker.digest(selection, self.results[selection.source])

    def _set_keys(self, order: Sequence[Step]) -> None:
        for step in order:
            if not isinstance(step, LayerStep):
                self._keys[step] = digest(("source", type(step).__name__, self.results[step].chain_id))
                continue
            self._keys[step] = chain_key(step, self._keys, self._contents)
            if self.fresh(step) or any(one in self._uncertain for one in step.inputs):
                self._uncertain.add(step)

    def _cached(self, step: LayerStep) -> Snapshot | None:
        """By its chain key."""
        key = self._keys[step]
        if step in self._uncertain:
            found = self.remembered.get(key) if self.fresh(step) else None
        else:
            found = self.shop.cache.find(key)
        return self._held(found) if found is not None else None

    async def _do_all(self, graph: nx.DiGraph[Step], steps: frozenset[Step]) -> None:
        schedule = Schedule(graph, steps)
        failures: list[ComposerError] = []

        async def one(step: Step, nursery: trio.Nursery) -> None:
            try:
                assert isinstance(step, LayerStep)
                self.results[step] = await self._do(step)
            except ComposerError as error:
                failures.append(error)
                nursery.cancel_scope.cancel()
                return
            schedule.finish(step)
            begin(nursery)

        def begin(nursery: trio.Nursery) -> None:
            for step in schedule.begin():
                nursery.start_soon(one, step, nursery)

        async with trio.open_nursery() as nursery:
            begin(nursery)
        if failures:
            raise failures[0]

    async def _do(self, step: LayerStep) -> Snapshot:
        key = self._keys[step]
        async with self.shop.flight.hold(key):
            if (known := self._cached(step)) is not None:
                await self.tell(step.title, "Cached", "")
                return known
            for _ in range(_ATTEMPTS):
                for selection in step.selections:
                    if selection not in self._contents:
                        await self._digest(selection)
                if (made := await self._make(step)) is not None:
                    self.remembered[key] = made
                    return made
                self._doubt(step)
        raise step.place.error("files of the context change while they are read")

    def _doubt(self, step: Step) -> None:
        """The context is another than it was: keys of this step, and of those after it, are no longer true."""
        for selection in step.selections if isinstance(step, LayerStep) else ():
            self._contents.pop(selection, None)
            snapshot = self.results[selection.source]
            if snapshot.rescan is not None:
                self.results[selection.source] = self.shop.worker.looked_at_again(snapshot)
        doubted = {step}
        for other in self._keys:
            if any(one in doubted for one in other.inputs):
                doubted.add(other)
        self._uncertain |= doubted

    async def _make(self, step: LayerStep) -> Snapshot | None:
        """The result by its content key, or by doing it; None when what it reads has changed meanwhile."""
        below = self.results[step.below] if step.below is not None else self.shop.worker.nothing
        key = content_key(step, below.chain_id, self._contents)
        keys = [key] if step in self._uncertain else [self._keys[step], key]
        async with self.shop.flight.hold(key):
            found = None
            if not self.fresh(step):
                found = self.shop.cache.find(key) or await self._imported(step, key)
            if found is not None:
                found = replace(self._held(found), made=(*below.made, *found.made[-1:]))
                self.shop.cache.put(keys, found, step.text)
                self._used.append(key)
                await self.tell(step.title, "Cached", "")
                return found
            if isinstance(step, Copy) and is_independent(step):
                made = await self._linked(step, below)
            else:
                made = await self._done(step)
            if made is not None:
                self.shop.cache.put(keys, made, step.text)
            return made

    async def _linked(self, step: Copy, below: Snapshot) -> Snapshot | None:
        """The layer of a ``COPY --link``, whatever it is put on."""
        key = layer_key(step, self._contents)
        async with self.shop.flight.hold(("layer", key)):
            layer = None
            if not self.fresh(step):
                layer = self.shop.cache.find(key) or await self._imported(step, key)
            if layer is not None:
                self.shop.cache.put([key], layer, step.text)
                self._held(layer)
                self._used.append(key)
                await self.tell(step.title, "Cached", "")
            else:
                layer = await self._done(step, alone=True)
                if layer is None:
                    return None
                self.shop.cache.put([key], layer, step.text)
        if (record := self.shop.cache.of(layer)) is not None:
            self._layers[step] = record
        return self._held(await self.shop.worker.put_upon(layer, below))

    async def _done(self, step: LayerStep, *, alone: bool = False) -> Snapshot | None:
        async def output(text: str) -> None:
            await self.tell(step.title, "Building", text)

        worker = self.shop.worker
        async with self.shop.limit:
            await self.tell(step.title, "Building", "")
            try:
                made = self._held(await worker.do(step, self.results, self.setting, output, alone=alone))
            except ComposerError:
                if await self._is_unchanged(step):
                    await self.tell(step.title, "Error", "")
                    raise
                return None
            self.has_made = True
            self._outcomes[step] = "built"
            if not await self._is_unchanged(step):
                return None
        await self.tell(step.title, "Built", "")
        return made

    async def _is_unchanged(self, step: LayerStep) -> bool:
        for selection in step.selections:
            snapshot = self.results[selection.source]
            if not await self.shop.worker.is_unchanged(selection, snapshot, self._contents[selection]):
                return False
        return True


async def _all(calls: Sequence[tuple[Callable[..., Awaitable[None]], object]]) -> None:
    """Side by side; the first that fails ends the others, and what it raised is raised."""
    failures: list[ComposerError] = []

    async def one(call: Callable[..., Awaitable[None]], argument: object) -> None:
        try:
            await call(argument)
        except ComposerError as error:
            failures.append(error)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for call, argument in calls:
            nursery.start_soon(one, call, argument)
    if failures:
        raise failures[0]
