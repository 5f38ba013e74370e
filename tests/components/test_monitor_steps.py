"""The steps of the monitor, from a log that the request log wrote to the decision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from slipway.errors import ConfigError
from slipway.monitoring import sample
from slipway.stores import storage
from slipway.stores.module_store import publish_module
from tests.each_store import ON_EACH_STORE
from tests.fakes.fault_proxy import FaultProxy
from tests.tiny_module import write_module
from tests.watched_model import CONFIG, MODEL, Watched, draw, drifted


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_stable_then_drift_then_one_training(watched: Watched) -> None:
    version = watched.push()
    verdicts = []
    for day in range(5):
        requests, scores, _ = draw(day)
        watched.ask(version, day, drifted(requests) if day >= 1 else requests, scores)
        verdicts.append(watched.run(day).verdict)
    assert verdicts == ["stable", "drift", "retrained", "drift", "drift"]
    assert len(watched.state().trainings) == 1
    result = watched.result(2)
    assert [one.name for one in result.moved] == ["fare"]
    assert result.decision is not None
    assert result.decision.key == watched.state().pending
    assert watched.outcome().verdict == "drift"
    assert any("fare" in said and "2026-03-02" in said for said in watched.outcome().reasons)
    page = (Path(watched.windows) / MODEL / "2026-03-03T00:00:00Z" / "report.html").read_text()
    assert page.index(">fare<") < page.index(">payment<")
    assert "http" not in page.replace("http://www.w3.org", "")
    assert (Path(watched.windows) / MODEL / "history.html").read_text().count("retrained") == 1


def test_few_requests_are_not_enough_and_never_fine(watched: Watched) -> None:
    version = watched.push()
    requests, scores, _ = draw(1, 150)
    watched.ask(version, 0, requests, scores)
    assert watched.run(0).verdict == "not-enough"
    assert watched.run(1).verdict == "not-enough", "a log without the window"


def test_late_labels_are_judged_once_and_with_intervals(watched: Watched) -> None:
    watched.monitoring = {"min_labels": 300, "retraining": {"windows": 2}}
    version = watched.push()
    told = []
    for day in range(3):
        requests, scores, labels = draw(day)
        ids = watched.ask(version, day, requests, scores)
        told.append((ids, labels))
    assert watched.run(0).performance == []
    watched.tell(*told[0])
    result = watched.run(1)
    [own] = result.performance
    assert (own.labels, own.missing) == (600, 600)
    assert own.since == own.until == "2026-03-01T00:00:00Z"
    auc = next(one for one in own.scores if (one.slice, one.metric) == ("overall", "auc"))
    assert auc.interval is not None
    assert auc.value is not None
    assert auc.interval[0] < auc.value < auc.interval[1]
    assert auc.evaluated == 0.79
    assert {one.slice for one in own.scores} == {"overall", "payment=Card"}
    assert [one.enough for one in result.signals if one.cause == "performance"] == [True]
    again = watched.run(2)
    assert [one.enough for one in again.signals if one.cause == "performance"] == [False], "the same labels"
    assert result.labels is not None
    assert not result.labels.baseline.drifted


def test_worse_answers_train_after_two_windows(watched: Watched) -> None:
    version = watched.push()
    for day in range(2):
        requests, scores, labels = draw(day)
        ids = watched.ask(version, day, requests, scores[::-1])  # answers to other questions
        watched.tell(ids, labels)
    assert watched.run(0).verdict == "worse"
    result = watched.run(1)
    assert result.verdict == "retrained"
    assert result.decision is not None
    assert result.decision.causes == ["performance"]


def test_a_canary_is_compared_with_the_stable_version(watched: Watched) -> None:
    canary, version = watched.push(1), watched.push(2)
    for its, flipped in ((version, 1), (canary, -1)):
        requests, scores, labels = draw(3)
        watched.tell(watched.ask(its, 0, requests, scores[::flipped]), labels)
    watched.run(0)
    served, beside = watched.result(0).performance
    assert [served.version, beside.version] == [version, canary]
    assert served.scores[0].evaluated is not None
    assert {one.evaluated for one in beside.scores} == {None}, "its evaluation is in the baseline of its own"
    assert any(f"version {canary} is worse" in said for said in watched.outcome().reasons)
    page = (Path(watched.windows) / MODEL / "2026-03-01T00:00:00Z" / "report.html").read_text()
    assert f"Version {canary} beside version {version}" in page


def test_labels_by_a_key_of_the_callers(watched: Watched) -> None:
    version = watched.push()
    requests, scores, labels = draw(1)
    keyed = [row | {"trip": number} for number, row in enumerate(requests)]
    watched.ask(version, 0, keyed, scores)
    watched.labels.write_text(
        "trip,tip\n" + "".join(f"{row['trip']},{it}\n" for row, it in zip(keyed, labels, strict=True))
    )
    watched.monitoring = {"key": ["trip"]}
    assert watched.run(0).performance[0].labels == 600


def test_a_few_texts_among_numbers_stop_nothing(watched: Watched) -> None:
    version = watched.push()
    watched.config = CONFIG | {"slices": [["payment"], ["fare"]]}
    watched.monitoring = {"min_labels": 1000}
    for day in (0, 1):
        requests, scores, labels = draw(day)
        watched.tell(watched.ask(version, day, drifted(requests), scores), labels)
        few, scores, labels = draw(10 + day, 5)
        ids = watched.ask(version, day, [row | {"fare": "much"} for row in few], scores, prefix="few")
        watched.tell(ids, labels)
    for day in (0, 1):
        result = watched.run(day)
        assert result.verdict == ("drift" if day == 0 else "retrained")
        assert result.performance[0].labels == 605 * (day + 1)


def test_columns_that_training_ignores_may_be_the_key_of_labels_or_not_there(watched: Watched) -> None:
    version = watched.push()
    requests, scores, labels = draw(1)
    watched.ask(version, 0, [row | {"id": number} for number, row in enumerate(requests)], scores)
    watched.labels.write_text("id,note,tip\n" + "".join(f"{number},x,{it}\n" for number, it in enumerate(labels)))
    watched.config = CONFIG | {"ingestion": {"ignore": ["id", "note", "phone"]}}
    watched.monitoring = {"key": ["id"]}
    assert watched.run(0).performance[0].labels == 600


def test_slices_by_the_label_are_scored(watched: Watched) -> None:
    watched.config = CONFIG | {"slices": [["tip"], ["payment", "tip"]]}
    requests, scores, labels = draw(1)
    watched.tell(watched.ask(watched.push(), 0, requests, scores), labels)
    found = {(one.slice, one.metric): one for one in watched.run(0).performance[0].scores}
    tipped = found["tip=1", "accuracy"]
    assert (tipped.evaluated, tipped.labels) == (0.4, sum(labels))


def test_classes_and_numbers_are_scored(tmp_path: Path) -> None:
    several = Watched(tmp_path / "several", config=CONFIG | {
        "task": "multiclass", "classes": ["0", "1", "2"], "thresholds": [],
    })  # fmt: skip
    version = several.push()
    requests, scores, labels = draw(1)
    several.tell(several.ask(version, 0, requests, [[1 - one, one, 0.0] for one in scores]), labels)
    names = {one.metric for one in several.run(0).performance[0].scores}
    assert {"accuracy", "log_loss"} <= names
    number = Watched(tmp_path / "number", config=CONFIG | {"task": "regression", "thresholds": []})
    version = number.push()
    number.tell(number.ask(version, 0, requests, scores), labels)
    assert "root_mean_squared_error" in {one.metric for one in number.run(0).performance[0].scores}


@ON_EACH_STORE
def test_log_windows_and_state_in_a_bucket(watched: Watched, fault_proxy: FaultProxy) -> None:
    watched.bucket = fault_proxy.uri("home")
    version = watched.push()
    for day in range(2):
        requests, scores, _ = draw(day)
        watched.ask(version, day, drifted(requests), scores)
    assert [watched.run(day).verdict for day in range(2)] == ["drift", "retrained"]
    assert watched.result(1).columns[0].previous is not None
    assert watched.state().pending
    assert storage.exists(storage.join(watched.windows, MODEL, "history.html"))


def test_by_hand_even_where_nothing_moved(watched: Watched) -> None:
    version = watched.push()
    requests, scores, _ = draw(1)
    watched.ask(version, 0, requests, scores)
    assert watched.run(0, ask="hand").verdict == "retrained"
    assert watched.run(0, ask="hand").verdict == "stable", "the same model and data"
    with pytest.raises(ConfigError, match="hand"):
        watched.run(0, ask="now")


def test_a_window_stays_that_of_its_version(watched: Watched) -> None:
    version = watched.push(1)
    requests, scores, _ = draw(1)
    watched.ask(version, 0, drifted(requests), scores)
    first = watched.run(0)
    watched.push(2)
    again = watched.run(0)
    assert (again.version, again.moved) == (version, first.moved)


def test_new_data_train_once(watched: Watched) -> None:
    watched.monitoring = {"retraining": {"triggers": ["new_data"], "cool_down_days": 0}}
    version = watched.push()
    for day in range(3):
        requests, scores, _ = draw(day)
        watched.ask(version, day, requests, scores)
    assert watched.run(0).verdict == "stable"
    assert watched.run(1, data="x\n2\n").verdict == "retrained"
    assert watched.run(2, data="x\n2\n").verdict == "stable"


def test_calls_that_fail_and_volume_are_told_and_train_nothing(watched: Watched) -> None:
    version = watched.push()
    for day, (rows, failed) in enumerate(((600, 3), (600, 90), (600, 100))):
        requests, scores, _ = draw(day, rows)
        watched.ask(version, day, requests, scores, failed=failed)
    assert watched.run(0).verdict == "stable"
    result = watched.run(1)
    assert result.verdict == "traffic"
    assert result.requests == 600, "a call that failed is no request that was answered"
    assert result.traffic is not None
    assert (result.traffic.calls, result.traffic.failed) == (690, {"UNAVAILABLE": 90})
    assert any("90 of 690 calls failed" in said and "UNAVAILABLE" in said for said in watched.outcome().reasons)
    again = watched.run(2)
    assert again.decision is not None
    assert (again.decision.action, again.decision.causes) == ("alert", ["errors"])
    assert watched.state().trainings == []


def test_a_volume_that_falls_is_told(watched: Watched) -> None:
    version = watched.push()
    for day, rows in enumerate((900, 250)):
        requests, scores, _ = draw(day, rows)
        watched.ask(version, day, requests, scores)
    watched.run(0)
    assert watched.run(1).verdict == "traffic"
    assert any("250 calls" in said and "900" in said for said in watched.outcome().reasons)
    assert watched.run(2).verdict == "traffic", "no calls at all"


def test_windows_of_another_length_are_no_measure_of_the_volume(watched: Watched) -> None:
    version = watched.push()
    for day, rows in enumerate((900, 250)):
        requests, scores, _ = draw(day, rows)
        watched.ask(version, day, requests, scores, seconds=40_000.0)
    watched.run(0)
    watched.monitoring = {"window": "12h"}
    assert watched.run(1).verdict == "stable"


def test_a_slice_that_moved_is_told_with_its_labels(watched: Watched) -> None:
    version = watched.push()
    requests, scores, labels = draw(3, 3000)
    changed = [one["payment"] == "Card" and number % 3 == 0 for number, one in enumerate(requests)]
    scores = [0.99 if its else one for one, its in zip(scores, changed, strict=True)]
    watched.tell(watched.ask(version, 0, requests, scores), [
        1 - label if one["payment"] == "Card" else label for one, label in zip(requests, labels, strict=True)
    ])  # fmt: skip
    result = watched.run(0)
    assert {one.slice for one in result.label_slices} == {"payment=Card", "payment=Cash"}
    assert {one.name for one in result.slices if one.slice == "payment=Card"} == {"fare", "score"}
    assert ("payment=Card", "score") in {(one.slice, one.name) for one in result.slices if one.baseline.drifted}


def test_labels_weigh_and_the_modules_own_metrics_are_scored(watched: Watched) -> None:
    version = watched.push()
    requests, scores, labels = draw(1)
    ids = watched.ask(version, 0, requests, scores)
    watched.config["label"] = {"column": "tip", "weight": "worth"}
    watched.config["metrics"] = {"off": "low", "ratio": "low"}
    watched.config["thresholds"] = [{"metric": "recall", "decision": 0.3, "min": 0.1}]
    module = write_module(watched.folder / "own")
    (module / "module.yaml").write_text((module / "module.yaml").read_text() + "metrics: {off: low, ratio: low}\n")
    (module / "metrics.py").write_text(
        "import numpy as np\n\ndef off(labels, predictions, weights):\n"
        "    return np.average(np.abs(labels - predictions), weights=weights)\n\n"
        "def ratio(labels, predictions, weights):\n    raise ValueError('no refunds')\n"
    )
    watched.metrics_uri = publish_module(module, watched.folder / "published").metrics_uri
    worth = [3 if number % 2 else 1 for number in range(len(ids))]
    worth[0] = 0
    watched.labels.write_text(
        "request_id,tip,worth\n"
        + "".join(f"{one},{label},{its}\n" for one, label, its in zip(ids, labels, worth, strict=True))
    )
    result = watched.run(0)
    [own] = result.performance
    assert any("metric ratio" in note and "ValueError: no refunds" in note for note in result.notes)
    found = {one.metric: one for one in own.scores if one.slice == "overall"}
    assert own.labels == 599, "a row of weight 0 counts nowhere"
    assert own.unusable == 0
    expected = np.average(np.abs(np.array(labels) - np.array(scores, np.float32)), weights=worth)
    assert found["off"].value == pytest.approx(expected)
    assert found["off"].interval is not None
    assert found["accuracy"].value == pytest.approx(
        np.average((np.array(scores) > 0.5) == np.array(labels), weights=worth)
    )
    assert found["recall at decision 0.3"].interval is not None


def test_of_very_many_labels_a_sample_is_scored(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "LIMIT", 350)
    watched.monitoring = {"min_labels": 100}
    version = watched.push()
    requests, scores, labels = draw(1)
    ids = watched.ask(version, 0, requests, scores)
    watched.tell(ids[:500], labels[:500])
    result = watched.run(0)
    [own] = result.performance
    assert own.labels + own.missing <= 350
    assert own.labels / (own.labels + own.missing) == pytest.approx(500 / 600, abs=0.06)
    assert result.requests == 600
    assert any("one request in 2," in note for note in result.notes)


def test_labels_that_mean_something_else_by_feature_are_told_and_decide_nothing(watched: Watched) -> None:
    """The labels overall stay as they were: card tips as cash did, and cash as card."""
    version = watched.push()
    requests, scores, labels = draw(1, 3000)
    watched.tell(watched.ask(version, 0, requests, scores), labels)
    stable = watched.run(0)
    assert not any(one.baseline.drifted for one in stable.labels_by)
    rng = np.random.default_rng(7)
    turned = [int(rng.random() < (0.25 if one["payment"] == "Card" else 0.52)) for one in requests]
    watched.tell(watched.ask(version, 1, requests, scores), turned)
    watched.monitoring = {"min_labels": 1000, "max_drop": 0.9}
    result = watched.run(1)
    assert [one.feature for one in result.labels_by if one.baseline.drifted] == ["payment"]
    payment = result.labels_by[0]
    assert (payment.label, payment.cells) == ("1", ["Cash", "Card"])
    assert payment.now == pytest.approx([0.52, 0.25], abs=0.04)
    assert payment.trained == pytest.approx([0.25, 0.65], abs=0.04)
    assert {one.cause for one in result.signals} == {"drift", "slices", "volume", "errors", "performance"}
    assert result.verdict == "stable"
    [said] = [one for one in watched.outcome().reasons if "labels by payment" in one]
    assert "1 where payment is Card: 65" in said
    page = (Path(watched.windows) / MODEL / "2026-03-02T00:00:00Z" / "report.html").read_text()
    assert "tip 1 by payment" in page
    assert "no move of the labels is shown" in page


def test_numbers_outside_the_range_of_training_are_told_with_their_share_and_the_furthest(watched: Watched) -> None:
    version = watched.push()
    requests, scores, _ = draw(1)
    far = [row | {"fare": 900.0 + number} if number < 12 else row for number, row in enumerate(requests)]
    watched.ask(version, 0, far, scores)
    result = watched.run(0)
    [fare] = [one for one in result.columns if one.name == "fare"]
    assert fare.outside is not None
    assert (fare.outside.above, fare.outside.below, fare.outside.furthest) == (12, 0, 911.0)
    assert fare.outside.share == pytest.approx(0.02)
    [said] = [one for one in watched.outcome().reasons if "outside the range" in one]
    assert "fare 12 of 600 numbers (2" in said
    assert "911" in said
    page = (Path(watched.windows) / MODEL / "2026-03-01T00:00:00Z" / "report.html").read_text()
    assert "Outside the range of training: 12 of 600" in page


def test_a_slice_is_compared_with_the_window_before(watched: Watched) -> None:
    version = watched.push()
    for day in range(2):
        requests, scores, _ = draw(day, 2000)
        watched.ask(version, day, drifted(requests) if day else requests, scores)
        result = watched.run(day)
    moved = [one for one in result.slices if one.previous and one.previous.drifted]
    assert {one.name for one in moved} == {"fare"}
    assert any("moved within slices since the window before: fare" in said for said in watched.outcome().reasons)
    page = (Path(watched.windows) / MODEL / "2026-03-02T00:00:00Z" / "report.html").read_text()
    assert page.count("from the window before") == 2, "of the columns, and of those within slices"
