"""``--dry-run``: the steps in words."""

from __future__ import annotations

from composer.engine.projects.rehearsal import rehearse_down
from composer.plan.steps import DownPlan, Orphan


def test_down_in_order() -> None:
    web, db = Orphan("1", "p-web-1", "web"), Orphan("2", "p-db-1", "db")
    plan = DownPlan(
        containers=((web,), (db,)),
        networks=("p_default",),
        busy_networks=("p_back",),
        volumes=("p_data",),
        images=("app:1",),
    )
    assert rehearse_down(plan).data == {
        "Steps": [
            "remove container p-web-1",
            "remove container p-db-1",
            "remove network p_default",
            "keep network p_back (containers that stay are on it)",
            "remove volume p_data",
            "remove image app:1",
        ]
    }


def test_nothing_to_take_down() -> None:
    assert rehearse_down(DownPlan()).data == {"Steps": []}
