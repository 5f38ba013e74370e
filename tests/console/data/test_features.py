"""Features of data sets: what is found, and the pages over HTTP."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp

from console.data.facets import View, find_facets, tell_differences
from console.data.facets_page import facets_body
from console.data.sets import UnknownError, read_set
from console.site import Site
from pipelines.registry import Locations
from slipway.data.statistics.compute import compute_statistics
from slipway.data.statistics.io import write_statistics
from slipway.monitoring.columns import Column
from slipway.monitoring.counts import choose_cells, count
from slipway.monitoring.drift import measure
from slipway.monitoring.result import WindowResult, write_result
from tests.console.data.state import HOSTILE, add_run, many_features
from tests.console.served import get
from tests.example_artifacts import write_examples

RUN = "taxi-20260101-000000-aaaa"
START = "2026-01-01T00:00:00Z"


def rows(number: int, *, shift: float = 0.0, seed: int = 1) -> dict[str, object]:
    drawn = np.random.default_rng(seed)
    fare = drawn.normal(10 + shift, 3, number)
    return {
        "fare": [None] * (number // 10) + fare[number // 10 :].tolist(),
        "miles": drawn.lognormal(size=number),
        "hour": drawn.integers(0, 24, number),
        "kind": drawn.choice(["cash", "card"], number, p=[0.7 - shift / 10, 0.3 + shift / 10]),
    }


@pytest.fixture
def state(tmp_path: Path) -> Locations:
    return Locations.under(str(tmp_path))


def look(state: Locations, first: str, second: str = "", **wanted: str) -> list[str]:
    query = {"first": f"run/{RUN}/{first}", "second": second and f"run/{RUN}/{second}", **wanted}
    return list(find_facets(state, View.of(query)).features)


def test_a_shift_is_told_and_what_is_alike_is_not(tmp_path: Path, state: Locations) -> None:
    train, evaluation = rows(6000), rows(3000, shift=1.0, seed=2)
    add_run(tmp_path, RUN, train, evaluation)
    found = find_facets(state, View(f"run/{RUN}/train", f"run/{RUN}/eval"))
    moved = {name for name, one in found.differences.items() if one.has_moved}
    assert moved == {"fare", "kind"}
    told = "\n".join(tell_differences(found))
    assert "fare, " in told
    assert "kind, cash: 69" in told
    sides = [[fare for fare in one["fare"] if fare is not None] for one in (train, evaluation)]  # type: ignore[attr-defined]
    assert 0.3 * ks_2samp(*sides).statistic < found.differences["fare"].apart <= ks_2samp(*sides).statistic
    shares = [[(np.asarray(one["kind"]) == word).mean() for word in ("cash", "card")] for one in (train, evaluation)]
    assert found.differences["kind"].divergence == pytest.approx(jensenshannon(*shares, base=2) ** 2, abs=1e-6)
    assert found.differences["kind"].apart == pytest.approx(abs(shares[0][0] - shares[1][0]), abs=1e-6)


def test_two_samples_of_the_same_rows_have_not_moved_whatever_the_outlier(tmp_path: Path, state: Locations) -> None:
    evaluation = rows(3000, seed=2)
    evaluation["miles"] = np.append(np.asarray(evaluation["miles"])[1:], 1e7)
    add_run(tmp_path, RUN, rows(6000), evaluation)
    found = find_facets(state, View(f"run/{RUN}/train", f"run/{RUN}/eval"))
    assert found.differences["miles"].divergence > 0.3  # TFDV's is misled by the outlier
    assert not any(one.has_moved for one in found.differences.values())


def test_a_feature_of_another_type_has_moved(tmp_path: Path, state: Locations) -> None:
    add_run(tmp_path, RUN, {"x": [1, 2, 3], "y": ["a", "b", None]}, {"x": ["1", "2", "?"], "y": [0.5, 1.5, None]})
    for first, second in (("train", "eval"), ("eval", "train")):
        view = View(f"run/{RUN}/{first}", f"run/{RUN}/{second}", quantiles=True, log=True)
        found = find_facets(state, view)
        assert "x, of another type: " in "\n".join(tell_differences(found))
        assert "integer" in facets_body(view, found, [])


def test_chance_goes_by_rows_and_not_by_their_weights(tmp_path: Path, state: Locations) -> None:
    run = add_run(tmp_path, RUN)
    drawn = np.random.default_rng(9)
    splits = [
        {"x": drawn.normal(size=60), "y": [None] * many + [1.0] * (60 - many), "w": drawn.uniform(900, 1100, 60)}
        for many in (9, 12)
    ]
    write_examples(tmp_path / "examples", *splits, weight="w")
    write_statistics(compute_statistics(tmp_path / "examples"), str(run / "artifacts" / "statistics"))
    found = find_facets(state, View(f"run/{RUN}/train", f"run/{RUN}/eval", weights=True))
    assert found.has_weights
    assert 55_000 < found.examples["train"] < 65_000
    assert found.differences["x"].apart > 0
    assert not found.differences["x"].has_moved
    assert not any("missing" in one for one in tell_differences(found))


def test_features_are_sorted_searched_and_filtered(tmp_path: Path, state: Locations) -> None:
    train, evaluation = rows(900) | {"mostly": [0] * 800 + [1] * 100}, rows(900, shift=2.0, seed=2) | {"new": [1] * 900}
    add_run(tmp_path, RUN, train, evaluation)
    assert look(state, "train") == ["fare", "miles", "hour", "kind", "mostly"]
    assert look(state, "train", sort="name", reverse="1") == ["mostly", "miles", "kind", "hour", "fare"]
    assert look(state, "train", sort="missing")[:2] == ["mostly", "fare"]
    assert look(state, "train", sort="uniformity")[0] in ("mostly", "miles")
    assert look(state, "train", "eval", sort="difference")[:4] == ["mostly", "new", "fare", "kind"]
    assert look(state, "train", search="MIL") == ["miles"]
    assert look(state, "train", type="string") == ["kind"]
    assert look(state, "train", type="binary") == []


def watch(home: Path, train: dict[str, object], asked: dict[str, object]) -> None:
    """A run's training rows, and a window of requests to its version."""
    import pyarrow as pa

    add_run(home, RUN, train)
    columns = []
    for name in train:
        values, now = (pa.array(one[name]) for one in (train, asked))
        trained = count(values, choose_cells(values))
        counts = count(now, trained.cells)
        columns.append(
            Column(
                name=name, baseline=measure(counts, trained, 0.02, 4), counts=counts, trained=trained, missing=(0, 0)
            )
        )
    window = WindowResult(model="taxi", version=1, start=START, end=START, requests=2000, columns=columns)
    write_result(window, str(home / "monitoring" / "taxi" / START))


