"""Labels of the containers that steps are done in."""

from __future__ import annotations

from collections.abc import Mapping

STEP_LABEL = "composer.build.step"
"""Of all of them: those that a killed engine leaves are removed when the next one starts."""
KEEP_LABEL = "composer.build.keep"
"""Of those that stay when their program fails, to be looked at."""


def is_inner(labels: Mapping[str, str]) -> bool:
    """Whether a container is a build's own affair, which lists and events do not tell of."""
    return STEP_LABEL in labels and KEEP_LABEL not in labels
