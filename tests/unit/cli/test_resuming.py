"""Following logs beyond the life of an engine: every line once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from composer.cli.project.resuming import Shown

LINES = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3)), max_size=30)


def _log(steps: list[tuple[str, int]]) -> list[dict[str, object]]:
    """Lines in the order of time, some at the same one."""
    now, lines = 100, []
    for number, (container, later) in enumerate(steps):
        now += later
        lines.append({"container": container, "times": [now], "text": str(number)})
    return lines


@given(steps=LINES, cuts=st.lists(st.integers(0, 30), max_size=3))
def test_every_line_once(steps: list[tuple[str, int]], cuts: list[int]) -> None:
    log = _log(steps)
    shown, seen, since = Shown(None, 0, has_tail=False), [], None
    for cut in [*sorted(cuts), len(log)]:
        for line in log[:cut]:
            if (since is None or line["times"][0] >= since) and shown.news_of(line):  # type: ignore[index,operator]
                seen.append(line["text"])
        since = shown.begin_again()
    assert sorted(seen, key=lambda text: int(str(text))) == [
        line["text"] for line in log[: max([*cuts, len(log)])]
    ]


@given(
    steps=st.lists(st.tuples(st.sampled_from("ab"), st.integers(-3, 3)), max_size=30),
    cuts=st.lists(st.integers(0, 30), max_size=3),
)
def test_every_line_once_when_the_clock_is_set_back(steps: list[tuple[str, int]], cuts: list[int]) -> None:
    """Times of batches differ: no two have the same one unless they are neighbours."""
    log, used = [], set()
    for number, (container, later) in enumerate(steps):
        time = (100_000 if not log else log[-1]["times"][0]) + later * 100
        while later and time in used:
            time += 1
        used.add(time)
        log.append({"container": container, "times": [time], "text": str(number)})
    shown, seen = Shown(None, 0, has_tail=False), []
    for cut in [*sorted(cuts), len(log)]:
        seen += [line["text"] for line in log[:cut] if shown.news_of(line)]
        shown.begin_again()
    assert seen == [line["text"] for line in log]


def test_what_is_asked_for_is_not_in_the_future_of_a_clock_that_was_set_back() -> None:
    shown = Shown(None, 1000, has_tail=True)
    assert shown.begin_again(400) == 600
    assert not shown.news_of({"container": "a", "times": [599]})
    assert shown.news_of({"container": "a", "times": [601]})
    shown = Shown(900, 1000, has_tail=False)
    assert shown.news_of({"container": "a", "times": [950]})
    assert shown.begin_again(400) == 500
    assert not shown.news_of(
        {"container": "a", "times": [700]}
    )  # not asked for, with the clock that was then
    assert not shown.news_of({"container": "a", "times": [950]})
    assert shown.news_of({"container": "a", "times": [701]})


def test_from_the_end_only() -> None:
    shown = Shown(None, 200, has_tail=True)
    assert shown.news_of({"container": "a", "times": [150]})  # of the tail
    since = shown.begin_again()
    assert since == 150
    assert not shown.news_of({"container": "a", "times": [150]})
    assert not shown.news_of({"container": "b", "times": [160]})  # was before the tail
    assert shown.news_of({"container": "b", "times": [201]})
    assert shown.news_of({"container": "a", "times": [201]})


def test_nothing_was_shown() -> None:
    assert Shown(None, 200, has_tail=True).begin_again() == 200
    assert Shown(7, 200, has_tail=False).begin_again() == 7
    assert Shown(None, 200, has_tail=False).begin_again() is None


def test_some_of_what_comes_together_were_shown() -> None:
    shown = Shown(None, 0, has_tail=False)
    assert shown.news_of({"container": "a", "times": [1, 2, 2], "text": "x\ny\nz"})
    shown.begin_again()
    again = shown.news_of({"container": "a", "times": [1, 2, 2, 2, 3], "text": "x\ny\nz\nnew\nlast"})
    assert again == {"container": "a", "times": [2, 3], "text": "new\nlast"}
    shown.begin_again()
    binary = shown.news_of({"container": "a", "times": [3, 4], "text64": "eAr/"})
    assert binary == {"container": "a", "times": [4], "text64": "/w=="}