def test_values_of_a_window_that_training_never_had_are_told(tmp_path: Path, state: Locations) -> None:
    watch(tmp_path, {"month": [1, 2, 3, 4] * 500}, {"month": [12] * 1500 + [4] * 500})
    found = find_facets(state, View(f"run/{RUN}/train", f"window/taxi/{START}"))
    [told] = [one for one in tell_differences(found) if "75 %" in one]
    assert "month" in told
    assert "not trained on" in told


def test_a_run_stands_beside_the_requests_of_a_window(tmp_path: Path, state: Locations) -> None:
    train, asked = rows(6000), rows(2000, shift=1.0, seed=2)
    watch(tmp_path, train, asked)
    found = find_facets(state, View(f"run/{RUN}/train", f"window/taxi/{START}"))
    assert {name for name, one in found.differences.items() if one.has_moved} == {"fare", "kind"}
    asked_set = found.datasets[f"taxi asked {START}"]
    assert [one.WhichOneof("stats") for one in asked_set.features] == ["num_stats"] * 3 + ["string_stats"]
    assert math.isnan(asked_set.features[0].num_stats.mean)
    assert asked_set.features[0].num_stats.common_stats.num_missing == 200
    assert sum(bucket.sample_count for bucket in asked_set.features[0].num_stats.histograms[0].buckets) == 1800
    assert [top.value for top in asked_set.features[3].string_stats.top_values] == ["cash", "card"]
    assert datetime.fromisoformat(START).tzinfo == UTC


