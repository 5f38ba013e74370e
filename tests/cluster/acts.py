"""What cases do in a place, and what they see of it."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.errors import (
    RolledBackError,
    RolloutInconclusiveError,
)
from tests.cluster.places import Place


def start(place: Place, number: int) -> None:
    with place.cluster() as cluster:
        place.rollout(cluster).start(number)


def status(place: Place) -> dict[str, Any]:
    with place.cluster() as cluster:
        return place.rollout(cluster).status()


def serves(place: Place) -> tuple[int | None, int | None]:
    """The versions of stable and canary."""
    found = status(place)
    versions = [found[track] and found[track]["version"] for track in ("stable", "canary")]
    return versions[0], versions[1]


def fails(place: Place, number: int, why: str, stage: str) -> None:
    """A second version that is rolled back, while the first one serves on."""
    with pytest.raises(RolledBackError, match=why):
        start(place, number)
    assert serves(place) == (place.good[0], None)
    assert place.store.stage("taxi", number) == stage


def hold(place: Place) -> None:
    """The first version serves, and the second one's canary waits, as nobody asks it."""
    start(place, place.good[0])
    with pytest.raises(RolloutInconclusiveError):
        start(place, place.good[1])


def names(place: Place, kind: str) -> list[str]:
    return [each["metadata"]["name"] for each in place.find(kind)]
