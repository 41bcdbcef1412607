"""The end of a run: how it is shown, and whether another run follows."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from composer.engine import chronicle, uses
from composer.engine.containers import Container
from composer.engine.events import Events
from composer.engine.model import Status
from composer.engine.networking.networks import Networks
from composer.engine.restart import decide_restart
from runtime.container.status import ExitStatus


@dataclass
class Exits:
    """Writes down and tells how runs end."""

    events: Events
    networks: Networks

    def note(self, container: Container, exit_status: ExitStatus, last_delay: float) -> float | None:
        """Show how a run has ended, and whether another follows: nobody sees ``exited`` in between. The seconds until
        then; None when there is none."""
        container.shim = None
        old = container.state
        status = Status(
            status="exited",
            exit_code=exit_status.exit_code,
            oom_killed=exit_status.oom_killed,
            error=exit_status.error or old.error,
            started_at=exit_status.started_at or old.started_at,
            finished_at=exit_status.finished_at,
            restart_count=old.restart_count,
        )
        delay = next_delay(container, status, last_delay, exit_status.ran_for)
        ran_for = _lasted(status) if exit_status.ran_for is None else exit_status.ran_for
        chronicle.tell_ended(container, status, exit_status.error, ran_for, delay)
        container.set_status(status if delay is None else replace(status, status="restarting"))
        attributes = {**container.attributes, "exitCode": str(exit_status.exit_code)}
        if exit_status.oom_killed:
            self.events.publish("container", "oom", container.id, container.attributes)
        self.events.publish("container", "die", container.id, attributes)
        uses.publish_end(container, self.networks, self.events)
        return delay


def next_delay(
    container: Container, state: Status, last_delay: float, ran_for: float | None = None
) -> float | None:
    """Seconds until the next run after one that ended as ``state`` says, by the restart policy; None: there is none."""
    decision = decide_restart(
        container.config.restart,
        exit_code=state.exit_code,
        ran_for=_lasted(state) if ran_for is None else ran_for,
        restart_count=state.restart_count,
        last_delay=last_delay,
        is_manually_stopped=container.record.is_manually_stopped or not container.record.is_wanted,
    )
    if decision is None:
        container.update(is_wanted=False)
        return None
    return decision.delay


def _lasted(ended: Status) -> float:
    """Seconds by the time of day, of a run of which nothing better is known."""
    return max(0.0, (ended.finished_at - ended.started_at) / 1e9)
