from pathlib import Path
from typing import Any

import pytest

from components.evaluate_model import selftest
from slipway.errors import GateError
from slipway.evaluation import gate, paired
from slipway.evaluation.config import EvaluationConfig
from slipway.evaluation.gate import judge
from slipway.evaluation.metric import CANDIDATE, how_much_worse
from slipway.evaluation.paired import Rival
from slipway.evaluation.results import Check, Verdict
from slipway.evaluation.scoring import Models
from slipway.evaluation.slices import Measured


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("selftest")
    selftest.write_inputs(folder)
    return folder


def notices(inputs: Path, *names: str) -> bool:
    """Whether each of these cases, which are refused, is blessed by a gate that is broken."""
    results = [selftest.run_case(case, inputs) for case in selftest.CASES if case.name in names]
    assert [result.name for result in results] == list(names)
    with pytest.raises(GateError) as caught:
        selftest.require_all(results)
    return all(f"{name}: expected refused, got blessed" in str(caught.value) for name in names)


@pytest.mark.slow
def test_selftest_real_gate_judges_every_case_as_expected() -> None:
    results = selftest.run_selftest()
    selftest.require_all(results)
    assert {result.got for result in results} == {"blessed", "refused", "error"}


def test_selftest_candidate_compared_with_itself_is_noticed(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Models.predict

    def predict(models: Models, rows: Any) -> dict[str, Any]:
        predictions = real(models, rows)
        return dict.fromkeys(predictions, predictions[CANDIDATE])

    monkeypatch.setattr(Models, "predict", predict)
    assert notices(inputs, "worse than production")


def test_selftest_comparison_in_the_wrong_direction_is_noticed(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paired, "how_much_worse", lambda best, ours, theirs: how_much_worse(best, theirs, ours))
    assert notices(inputs, "worse than production")


def test_selftest_gate_that_does_not_ask_for_more_than_a_constant_is_noticed(
    inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def judge_thresholds(config: EvaluationConfig, measured: Measured, check: Check, *_: Any) -> Verdict:
        return judge(config, measured, check.model_copy(update={"outcome": "passed"}))

    monkeypatch.setattr(gate, "judge", judge_thresholds)
    tasks, kinds = ("binary", "multiclass", "regression"), ("shuffled labels", "constant model")
    assert notices(inputs, *(f"{task}, {kind}" for task in tasks for kind in kinds))


def test_selftest_gate_that_looks_at_no_slices_is_noticed(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def judge_overall(config: EvaluationConfig, *arguments: Any) -> Verdict:
        overall = tuple(threshold.model_copy(update={"slice": ()}) for threshold in config.thresholds)
        return judge(config.model_copy(update={"thresholds": overall}), *arguments)

    monkeypatch.setattr(gate, "judge", judge_overall)
    assert notices(inputs, "no slice large enough")


def test_selftest_gate_that_compares_with_production_alone_is_noticed(
    inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "compare_best_served", lambda *arguments: None)
    assert notices(inputs, "worse again and again")


def test_selftest_gate_that_takes_what_is_measured_for_the_truth_is_noticed(
    inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Rival, "margins", lambda rival, max_drop: max_drop - rival.drop)
    assert notices(inputs, "too few rows to tell")
    (by_chance,) = (selftest.run_case(case, inputs) for case in selftest.CASES if case.name == "worse by chance")
    assert (by_chance.expected, by_chance.got) == ("blessed", "refused")
