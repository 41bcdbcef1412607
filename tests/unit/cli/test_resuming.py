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
        lines.append({"container": container, "time": now, "line": str(number)})
    return lines


@given(steps=LINES, cuts=st.lists(st.integers(0, 30), max_size=3))
def test_every_line_once(steps: list[tuple[str, int]], cuts: list[int]) -> None:
    log = _log(steps)
    shown, seen, since = Shown(None, 0, has_tail=False), [], None
    for cut in [*sorted(cuts), len(log)]:
        for line in log[:cut]:
            if (since is None or line["time"] >= since) and shown.is_new(line):  # type: ignore[operator]
                seen.append(line["line"])
        since = shown.begin_again()
    assert sorted(seen, key=lambda text: int(str(text))) == [
        line["line"] for line in log[: max([*cuts, len(log)])]
    ]


@given(
    steps=st.lists(st.tuples(st.sampled_from("ab"), st.integers(-3, 3)), max_size=30),
    cuts=st.lists(st.integers(0, 30), max_size=3),
)
def test_every_line_once_when_the_clock_is_set_back(steps: list[tuple[str, int]], cuts: list[int]) -> None:
    """Times of batches differ: no two have the same one unless they are neighbours."""
    log, used = [], set()
    for number, (container, later) in enumerate(steps):
        time = (1000 if not log else int(str(log[-1]["time"]))) + later * 100
        while later and time in used:
            time += 1
        used.add(time)
        log.append({"container": container, "time": time, "line": str(number)})
    shown, seen = Shown(None, 0, has_tail=False), []
    for cut in [*sorted(cuts), len(log)]:
        seen += [line["line"] for line in log[:cut] if shown.is_new(line)]
        shown.begin_again()
    assert seen == [line["line"] for line in log]


def test_from_the_end_only() -> None:
    shown = Shown(None, 200, has_tail=True)
    assert shown.is_new({"container": "a", "time": 150})  # of the tail
    since = shown.begin_again()
    assert since == 150
    assert not shown.is_new({"container": "a", "time": 150})
    assert not shown.is_new({"container": "b", "time": 160})  # was before the tail
    assert shown.is_new({"container": "b", "time": 201})
    assert shown.is_new({"container": "a", "time": 201})


def test_nothing_was_shown() -> None:
    assert Shown(None, 200, has_tail=True).begin_again() == 200
    assert Shown(7, 200, has_tail=False).begin_again() == 7
    assert Shown(None, 200, has_tail=False).begin_again() is None
