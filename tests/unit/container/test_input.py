"""What a shim does with input that nobody takes."""

from __future__ import annotations

import os

import pytest

from runtime.container.loop import Loop
from runtime.container.streams import Input


@pytest.mark.parametrize("first", [b"", b"x" * (1 << 16)], ids=["at once", "while it waits"])
def test_input_that_the_container_has_closed(first: bytes) -> None:
    """It ends the input, not the shim, whose end would be the container's."""
    loop = Loop()
    theirs, ours = os.pipe()
    source, sender = os.pipe()
    fed = Input(loop, ours, is_terminal=False, once=True)
    fed.add_source(source)
    if first:
        for _ in range(2):
            os.write(sender, first)
            loop.run_once(1)
    os.close(theirs)
    if not first:
        os.write(sender, b"more")
    loop.run_once(1)
    assert not fed.is_open
    with pytest.raises(BrokenPipeError):
        os.write(sender, b"more")
    os.close(sender)
    loop.run_once(0)
