"""Metrics by slice: what is found, and the pages over HTTP."""

from __future__ import annotations

import re
import time
from html import unescape
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest
from multidict import MultiDict
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, confusion_matrix, precision_score, recall_score

from console.data.decisions import DECIDED, matrix_at, wilson
from console.data.sets import UnknownError, read_set
from console.data.slices import Sliced, SlicesView, find_slices, read_judged
from console.data.slices_page import slices_body
from console.site import Site
from pipelines.registry import Locations
from slipway.evaluation.slice_details import FILE
from tests.console.data.state import HOSTILE, add_run
from tests.console.served import get
from tests.judged_rows import binary, measure

RUN, OTHER = "taxi-20260101-000000-aaaa", "taxi-20260102-000000-bbbb"


@pytest.fixture
def state(tmp_path: Path) -> Locations:
    return Locations.under(str(tmp_path))


def look(state: Locations, *runs: str, **wanted: str) -> Sliced:
    query = MultiDict([*(("run", run) for run in runs), *wanted.items()])
    return find_slices(state, SlicesView.of(query))


@pytest.mark.parametrize("threshold", [0.0, 0.25, 0.5, 0.83])
def test_what_a_threshold_decides_is_what_scikit_learn_says(tmp_path: Path, state: Locations, threshold: float) -> None:
    labels, scores, shops = binary()
    add_run(tmp_path, RUN, judged=measure("binary", labels, scores, shops))
    judged = read_judged(state, RUN)
    for name, rows in (("overall", shops != ""), ("shop=b", shops == "b")):
        predicted, truth = scores[rows].astype(np.float64) > threshold, labels[rows] > 0
        matrix = matrix_at(judged, name, threshold)
        assert matrix is not None
        assert list(matrix) == confusion_matrix(truth, predicted).ravel().tolist()
        expected = {
            "precision": precision_score(truth, predicted),
            "recall": recall_score(truth, predicted),
            "accuracy": accuracy_score(truth, predicted),
            "predicted_positive": predicted.mean(),
        }
        for metric in DECIDED:
            found = look(state, RUN, metric=metric, threshold=str(threshold))
            line = found.overall if name == "overall" else next(one for one in found.lines if one.name == name)
            [dot] = line.dots
            assert dot is not None
            assert dot.value == pytest.approx(expected[metric])
            assert dot.interval == pytest.approx(wilson(*matrix.parts(metric)))


def test_at_one_half_they_are_the_metrics_of_the_evaluation(tmp_path: Path, state: Locations) -> None:
    judged, measured = measure("binary", *binary())
    add_run(tmp_path, RUN, judged=(judged, measured))
    for metric in ("precision", "recall", "accuracy"):
        for line, row in zip(look(state, RUN, metric=metric, sort="rows").lines, judged.slices, strict=True):
            assert line.name == row.name
            assert line.dots[0]
            assert line.dots[0].value == pytest.approx(row.candidate[metric])


@pytest.mark.parametrize(("part", "whole"), [(0, 10), (10, 10), (3, 7), (250, 1000)])
def test_wilson_is_that_of_scipy(part: int, whole: int) -> None:
    expected = binomtest(part, whole).proportion_ci(method="wilson")
    assert wilson(part, whole) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_slices_are_sorted_filtered_and_beside_each_other(tmp_path: Path, state: Locations) -> None:
    labels, scores, shops = binary()
    first = measure("binary", labels, scores, shops)
    add_run(tmp_path, RUN, judged=first)
    kept = shops != "c"
    add_run(tmp_path, OTHER, judged=measure("binary", labels[kept], 1 - scores[kept], shops[kept]))
    found = look(state, RUN, OTHER, by="shop", metric="auc")
    worst = min(row.candidate["auc"] or 1.0 for row in first[0].slices)
    assert found.lines[0].dots[0]
    assert found.lines[0].dots[0].value == worst
    assert found.overall.dots[1]
    assert found.overall.dots[1].value < 0.5
    missing = next(line for line in found.lines if line.name == "shop=c")
    assert missing.dots[1] is None
    assert [line.name for line in look(state, RUN, sort="name").lines] == ["shop=a", "shop=b", "shop=c"]
    sizes = sorted(((shops == name).sum() for name in "abc"), reverse=True)
    assert [line.rows for line in look(state, RUN, sort="rows").lines] == sizes
    few = look(state, RUN, min_rows=str(sizes[1]))
    assert (len(few.lines), few.hidden) == (2, 1)
    assert look(state, RUN, metric="log_loss").lines[0].dots[0] == max(
        (line.dots[0] for line in look(state, RUN, metric="log_loss").lines if line.dots[0]), key=lambda dot: dot.value
    )


def test_weights_and_an_evaluation_of_an_older_version_say_what_they_lack(tmp_path: Path, state: Locations) -> None:
    labels, scores, shops = binary()
    add_run(tmp_path, RUN, judged=measure("binary", labels, scores, shops, np.where(labels > 0, 2.5, 1.0)))
    weighed = look(state, RUN, metric="recall", threshold="0.3").overall.dots[0]
    assert weighed
    assert weighed.interval is None
    old = add_run(tmp_path, OTHER, judged=measure("binary", labels, scores, shops))
    (old / "artifacts" / "evaluation" / FILE).unlink()
    found = look(state, OTHER, metric="recall", threshold="0.3")
    assert found.threshold is None
    assert found.overall.dots[0]
    assert found.overall.dots[0].value == pytest.approx(recall_score(labels, scores > 0.5))


def slices(*runs: str, **query: str) -> str:
    return f"/data/slices?{urlencode([*(('run', run) for run in runs), *query.items()])}"


