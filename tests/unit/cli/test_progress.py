"""How steps look on a terminal."""

from __future__ import annotations

import json

import pytest

from composer.cli.progress import Item, JsonRenderer, PlainRenderer, Renderer, frame, state_of


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("Creating", "working"),
        ("Recreate", "working"),
        ("Running", "done"),
        ("Removed", "done"),
        ("Resource is still in use", "warning"),
        ("Warning", "warning"),
        ("Error", "error"),
    ],
)
def test_states(status: str, state: str) -> None:
    assert state_of(status) == state


def test_a_picture_without_colours() -> None:
    network = Item("Network shop_default", "Network", 0.0, 0)
    network.update({"status": "Resource is still in use"}, 0.25)
    web = Item("Container shop-web-1", "Container", 0.0, 0)
    web.update({"status": "Stopping"}, 0.5)
    picture = frame([web, network], title="Stopping", now=1.0, width=60, rows=10, colour=False)
    assert picture == [
        "[+] Stopping 1/2",
        " ⠋ Container shop-web-1  Stopping                      1.0s ",
        " ! Network shop_default  Resource is still in use      0.2s ",
    ]


def test_sentences_between_steps() -> None:
    written: list[str] = []
    Renderer(written.append).line("Digest: x")
    assert not written
    PlainRenderer(written.append).line("Digest: x")
    assert written.pop() == "Digest: x\n"
    JsonRenderer(written.append).line("Digest: x")
    assert json.loads(written.pop()) == {"status": "Digest: x"}