@pytest.mark.parametrize(
    "reference",
    ["", "run", "run/x", f"run/{RUN}/other", "run/gone/train", "run/../train", "run/..%2f/train", "window/taxi/2020",
     f"run/{RUN}/train/more", "run/\x00/train", "table/a/b", "run/" + "x" * 10_000 + "/train"],
)  # fmt: skip
def test_what_is_not_there_is_named(tmp_path: Path, state: Locations, reference: str) -> None:
    add_run(tmp_path, RUN)
    with pytest.raises(UnknownError) as caught:
        read_set(state, reference)
    assert len(str(caught.value)) < 600


def features(**query: str) -> str:
    return f"/data/features?{urlencode(query)}"


def test_pages_answer_forms_and_bad_input(home: Path, site: Site) -> None:
    add_run(home, RUN, rows(900), rows(900, seed=2))
    first = f"run/{RUN}/train"
    asked = {
        "/data": (200, f"run/{RUN}/eval"),
        features(first=first): (200, "fare"),
        features(first=first, second=f"run/{RUN}/eval", log="1", quantiles="1", counts="1"): (200, "What moved most"),
        features(first=first, search="nothing of the kind"): (200, "None of the 4 features"),
        features(first=first, page="99"): (200, "1 to 4 of 4 features"),
        features(first=first, page="0"): (400, "page"),
        features(first=first, page="²"): (400, "page"),
        features(first=first, sort="colour"): (400, "missing"),
        features(first=first, type="colour"): (400, "integer"),
        features(first=f"run/{RUN}/test"): (404, "train, eval"),
        features(first="run/gone/train"): (404, "gone"),
        features(first="run"): (404, "window/MODEL/START"),
    }
    for address, (status, text) in asked.items():
        found = get(site, address)
        assert (address, found.status) == (address, status)
        assert text in unescape(found.text)
        assert " style=" not in found.text
    for address, choice in {"/data/features?first=": "features", "/data/slices?run=": "slices"}.items():
        found = get(site, address)
        assert (found.status, found.headers["Location"]) == (303, f"/data#{choice}")
        assert f'<section id="{choice}">' in get(site, "/data").text


def test_hostile_names_and_values_are_text(home: Path, site: Site) -> None:
    hostile = HOSTILE.replace("\x00", "")
    add_run(home, RUN, {hostile: [1.0, 2.0, 3.0], "kind": [hostile, hostile, "x" * 10_000]}, {"kind": ["a"]})
    first, second = f"run/{RUN}/train", f"run/{RUN}/eval"
    addresses = [features(first=first, second=second), features(first=first, search=HOSTILE),
                 features(first=first, sort=HOSTILE), features(first=HOSTILE)]  # fmt: skip
    for status, _, page in (get(site, address) for address in addresses):
        assert status in (200, 400, 404)
        assert "<script>alert" not in page
        assert not {"\x1b", "\u202e"} & set(page) or 'name="search"' in page
    assert "&lt;script&gt;" in get(site, addresses[0]).text


def test_statistics_that_are_damaged_are_said_to_be(home: Path, site: Site) -> None:
    run = add_run(home, RUN)
    (run / "artifacts" / "statistics" / "statistics.pb").write_bytes(b"\xff\xff\xff")
    found = get(site, features(first=f"run/{RUN}/train"))
    assert found.status == 502
    assert "damaged" in found.text


def test_a_thousand_features_take_no_longer_than_their_page(tmp_path: Path, state: Locations) -> None:
    run = add_run(tmp_path, RUN)
    write_statistics(many_features(1000), str(run / "artifacts" / "statistics"))
    view = View(f"run/{RUN}/train", f"run/{RUN}/eval", sort="difference", page=3)
    facets_body(view, find_facets(state, view), [])
    started = time.process_time()
    body = facets_body(view, find_facets(state, view), [])
    assert time.process_time() - started < 0.3  # 0.05 s on an idle machine
    assert "51 to 75 of 1,000 features" in body
