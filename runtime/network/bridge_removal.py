"""Bridges that go at the same moment go together: the kernel takes some 50 ms for one, and only one at a time."""

from __future__ import annotations

import trio

from runtime.network.bridge import remove_bridges


class BridgeRemoval:
    """Removes bridges for many that want one removed at the same moment: what comes while the kernel is at work goes
    together the next time."""

    def __init__(self, tag: str) -> None:
        self._tag = tag
        self._wanted: list[tuple[str, trio.Event]] = []
        self._turn = trio.Lock()

    async def remove(self, name: str) -> None:
        """As :func:`remove_bridge`. Raises what the removal of all that went together raises."""
        gone = trio.Event()
        self._wanted.append((name, gone))
        async with self._turn:
            if gone.is_set():
                return
            wanted, self._wanted = self._wanted, []
            try:
                await trio.to_thread.run_sync(remove_bridges, [one for one, _ in wanted], self._tag)
            except BaseException:
                self._wanted = [one for one in wanted if one[1] is not gone] + self._wanted
                raise
            for _, event in wanted:
                event.set()
