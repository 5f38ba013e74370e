from __future__ import annotations

from pathlib import Path

import pytest

from slipway.errors import ConfigError
from slipway.module_kit.config import read_config
from slipway.tuning.result import Tuned, TuningRecord
from slipway.tuning.space import Values
from tests.cli.commands import slipway
from tests.recorded_runs import write_run

MODULE = """\
contract: 1
task: binary
label: {column: tip}
data: rows.csv
hyperparameters: {learning_rate: 0.001} # by hand
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "modules" / "taxi"
    folder.mkdir(parents=True)
    (folder / "module.yaml").write_text(MODULE)
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SLIPWAY_MODULES", str(tmp_path / "modules"))
    return write_run(tmp_path / "home", "taxi-1", "pushed")


def test_adopt_writes_the_winner_into_module_yaml(run: Path, tmp_path: Path) -> None:
    values = Values(hyperparameters={"learning_rate": 0.02}, training={"epochs": 7})
    tuned = Tuned(ended="trials", metric="auc", better="high", winner=4, values=values, trials=7)
    (run / "tuning.json").write_text(TuningRecord(tuned=tuned).model_dump_json())
    answer = slipway("tune", "adopt", "taxi-1")
    assert answer.exit_code == 0
    assert "hyperparameters.learning_rate: 0.001 -> 0.02" in answer.output
    config = read_config(tmp_path / "modules" / "taxi")
    assert (config.hyperparameters, config.training.epochs) == ({"learning_rate": 0.02}, 7)
    assert "# by hand" in (tmp_path / "modules" / "taxi" / "module.yaml").read_text()
    assert "nothing changes" in slipway("tune", "adopt", "taxi-1").output


def test_adopt_does_not_write_what_was_given_by_hand(run: Path, tmp_path: Path) -> None:
    values = Values(hyperparameters={"learning_rate": 0.02}, training={"epochs": 7})
    by_hand = ["learning_rate"]
    tuned = Tuned(ended="trials", metric="auc", better="high", winner=4, values=values, by_hand=by_hand, trials=7)
    (run / "tuning.json").write_text(TuningRecord(tuned=tuned).model_dump_json())
    answer = slipway("tune", "adopt", "taxi-1")
    assert "not written" in answer.output
    assert "learning_rate" in answer.output
    config = read_config(tmp_path / "modules" / "taxi")
    assert (config.hyperparameters, config.training.epochs) == ({"learning_rate": 0.001}, 7)


def test_adopt_of_a_run_without_a_search_says_so(run: Path) -> None:
    with pytest.raises(ConfigError, match="taxi-1 has no winner"):
        slipway("tune", "adopt", "taxi-1")
