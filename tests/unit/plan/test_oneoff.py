"""What a one-off container of ``run`` has of its service."""

from __future__ import annotations

from composer.compose import model as m
from composer.engine.requests import ProjectSource, RunRequest
from composer.plan.observed import Observed
from composer.plan.oneoff import plan_run
from runtime.container.config import Hook


def test_run_has_no_post_start_hooks() -> None:
    """As in Docker Compose; down runs what is before the end."""
    hooks = (m.Hook(command=("a",)),)
    service = m.Service(name="web", image="busybox", post_start=hooks, pre_stop=hooks)
    project = m.Project(name="shop", working_dir="/srv/shop", services={"web": service})
    request = RunRequest(project=ProjectSource(cwd="/srv/shop"), service="web")
    config = plan_run(project, Observed(), request, "1f").config
    assert config.post_start == ()
    assert config.pre_stop == (Hook(command=("a",)),)
