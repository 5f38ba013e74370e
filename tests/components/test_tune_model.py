from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.train_model.config import TrainConfig
from components.train_model.dataset import TrainingRows, read_training_rows
from components.train_model.features import HeldFeatures
from components.tune_model.judging import HalvesWatch, choose_folds
from components.tune_model.run import TuneConfig, is_due
from slipway.lineage import Lineage
from slipway.tuning.judge import Judged
from slipway.tuning.page import render_tuning
from slipway.tuning.result import Winner
from slipway.tuning.search import RULE
from slipway.tuning.trials import Clock, TrialFiles
from tests.recorded_runs import write_run
from tests.searches import MODEL, SPACE, TUNING, search
from tests.shapes import Artifacts, make_transformed, train_parameters


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    return make_transformed(tmp_path_factory)


def test_model_py_says_what_yaml_cannot_and_a_trial_may_fail(artifacts: Artifacts, tmp_path: Path) -> None:
    model = MODEL.replace(
        "    assert", "    if hyperparameters['units'] < 16:\n        raise ValueError('too narrow')\n    assert", 1
    )
    model += (
        "\n\ndef search_space(trial):\n    units = trial.suggest_int('units', 4, 15)\n"
        "    return {'units': units, 'learning_rate': 0.1 / units}\n"
    )
    result = search(artifacts, tmp_path, {}, model=model, trials=2)
    first, second = result.trials
    assert (first.state, first.values.hyperparameters["units"]) == ("complete", 16)
    assert second.values.hyperparameters["learning_rate"] == 0.1 / second.values.hyperparameters["units"]
    assert second.state == "failed"
    assert "too narrow" in second.reason
    assert result.tuned.winner == 0


def test_a_search_without_time_for_confirmations_trains_once_and_says_so(artifacts: Artifacts, tmp_path: Path) -> None:
    result = search(artifacts, tmp_path, trials=9, seconds=0.1)
    assert [one.number for one in result.trials] == [0]
    assert (result.tuned.ended, result.tuned.seeds, result.tuned.value, result.confirmed) == ("seconds", 0, None, {})
    assert "first seed alone" in result.tuned.reason
    assert "first seed alone" in render_tuning(result)
    assert search(artifacts, tmp_path, trials=9, seconds=0.1).tuned == result.tuned, "nothing is trained anew"


