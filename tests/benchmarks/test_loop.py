"""The loop beside other models, on made-up trips."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from benchmarks.loop import LATE, MODULE, Arm, Life, Period, Trips, compare_lives, list_windows, live_all
from slipway.module_kit.loader import load_function
from slipway.stores.module_store import publish_module


def day(month: int) -> datetime:
    return datetime(2015, month, 1, tzinfo=UTC)


PERIOD = Period(first=day(8), compared=day(9), end=day(11))


@pytest.fixture(scope="module")
def trips(tmp_path_factory: pytest.TempPathFactory) -> Trips:
    folder = tmp_path_factory.mktemp("trips")
    module = publish_module(Path(__file__).parents[2] / "modules" / MODULE, str(folder))
    load_function(module.uri, "sample", "write_sample")(folder / "trips.csv", rows=9_000)
    return Trips(folder / "trips.csv")


def test_trips_are_in_the_order_of_time_and_known_by_their_place(trips: Trips, tmp_path: Path) -> None:
    assert (np.diff(trips.times) >= 0).all()
    asked = trips.between(day(9), day(10))
    assert trips.times[asked].min() >= day(9).timestamp()
    assert trips.times[asked].max() < day(10).timestamp()
    lines = trips.write(asked[:2], tmp_path / "some.csv", ("request_id", "tips")).read_text().splitlines()
    assert lines[0] == "request_id,tips"
    assert [line.split(",")[0] for line in lines[1:]] == [f"trip-{asked[0]}", f"trip-{asked[1]}"]


def test_models_are_compared_on_the_same_trips_with_paired_intervals(trips: Trips, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    places = trips.between(PERIOD.compared, PERIOD.end)
    lives = [Life(Arm(name), trips, tmp_path / name, ()) for name in ("good", "same", "bad")]
    good = np.clip(0.2 + 0.4 * trips.labels + 0.2 * rng.normal(size=len(trips.labels)), 0.01, 0.99)
    lives[0].scores[:] = lives[1].scores[:] = good
    lives[2].scores[:] = np.clip(good + 0.3 * rng.normal(size=len(good)), 0.01, 0.99)
    first, same, bad = compare_lives(lives, PERIOD)
    assert first[3] == f"{roc_auc_score(trips.labels[places], good[places]):.4f}"
    assert first[4] == f"{log_loss(trips.labels[places], good[places]):.4f}"
    assert same[5:] == ("+0.0000 (+0.0000 to +0.0000)",) * 2
    for difference in bad[5:]:
        value, low = difference.split()[:2]
        assert float(value) > float(low.strip("(")) > 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_model_answers_only_trips_after_those_it_learned_from(trips: Trips, tmp_path: Path) -> None:
    arms = (Arm("loop", window="30d"), Arm("once", trained_at=(day(9),)))
    lives = list(live_all(tmp_path, trips, PERIOD, arms, ("training.epochs=2",)))
    loop, once = lives
    served = trips.between(PERIOD.first, PERIOD.end)
    for life in lives:
        assert np.isfinite(life.scores[served]).all()
        assert np.isnan(life.scores[: served[0]]).all()
    assert len(once.verdicts) == 2
    # Of the first window only the last days were served.
    assert [one.start[:10] for one in loop.windows] == ["2015-07-04", "2015-08-03", "2015-09-02"]
    assert all(one.requests == len(trips.between(*map(datetime.fromisoformat, (one.start, one.end))))
               for one in loop.windows[1:])  # fmt: skip
    judged = loop.windows[-1].performance[0]
    assert judged.until == loop.windows[-1].start
    known = trips.between(None, datetime.fromisoformat(loop.windows[-1].end) - LATE)
    assert judged.labels + judged.missing == len(trips.between(datetime.fromisoformat(judged.since), known_end(loop)))
    assert judged.labels == len(np.intersect1d(known, trips.between(datetime.fromisoformat(judged.since), PERIOD.end)))
    assert len(list(list_windows(lives))) == len(loop.windows)
    assert len(list(compare_lives(lives, PERIOD))) == 2


def known_end(life: Life) -> datetime:
    return datetime.fromisoformat(life.windows[-1].end)
