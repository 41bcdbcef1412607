"""What ``up`` refuses, and how the first Ctrl-C differs from the second."""

from __future__ import annotations

import signal

import pytest

from composer.cli.arguments import UsageError, parse_command
from composer.cli.project.attached import _Interrupts
from composer.cli.project.log_lines import LogPrinter
from composer.cli.project.up import COMMANDS, run_up, scales


def refusal(*words: str) -> str:
    with pytest.raises(UsageError) as caught:
        run_up(None, parse_command(COMMANDS["up"], words))  # type: ignore[arg-type]
    return caught.value.message


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--pull sometimes", 'invalid --pull option "sometimes"'),
        ("--scale web", 'invalid --scale option "web". Should be SERVICE=NUM'),
        ("--scale web=-1", 'invalid --scale option "web=-1". Should be SERVICE=NUM'),
        ("--build --no-build", "--build and --no-build are incompatible"),
        ("--force-recreate --no-recreate", "--force-recreate and --no-recreate are incompatible"),
        ("--always-recreate-deps --no-recreate", "--always-recreate-deps and --no-recreate are incompatible"),
        (
            "--abort-on-container-exit --abort-on-container-failure",
            "--abort-on-container-failure cannot be combined with --abort-on-container-exit",
        ),
    ],
)
def test_refusals(line: str, expected: str) -> None:
    assert refusal(*line.split()) == expected


@pytest.mark.parametrize("background", ["--detach", "--wait"])
@pytest.mark.parametrize(
    "attached",
    ["--abort-on-container-exit", "--abort-on-container-failure", "--attach=a", "--exit-code-from=a"],
)
def test_nobody_is_attached_in_the_background(background: str, attached: str) -> None:
    assert refusal(background, attached).startswith(f"{background} cannot be combined with")


def test_scales() -> None:
    assert scales(["web=3", "db=0"]) == {"web": 3, "db": 0}


class _Recorded(_Interrupts):
    def __init__(self) -> None:
        printer = LogPrinter(lambda data: None, colour=False)
        super().__init__(self, {}, printer)  # type: ignore[arg-type]
        self.verbs: list[str] = []

    def write_status(self, text: str) -> None: ...

    def _fork(self, verb: str, more: object) -> None:
        self.verbs.append(verb)


@pytest.mark.parametrize(
    ("signals", "verbs"),
    [
        ([signal.SIGINT], ["stop"]),
        ([signal.SIGINT, signal.SIGINT], ["stop", "kill"]),
        ([signal.SIGTERM, signal.SIGTERM], ["stop"]),
        ([signal.SIGTERM, signal.SIGINT], ["stop", "kill"]),
    ],
)
def test_a_second_ctrl_c_kills(signals: list[signal.Signals], verbs: list[str]) -> None:
    interrupts = _Recorded()
    for number in signals:
        interrupts(number, None)
    assert interrupts.verbs == verbs


@pytest.mark.parametrize(
    ("named", "shown", "stopped"),
    [([], {"web"}, []), (["web"], {"web"}, ["web"]), (["web"], {"web", "db"}, ["db", "web"])],
)
def test_what_is_shown_stops(named: list[str], shown: set[str], stopped: list[str]) -> None:
    interrupts = _Recorded()
    interrupts.body, interrupts.shown = {"services": named}, shown
    assert interrupts.services == stopped
