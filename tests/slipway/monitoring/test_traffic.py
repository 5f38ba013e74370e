"""Volume and errors of a window beside the week before."""

from __future__ import annotations

import numpy as np
import pytest

from slipway.monitoring.traffic import Traffic, error_signal, volume_signal

LEAST = 200


def unusual(now: Traffic, *week: Traffic) -> dict[str, bool]:
    """By cause that can be told."""
    found = [*volume_signal(now.calls, [one.calls for one in week], LEAST), *error_signal(now, week, LEAST)]
    return {one.cause: one.level > 1 for one in found}


@pytest.mark.parametrize(
    ("now", "week", "expected"),
    [
        (1_000, [1_000], False),
        (1_900, [1_000], False),
        (2_500, [1_000], True),
        (400, [1_000], True),
        (0, [1_000], True),
        (600, [1_000, 300, 2_000], False),
        (100, [1_000, 300, 2_000], True),
        (4_500, [1_000, 300, 2_000], True),
    ],
)
def test_volume_is_unusual_beyond_twice_what_the_week_had(now: int, week: list[int], *, expected: bool) -> None:
    assert unusual(Traffic(calls=now), *(Traffic(calls=one) for one in week))["volume"] == expected


@pytest.mark.parametrize(("now", "week"), [(1_000, []), (150, [60]), (10, [150])])
def test_few_calls_or_no_window_before_say_nothing_of_the_volume(now: int, week: list[int]) -> None:
    assert "volume" not in unusual(Traffic(calls=now), *(Traffic(calls=one) for one in week))


@pytest.mark.parametrize(
    ("calls", "failed", "before", "expected"),
    [
        (1_000, 0, 0, False),
        (1_000, 15, 0, False),
        (1_000, 30, 0, True),
        (1_000, 30, 30, False),
        (1_000, 90, 30, True),
        (250, 4, 0, False),
    ],
)
def test_errors_are_unusual_above_a_hundredth_and_twice_the_week(
    calls: int, failed: int, before: int, *, expected: bool
) -> None:
    now = Traffic(calls=calls, failed={"UNAVAILABLE": failed} if failed else {})
    assert unusual(now, Traffic(calls=1_000, failed={"UNAVAILABLE": before}))["errors"] == expected


def test_errors_are_judged_without_a_window_before() -> None:
    [errors] = error_signal(Traffic(calls=1_000, failed={"INVALID_ARGUMENT": 5, "UNAVAILABLE": 60}), [], LEAST)
    assert errors.level > 1
    assert "65 of 1,000" in errors.what
    assert errors.what.index("UNAVAILABLE") < errors.what.index("INVALID_ARGUMENT")


def test_stable_traffic_gives_no_alarm() -> None:
    rng = np.random.default_rng(7)
    for mean, share in ((200, 0.005), (1_000, 0.02), (1_000, 0.1)):
        windows = [Traffic(calls=int(calls), failed={"X": int(rng.binomial(calls, share))})
                   for calls in rng.poisson(mean * 1.2, 1_000)]  # fmt: skip
        for size in (1, 7):
            false = sum(
                any(unusual(now, *windows[place : place + size]).values()) for place, now in enumerate(windows[size:])
            )
            assert false <= 2, (mean, share, size)
