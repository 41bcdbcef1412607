"""Projects of which something can be made: each is looked at once, as long as its files are the same."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from composer.compose.model import Project
from composer.makeable.project import demand_makeable

REMEMBERED = 16


@dataclass
class LookedAt:
    """By what they are: the loader gives the same project for the same files."""

    _good: OrderedDict[tuple[int, tuple[str, ...], bool], Project] = field(default_factory=OrderedDict)

    def demand_makeable(self, project: Project, services: Sequence[str], *, include_deps: bool) -> None:
        """Raises InvalidArgument with all that is wrong with these services and what they use."""
        key = (id(project), tuple(services), include_deps)
        if key in self._good:
            self._good.move_to_end(key)
            return
        demand_makeable(project.select(services, include_deps=include_deps))
        self._good[key] = project  # as long as it is here, no other one has its id
        if len(self._good) > REMEMBERED:
            self._good.popitem(last=False)
