from typing import Any

import pytest

from components.evaluate_model import selftest
from slipway.errors import GateError
from slipway.evaluation import gate
from slipway.evaluation.config import EvaluationConfig
from slipway.evaluation.gate import judge
from slipway.evaluation.metric import CANDIDATE
from slipway.evaluation.results import Check, Verdict
from slipway.evaluation.scoring import Models
from slipway.evaluation.tables import Measured


def test_selftest_real_gate_judges_every_case_as_expected() -> None:
    results = selftest.run_selftest()
    selftest.require_all(results)
    assert {result.got for result in results} == {"blessed", "refused", "error"}


def test_selftest_candidate_compared_with_itself_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Models.predict

    def predict(models: Models, rows: Any) -> dict[str, Any]:
        predictions = real(models, rows)
        return dict.fromkeys(predictions, predictions[CANDIDATE])

    monkeypatch.setattr(Models, "predict", predict)
    with pytest.raises(GateError, match="worse than production: expected refused, got blessed"):
        selftest.require_all(selftest.run_selftest())


def test_selftest_comparison_in_the_wrong_direction_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = gate.how_much_worse
    monkeypatch.setattr(gate, "how_much_worse", lambda metric, ours, theirs: right(metric, theirs, ours))
    with pytest.raises(GateError, match="worse than production: expected refused, got blessed"):
        selftest.require_all(selftest.run_selftest())


def test_selftest_gate_that_does_not_ask_for_more_than_a_constant_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def judge_thresholds(config: EvaluationConfig, measured: Measured, check: Check) -> Verdict:
        return judge(config, measured, check.model_copy(update={"outcome": "passed"}))

    monkeypatch.setattr(gate, "judge", judge_thresholds)
    with pytest.raises(GateError) as caught:
        selftest.require_all(selftest.run_selftest())
    for task in ("binary", "multiclass", "regression"):
        assert f"{task}, constant model: expected refused, got blessed" in str(caught.value)
        assert f"{task}, shuffled labels: expected refused, got blessed" in str(caught.value)


def test_selftest_gate_that_looks_at_no_slices_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def judge_overall(config: EvaluationConfig, *arguments: Any) -> Verdict:
        overall = tuple(threshold.model_copy(update={"slice": ()}) for threshold in config.thresholds)
        return judge(config.model_copy(update={"thresholds": overall}), *arguments)

    monkeypatch.setattr(gate, "judge", judge_overall)
    with pytest.raises(GateError, match="no slice large enough: expected refused, got blessed"):
        selftest.require_all(selftest.run_selftest())
