"""Which events Docker's filters let through."""

from __future__ import annotations

import pytest

from composer.engine.events import matches
from composer.engine.model import EngineEvent

ID = "sha256:98cf29948012"


def event(type: str, actor_id: str, **attributes: str) -> EngineEvent:
    return EngineEvent(type=type, action="die", actor_id=actor_id, attributes=attributes, time_ns=1)  # type: ignore[arg-type]


CONTAINER = event("container", "031ff11dc707", name="web", image="here:5000/app:1", size="big")
IMAGE = event("image", ID, name="app:1")
NETWORK = event("network", "f6a17fee677e", name="web", container="031ff11dc707")


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"image": ["here:5000/app:1"]}, [CONTAINER]),
        ({"image": ["here:5000/app"]}, [CONTAINER]),
        ({"image": ["here"]}, []),
        ({"image": ["app"]}, [IMAGE]),
        ({"image": [ID[:12]]}, [IMAGE]),
        ({"image": ["98cf"]}, [IMAGE]),
        ({"image": ["031ff11dc707", "web"]}, []),
        ({"container": ["web"]}, [CONTAINER]),
        ({"container": ["031f"], "event": ["die"], "label": ["size=big"]}, [CONTAINER]),
        ({"network": ["web"]}, [NETWORK]),
        ({"type": ["image", "network"]}, [IMAGE, NETWORK]),
        ({"label": ["size=small"]}, []),
    ],
)
def test_filters(filters: dict[str, list[str]], found: list[EngineEvent]) -> None:
    assert [one for one in (CONTAINER, IMAGE, NETWORK) if matches(one, filters)] == found
