"""Waits for the health of services that have no healthcheck: told before anything is started."""

from __future__ import annotations

from composer.engine.health import merge_healthcheck
from composer.engine.projects.parts import Parts
from composer.plan.steps import Plan
from runtime.errors import ComposerError


def check_health_waits(plan: Plan, parts: Parts) -> None:
    """Raises ComposerError for a service that is to start when another is healthy that never will be. The images of
    the plan are here: the check may be in one of them."""
    without = {
        replica.service
        for replica in plan.replicas
        if replica.config is not None
        and (image := parts.images.resolve(replica.config.image)) is not None
        and merge_healthcheck(replica.config.healthcheck, image.config.healthcheck) is None
    }
    for replica in plan.replicas:
        for wait in replica.waits:
            if wait.condition == "service_healthy" and wait.required and wait.service in without:
                raise ComposerError(
                    f"service {wait.service} has no healthcheck configured: {replica.service} would never start",
                    hint=f"give {wait.service} a healthcheck, or wait for service_started",
                ).pointing_at(f"services.{replica.service}.depends_on.{wait.service}.condition")
