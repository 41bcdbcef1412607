"""``--dry-run``: what a request would do, as sentences. Nothing is pulled, built, made or removed."""

from __future__ import annotations

from composer.engine.builds.builds import Builds
from composer.engine.projects.building import images_to_build
from composer.engine.projects.parts import Parts
from composer.engine.projects.pulling import must_pull
from composer.engine.requests import ResultEvent, UpRequest
from composer.plan.display import explain
from composer.plan.steps import DownPlan, Plan


def rehearse_up(parts: Parts, builds: Builds, plan: Plan, request: UpRequest) -> ResultEvent:
    """The steps of an ``up`` in the order in which they can be done.

    A missing image is planned with what its service says; what the image itself would bring (volumes, for
    one) is known only when it is here. Raises ComposerError when an image could not be had.
    """
    built = () if request.no_build else images_to_build(builds, plan.images, request)
    pulled = [image for image in plan.images if image not in built and must_pull(parts, image, request.pull)]
    steps = [f"build image {image.reference} of {', '.join(image.services)}" for image in built]
    steps += [f"pull image {image.reference} of {', '.join(image.services)}" for image in pulled]
    return ResultEvent(data={"Steps": [*steps, *explain(plan)]})


def rehearse_down(plan: DownPlan) -> ResultEvent:
    """What a ``down`` would remove, in order."""
    steps = [f"remove container {container.name}" for group in plan.containers for container in group]
    steps += [f"remove network {name}" for name in plan.networks]
    steps += [f"keep network {name} (containers that stay are on it)" for name in plan.busy_networks]
    steps += [f"remove volume {name}" for name in plan.volumes]
    steps += [f"remove image {name}" for name in plan.images]
    return ResultEvent(data={"Steps": steps})
