from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.train_model.config import TrainConfig
from components.train_model.dataset import read_training_rows
from components.tune_model.judging import choose_folds
from components.tune_model.run import TuneConfig, is_due, tune
from slipway.lineage import Lineage
from slipway.runs.record import RunContext
from slipway.tuning.page import render_tuning
from slipway.tuning.result import TuningFile, Winner
from tests.shapes import MODULE, Artifacts, make_transformed, publish, train_parameters

SPACE = {
    "learning_rate": {"min": 0.001, "max": 0.1, "log": True},
    "units": {"min": 4, "max": 16},
    "training.epochs": {"min": 1, "max": 2},
}
TUNING = {"trials": 2, "metric": "accuracy", "folds": 1}
MODEL = (MODULE / "model.py").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    return make_transformed(tmp_path_factory)


def search(
    artifacts: Artifacts, folder: Path, space: dict[str, Any] | None = None, model: str = MODEL, **tuning: Any
) -> TuningFile:
    lineage = Lineage(run="r", module="shapes", module_digest="d", data_uri="rows.csv")
    return tune(
        artifacts.graph,
        artifacts.transformed,
        publish(artifacts.folder, model=model).model_uri,
        TrainConfig.model_validate_json(train_parameters(epochs=2)),
        TuneConfig.model_validate({"search_space": SPACE if space is None else space, "tuning": TUNING | tuning}),
        {},
        str(folder / "tuning"),
        RunContext(uri=str(folder / "run"), lineage=lineage),
    )


def files(folder: Path) -> dict[str, bytes]:
    """The trials and confirmations, without what the clock measured."""
    found = sorted((folder / "tuning").rglob("*.json"))
    return {path.name: path.read_bytes() for path in found if path.name != "winner.json"}


def test_a_search_that_was_killed_leaves_the_same_files(artifacts: Artifacts, tmp_path: Path) -> None:
    undisturbed = search(artifacts, tmp_path / "a", target=0.0)  # trial 0, and the same with two further seeds
    code = (
        "import sys; from pathlib import Path; from tests.components.test_tune_model import search;"
        "from tests.shapes import Artifacts; search(Artifacts(Path(sys.argv[1])), Path(sys.argv[2]), target=0.0)"
    )
    again = subprocess.Popen([sys.executable, "-c", code, str(artifacts.folder), str(tmp_path / "b")])
    while len(files(tmp_path / "b")) < 1:
        assert again.poll() is None
        time.sleep(0.02)
    again.send_signal(signal.SIGKILL)
    again.wait()
    assert len(files(tmp_path / "b")) < len(files(tmp_path / "a"))
    resumed = search(artifacts, tmp_path / "b", target=0.0)
    assert len(files(tmp_path / "a")) == 3
    assert files(tmp_path / "b") == files(tmp_path / "a")
    assert resumed.tuned.values == undisturbed.tuned.values
    assert resumed.trials[0].values.flat() == {"units": 16, "learning_rate": 0.02, "training.epochs": 2}
    assert resumed.tuned.own == resumed.trials[0].value
    assert resumed.tuned.value == resumed.confirmed[resumed.tuned.winner]
    render_tuning(resumed)


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


def test_other_data_reuses_the_last_winner_as_long_as_every_says(artifacts: Artifacts, tmp_path: Path) -> None:
    space = {"units": {"min": 4, "max": 16}}
    first = search(artifacts, tmp_path, space, trials=1)
    [file] = (tmp_path / "tuning").rglob("winner.json")
    [trials] = (path for path in file.parent.iterdir() if path.is_dir())
    trials.rename(trials.with_name("of-other-data"))

    def found_on_other_data(days: float) -> None:
        winner = Winner(data="of-other-data", tuned=first.tuned)
        winner.tuned.found_at = time.time() - days * 86_400
        file.write_text(winner.model_dump_json())

    for every, days in (("never", 900), ("7d", 6)):
        found_on_other_data(days)
        reused = search(artifacts, tmp_path, space, trials=1, every=every)
        assert reused.tuned.ended == "reused"
        assert reused.tuned.values == first.tuned.values
        assert [one.number for one in reused.trials] == [0]
        assert "reused" in reused.tuned.reason
    assert is_due("7d", Winner(data="d", tuned=first.tuned.model_copy(update={"found_at": time.time() - 8 * 86_400})))
    assert search(artifacts, tmp_path, space, trials=1).tuned.ended == "trials"


def test_what_the_form_gives_by_hand_is_not_searched() -> None:
    own = TrainConfig.model_validate_json(train_parameters())
    wanted = TuneConfig.model_validate({"search_space": SPACE, "tuning": TUNING})
    assert set(wanted.without(own, own.given(own.training.epochs, 3, "")).search_space) == set(SPACE)
    given = own.given(own.training.epochs + 1, own.training.seed, '{"units": 5}')
    assert set(wanted.without(own, given).search_space) == {"learning_rate"}


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