def test_pages_answer_forms_and_bad_input(home: Path, site: Site) -> None:
    add_run(home, RUN, judged=measure("binary", *binary()))
    add_run(home, OTHER)
    asked = {
        slices(RUN): (200, "Poisson bootstrap"),
        slices(RUN, by="shop", metric="recall", threshold="0.3", slice="shop=a", min_rows="10"): (200, "Wilson"),
        slices(RUN, threshold="0.123456"): (200, "the nearest that was counted at"),
        slices(RUN, min_rows="99999"): (200, "None of 3 slices has 99,999 rows"),
        slices(RUN, OTHER): (200, "these were not kept then"),
        slices(RUN, metric="auc"): (200, "of 3 slices with an interval differ"),
        slices("a", "b", "c", "d"): (400, "4 runs are chosen"),
        slices("gone"): (404, "gone"),
        slices("../../etc"): (404, "there is no run"),
        slices(RUN, metric="colour"): (404, "log_loss"),
        slices(RUN, by="colour"): (404, "shop"),
        slices(RUN, slice="shop=zzz"): (404, "shop=a"),
        slices(RUN, sort="colour"): (400, "worst"),
        slices(RUN, min_rows="-1"): (400, "min_rows"),
        **{slices(RUN, threshold=bad): (400, "from 0 to 1") for bad in ("1.01", "-0.1", "nan", "inf", "half", "0x1")},
    }
    for address, (status, text) in asked.items():
        found = get(site, address)
        assert (address, found.status) == (address, status)
        assert text in unescape(found.text)
        assert " style=" not in found.text


def test_a_run_that_was_not_judged_is_said_to_be(tmp_path: Path, state: Locations) -> None:
    from tests.recorded_runs import write_run

    write_run(tmp_path, RUN, "failed")
    with pytest.raises(UnknownError, match="before its model was judged"):
        look(state, RUN)


def test_a_record_does_not_open_what_lies_outside_of_the_home(tmp_path: Path) -> None:
    outside = add_run(tmp_path / "other", OTHER, judged=measure("binary", *binary())) / "artifacts"
    run = add_run(tmp_path / "home", RUN)
    for record in run.glob("*.json"):
        record.write_text(record.read_text().replace(str(run / "artifacts"), str(outside)))
    state = Locations.under(str(tmp_path / "home"))
    with pytest.raises(UnknownError, match="outside"):
        look(state, RUN)
    with pytest.raises(UnknownError, match="outside"):
        read_set(state, f"run/{RUN}/train")


def test_runs_of_different_tasks_are_not_compared(tmp_path: Path, state: Locations) -> None:
    random = np.random.default_rng(1)
    add_run(tmp_path, RUN, judged=measure("binary", *binary()))
    labels = random.normal(size=300)
    add_run(tmp_path, OTHER, judged=measure("regression", labels, labels.astype(np.float32), random.choice(["a"], 300)))
    with pytest.raises(ValueError, match="binary and regression"):
        look(state, RUN, OTHER)


def test_several_classes_have_a_matrix_and_a_regression_residuals(home: Path, site: Site) -> None:
    random = np.random.default_rng(2)
    labels, shops = random.integers(0, 3, 600), random.choice(["a", "b"], 600)
    answers = random.dirichlet([1, 1, 1], 600).astype(np.float32)
    add_run(home, RUN, judged=measure("multiclass", labels, answers, shops))
    numbers = random.normal(size=600)
    near = (numbers + random.normal(2, 0.1, 600)).astype(np.float32)
    add_run(home, OTHER, judged=measure("regression", numbers, near, shops))
    classes, residuals = get(site, slices(RUN, slice="shop=a")), get(site, slices(OTHER))
    assert (classes.status, residuals.status) == (200, 200)
    matrix = re.findall(r"<b>([\d,]+)</b>", classes.text)
    expected = confusion_matrix(labels[shops == "a"], answers[shops == "a"].argmax(axis=1))
    assert [int(count) for count in matrix] == expected.ravel().tolist()
    assert re.search(r"overall: .{0,90} 2\.0\d* \(1\.8\d* to 2\.1\d*\)", residuals.text)
    assert "decision threshold" not in classes.text + residuals.text


def test_hostile_values_of_slices_are_text(home: Path, site: Site) -> None:
    labels, scores, shops = binary()
    named = np.where(shops == "a", HOSTILE, np.where(shops == "b", "x" * 10_000, shops)).astype(object)
    add_run(home, RUN, judged=measure("binary", labels, scores, named))
    addresses = [slices(RUN), slices(RUN, slice=f"shop={HOSTILE}"), slices(RUN, by=HOSTILE), slices(HOSTILE)]
    for status, _, page in (get(site, address) for address in addresses):
        assert status in (200, 404)
        assert "<script>alert" not in page
    assert "&lt;script&gt;" in get(site, addresses[0]).text


def test_five_hundred_slices_take_no_longer_than_their_page(
    tmp_path: Path, state: Locations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slipway.evaluation.slices.LISTED", 500)
    labels, scores, _ = binary(10_000)
    shops = np.array([f"shop {index % 500:03}" for index in range(10_000)], object)
    add_run(tmp_path, RUN, judged=measure("binary", labels, scores, shops))
    view = SlicesView((RUN,), metric="recall", threshold=0.31)
    slices_body(view, find_slices(state, view), [])
    started = time.process_time()
    body = slices_body(view, find_slices(state, view), [])
    assert time.process_time() - started < 0.2  # 0.02 s on an idle machine
    assert "1 to 50 of 500 slices" in body