def test_only_runs_that_failed_are_held_against_a_trial(
    artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.tune_model.run._make_judge", lambda *_: lambda *_: Judged([0.5], [1]))
    files = TrialFiles(search(artifacts, tmp_path, trials=1).uri)
    runs = {
        ending: [str(write_run(tmp_path / "home", f"{ending}-{number}", ending)) for number in range(2)]
        for ending in ("interrupted", "running", "failed")
    }
    pruned = [str(tmp_path / "home" / "runs" / f"pruned-{number}") for number in range(2)]
    harmless = [*runs["interrupted"], *runs["running"], *pruned]
    files.write_clock("trial-0001.json", Clock(begun=[*harmless, runs["failed"][0]]))
    assert search(artifacts, tmp_path, trials=2).trials[1].state == "complete"
    files.write_clock("trial-0002.json", Clock(begun=runs["failed"]))
    assert search(artifacts, tmp_path, trials=3).trials[2].state == "failed"


@pytest.mark.slow
def test_a_trial_that_tensorflow_cannot_train_fails_alone(artifacts: Artifacts, tmp_path: Path) -> None:
    checked = "keras.layers.Lambda(lambda x: tf.raw_ops.CheckNumerics(tensor=x / 0, message='too narrow'))"
    model = "import tensorflow as tf\n" + MODEL.replace(
        "    model =", f"    if hyperparameters['units'] < 16:\n        hidden = {checked}(hidden)\n    model =", 1
    )
    result = search(artifacts, tmp_path, {"units": {"min": 4, "max": 15}}, model=model, trials=2)
    assert [one.state for one in result.trials] == ["complete", "failed"]
    assert "too narrow" in result.trials[1].reason


def test_what_decides_a_trial_names_the_folder_of_trials_and_bounds_do_not(
    artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.tune_model.run._make_judge", lambda *_: lambda *_: Judged([0.5], [1]))
    space = {"units": {"min": 4, "max": 16}}
    uri = search(artifacts, tmp_path, space).uri
    bounds: list[dict[str, Any]] = [{"trials": 3}, {"seconds": 9.0}, {"target": 0.9}, {"patience": 1}, {"every": "7d"}]
    assert {search(artifacts, tmp_path, space, **one).uri for one in bounds} == {uri}
    assert search(artifacts, tmp_path, space, own={"units": 9}).uri == uri, "it is searched"
    others = [
        search(artifacts, tmp_path, {"units": {"min": 4, "max": 15}}).uri,
        search(artifacts, tmp_path, space, model=f"{MODEL}\n# other code\n").uri,
        search(artifacts, tmp_path, space, own={"learning_rate": 0.5}).uri,
        search(artifacts, tmp_path, space, metric="log_loss").uri,
        search(artifacts, tmp_path, space, folds=2).uri,
        search(artifacts, tmp_path, space, accelerator="1 NVIDIA_L4").uri,
        search(artifacts, tmp_path, space, accelerator="1 NVIDIA_H100_80GB").uri,
    ]
    monkeypatch.setattr("components.tune_model.run.RULE", RULE + 1)
    others.append(search(artifacts, tmp_path, space).uri)
    assert len({uri, *others}) == 9


def test_the_lineage_tells_what_the_winner_changed_in_module_yaml_as_it_is_now(
    artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.tune_model.run._make_judge", lambda *_: lambda *_: Judged([0.5], [1]))
    lineage = Lineage(run="r", module="shapes", module_digest="d", data_uri="rows.csv", hyperparameters={"units": 16})
    space = {"units": {"min": 4, "max": 16}}
    first = search(artifacts, tmp_path, space, trials=1)
    assert first.tuned.lineage(lineage) == lineage
    # The search is over, and module.yaml's value of then goes on to the training.
    edited = search(artifacts, tmp_path, space, own={"units": 9}, trials=1)
    assert edited.uri == first.uri
    told = edited.tuned.lineage(lineage.model_copy(update={"hyperparameters": {"units": 9}}))
    assert (told.hyperparameters, told.overrides) == ({"units": 16}, {"hyperparameters.units": 16})


def test_other_data_reuses_the_last_winner_as_long_as_every_says(
    artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.tune_model.run._make_judge", lambda *_: lambda *_: Judged([0.5], [1]))
    space = {"units": {"min": 4, "max": 16}}
    first = search(artifacts, tmp_path, space, trials=1)
    [file] = (tmp_path / "tuning").rglob("winner.json")
    [trials] = (path for path in file.parent.iterdir() if path.is_dir())
    trials.rename(trials.with_name("of-other-data"))

    def found_on_other_data(days: float) -> None:
        winner = Winner(data="of-other-data", tuned=first.tuned)
        winner.tuned.found_at = time.time() - days * 86_400
        file.write_text(winner.model_dump_json())
        os.utime(file, (winner.tuned.found_at, winner.tuned.found_at))

    for every, days in (("never", 900), ("7d", 6)):
        found_on_other_data(days)
        reused = search(artifacts, tmp_path, space, trials=1, every=every)
        assert reused.tuned.ended == "reused"
        assert reused.tuned.values == first.tuned.values
        assert [one.number for one in reused.trials] == [0]
        assert file.stat().st_mtime > time.time() - 3600, (
            "written again, so that a bucket's rule for old files leaves it"
        )
        assert "reused" in reused.tuned.reason
    next(file.parent.glob("*/trial-0000.json")).unlink()
    found_on_other_data(6)
    without = search(artifacts, tmp_path, space, trials=1, every="7d")
    assert (without.tuned.values, without.trials) == (first.tuned.values, [])
    assert "reused" in render_tuning(without)
    assert is_due("7d", Winner(data="d", tuned=first.tuned.model_copy(update={"found_at": time.time() - 8 * 86_400})))
    assert search(artifacts, tmp_path, space, trials=1).tuned.ended == "trials"


def test_what_the_form_gives_by_hand_is_not_searched() -> None:
    own = TrainConfig.model_validate_json(train_parameters())
    wanted = TuneConfig.model_validate({"search_space": SPACE, "tuning": TUNING})
    assert wanted.fixed(own, own.given(own.training.epochs, 3, "")) == wanted
    given = own.given(own.training.epochs + 1, own.training.seed, '{"units": 5}')
    choices = {name: one.choices for name, one in wanted.fixed(own, given).search_space.items()}
    assert choices == {"learning_rate": (), "units": (5,), "training.epochs": (own.training.epochs + 1,)}


def test_what_is_given_by_hand_stands_against_the_function_of_model_py(
    artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.tune_model.run._make_judge", lambda *_: lambda *_: Judged([0.5], [1]))
    model = MODEL + (
        "\n\ndef search_space(trial):\n    units = trial.suggest_int('units', 4, 15)\n"
        "    return {'units': units, 'learning_rate': 0.1 / units}\n"
    )
    result = search(artifacts, tmp_path, {"units": {"choices": [16]}}, model=model, trials=3)
    assert [one.values.hyperparameters["units"] for one in result.trials] == [16, 16, 16]
    assert result.tuned.by_hand == ["units"]
    assert len({one.values.hyperparameters["learning_rate"] for one in result.trials}) > 1


class Curve:
    """Stands for a model: of each epoch, the loss on each row; the rows are told by their only feature."""

    def __init__(self, losses: list[list[float]]) -> None:
        self._losses, self.epoch = losses, 0

    def evaluate(self, batches: Any, **_: Any) -> dict[str, float]:
        rows = np.concatenate([features["x"].numpy() for features, *_ in batches])
        return {"loss": float(np.mean([self._losses[self.epoch][row] for row in rows]))}


def watched(held: TrainingRows, losses: list[list[float]], told: Any = None) -> HalvesWatch:
    config = TrainConfig.model_validate_json(train_parameters(epochs=len(losses)))
    watch, model = HalvesWatch(held, config, "val_loss", lambda: None, told), Curve(losses)
    watch.set_model(model)
    for model.epoch in range(len(losses)):
        watch.on_epoch_end(model.epoch, {})
    return watch


def held_rows(count: int, groups: list[int] | None = None) -> TrainingRows:
    ids = None if groups is None else np.array(groups)
    return TrainingRows(HeldFeatures({"x": np.arange(count)}), np.zeros((count, 1)), None, ids, np.arange(count))


def test_rows_are_judged_in_the_epoch_that_the_other_half_chose() -> None:
    held = held_rows(2, groups=[0, 1])
    # By its own rows each half would have 0.1; what is lucky for one is not so for the other.
    assert watched(held, [[0.5, 0.5], [0.1, 0.9], [0.8, 0.1]]).value() == pytest.approx((0.8 + 0.9) / 2)
    assert watched(held, [[0.5, 0.5], [0.1, 0.2], [0.4, 0.4]]).value() == pytest.approx(0.15)


def test_a_single_group_chooses_for_itself() -> None:
    assert watched(held_rows(3, groups=[7, 7, 7]), [[0.5] * 3, [0.2] * 3, [0.4] * 3]).value() == pytest.approx(0.2)


def test_rungs_are_told_of_all_held_back_rows_in_that_epoch() -> None:
    told: list[tuple[int, float]] = []
    watched(held_rows(2), [[0.5, 0.7], [0.1, 0.1], [0.2, 0.4], [0.1, 0.1]], lambda *rung: told.append(rung))
    assert [epoch for epoch, _ in told] == [1, 3]
    assert [value for _, value in told] == pytest.approx([0.6, 0.3])


def test_folds_share_no_row_and_hold_the_same_mix(artifacts: Artifacts) -> None:
    from tensorflow_transform import TFTransformOutput

    config = TrainConfig.model_validate_json(train_parameters())
    spec = TFTransformOutput(artifacts.graph).transformed_feature_spec()
    rows = read_training_rows(artifacts.transformed, spec, config)
    held = [rows.fold(config, index, 5).validation for index in range(5)]
    assert sorted(np.concatenate(held)) == list(range(600))
    mixes = [np.bincount(rows.labels[one].reshape(-1).astype(int)) for one in held]
    assert np.ptp(mixes, axis=0).max() <= 1


@pytest.mark.parametrize(
    ("rows", "wanted", "folds"), [(20_000, None, 1), (600, None, 5), (3, None, 3), (600, 1, 1), (600, 4, 4)]
)
def test_small_data_is_judged_on_folds(rows: int, wanted: int | None, folds: int) -> None:
    assert choose_folds(rows, rows, 0.1, wanted) == folds
