"""How steps look on a terminal."""

from __future__ import annotations

import base64
import json
import re

import pytest

from composer.cli.output.live import Item, frame
from composer.cli.output.progress import JsonRenderer, PlainRenderer, Renderer, state_of
from composer.cli.output.raw_progress import RawJsonRenderer


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("Creating", "working"),
        ("Recreate", "working"),
        ("Pulling fs layer", "working"),
        ("Download complete", "working"),
        ("Pull complete", "done"),
        ("Already exists", "done"),
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


def test_layers_at_work_are_shown_when_there_is_no_room_for_all() -> None:
    statuses = ("Pull complete", "Pulling fs layer", "Extracting", "Pull complete", "Downloading", "Waiting")
    layers = [Item(f"layer{number}", "Image", 0.0, 2) for number in range(len(statuses))]
    for layer, status in zip(layers, statuses, strict=True):
        layer.update({"status": status}, 1.0)
    picture = frame(layers, title="Pulling", now=1.0, width=40, rows=5, colour=False)
    assert [line.split()[1] for line in picture[1:]] == ["layer1", "layer2", "layer4"]
    assert picture[0] == "[+] Pulling 2/6"


def test_sentences_between_steps() -> None:
    written: list[str] = []
    Renderer(written.append).line("Digest: x")
    assert not written
    PlainRenderer(written.append).line("Digest: x")
    assert written.pop() == "Digest: x\n"
    JsonRenderer(written.append).line("Digest: x")
    assert json.loads(written.pop()) == {"status": "Digest: x"}


def test_a_picture_of_a_build() -> None:
    long, short = (Item(label, "Image", 0.0, 2) for label in ("[2/3] RUN " + "x" * 80, "[1/3] COPY a /"))
    for number in range(9):
        text = f"\x1b[1mline\x1b[0m 1%\rline {number} \x1b[2J\t漢字漢字漢字漢字漢字漢字漢字漢字漢字"
        long.update({"status": "Building", "text": text}, 0.0)
    short.update({"status": "Cached"}, 0.0)
    picture = frame([short, long], title="Building", now=1.0, width=40, rows=7, colour=False)
    assert picture == [
        "[+] Building 1/2",
        " ✔   [1/3] COPY a /      Cached    0.0s ",
        " ⠋   [2/3] RUN xxxxxxx…  Building  1.0s ",
        "     │ line 6  漢字漢字漢字漢字漢字漢…",
        "     │ line 7  漢字漢字漢字漢字漢字漢…",
        "     │ line 8  漢字漢字漢字漢字漢字漢…",
    ]
    low = frame([short, long], title="Building", now=1.0, width=40, rows=4, colour=False)
    assert len(low) == 3
    long.update({"status": "Built"}, 1.0)
    assert len(frame([short, long], title="Building", now=1.0, width=40, rows=9, colour=False)) == 3


def test_a_build_for_machines() -> None:
    written: list[str] = []
    renderer = RawJsonRenderer(written.append)
    step = {"kind": "Image", "name": "[1/1] RUN x", "parent": "i", "time": 1_500_000_000}
    renderer.step({"kind": "Image", "name": "i", "status": "Building"})
    for status, text in (("Building", ""), ("Building", "hi"), ("Built", "")):
        renderer.step({**step, "status": status, "text": text})
    begun, said, done = (json.loads(line) for line in written)
    (vertex,) = done["vertexes"]
    assert begun["vertexes"][0]["digest"] == vertex["digest"] == said["logs"][0]["vertex"]
    assert "completed" not in begun["vertexes"][0] and vertex["cached"] is False
    assert vertex["completed"] == "1970-01-01T00:00:01.500000Z"
    assert base64.b64decode(said["logs"][0]["data"]) == b"hi\n"


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("[2/4] RUN make", "[web 2/4] RUN make"),
        ("[build 2/4] RUN make", "[web build 2/4] RUN make"),
        ("why [2/4] RUN make", "why [web 2/4] RUN make"),
        ("linux/arm64 why [2/4] RUN make", "linux/arm64 why [web 2/4] RUN make"),
        ("FROM alpine", "web FROM alpine"),
        ("RUN test [ -f x ]", "web RUN test [ -f x ]"),
    ],
)
def test_steps_of_several_images_say_whose_they_are(title: str, expected: str) -> None:
    written: list[str] = []
    renderer = PlainRenderer(written.append)
    step = {"kind": "Image", "name": title, "parent": "shop-web", "service": "web"}
    renderer.step({**step, "status": "Cached"})
    renderer.step({**step, "service": "", "status": "Built"})
    assert written == [f" {expected}  Cached\n", f" {title}  Built\n"]


def test_what_steps_of_several_images_print_says_whose_it_is() -> None:
    written: list[str] = []
    renderer = PlainRenderer(written.append)
    step = {"kind": "Image", "name": "[2/4] RUN x", "parent": "shop-web", "status": "Building", "text": "hi"}
    renderer.step({**step, "service": "web"})
    renderer.step(step)
    assert written == [" [web 2/4]  | hi\n", " shop-web [2/4]  | hi\n"]


def test_plain_lines_say_how_long_a_step_took() -> None:
    written: list[str] = []
    renderer = PlainRenderer(written.append)
    for status in ("Building", "Built"):
        renderer.step({"kind": "Image", "name": "[1/1] RUN x", "parent": "i", "status": status})
    assert written[0] == " [1/1] RUN x  Building\n"
    assert re.fullmatch(r" \[1/1\] RUN x  Built  \d+\.\ds\n", written[1])
