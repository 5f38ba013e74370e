from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slipway.errors import ConfigError, ModuleError
from slipway.module_kit.config import read_config
from slipway.tuning.sampler import searched_names
from slipway.tuning.space import Space

HEAD = """\
contract: 1
task: binary
label: {column: tip}
data: rows.csv
hyperparameters: {rate: 0.1, hidden: [8]}
"""


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ("rat: {min: 1, max: 2}", ["search_space", "'rat'", "hyperparameters"]),
        ("rate: {min: 2, max: 1}", ["rate", "min is 2 and max is 1"]),
        ("rate: {min: 0, max: 1, log: true}", ["rate", "min is 0", "log"]),
        ("rate: {min: 1, max: 8, step: 0.5}", ["step is 0.5", "whole"]),
        ("rate: {min: 1, max: 8, log: true, step: 2}", ["log and step"]),
        ("rate: {choices: [1, 1]}", ["twice"]),
        ("rate: {choices: [1], min: 1}", ["choices alone"]),
        ("rate: {min: 1}", ["min and max", "choices"]),
        ("rate: {low: 1, high: 2}", ["unknown key", "low"]),
        ("hidden: {min: 1, max: 8, length: [3, 1]}", ["length is [3, 1]"]),
        ("training.epochs: {min: 0, max: 3}", ["training.epochs", "whole numbers from 1"]),
        ("training.seed: {min: 0, max: 3}", ["training.seed", "training.epochs"]),
    ],
)
def test_a_wrong_space_is_refused_with_the_fix(tmp_path: Path, space: str, said: list[str]) -> None:
    (tmp_path / "module.yaml").write_text(f"{HEAD}search_space:\n  {space}\n")
    with pytest.raises(ConfigError) as refused:
        read_config(tmp_path)
    for part in said:
        assert part in str(refused.value)


@pytest.mark.parametrize(
    ("tuning", "said"),
    [
        ("{metric: acuracy}", ["acuracy", "accuracy"]),
        ("{metric: calibration}", ["calibration"]),
        ("{trials: 0}", ["tuning.trials"]),
        ("{every: weekly}", ["tuning.every", "weekly"]),
    ],
)
def test_wrong_bounds_are_refused(tmp_path: Path, tuning: str, said: list[str]) -> None:
    (tmp_path / "module.yaml").write_text(f"{HEAD}search_space:\n  rate: {{min: 0.1, max: 1}}\ntuning: {tuning}\n")
    with pytest.raises(ConfigError) as refused:
        read_config(tmp_path)
    for part in said:
        assert part in str(refused.value)


def test_the_names_of_a_function_are_those_of_several_draws() -> None:
    def answer(trial: Any) -> dict[str, Any]:
        if trial.suggest_categorical("kind", ["wide", "deep", "refused"]) == "refused":
            raise ModuleError("not this kind")
        return {trial.params["kind"]: 1}

    assert sorted(searched_names(Space({}, answer))) == ["deep", "wide"]


@pytest.mark.parametrize("answer", [None, [1], {"rate": {1, 2}}, {"rate": float("nan")}, {"training.seed": 3}])
def test_a_function_that_answers_no_hyperparameters_is_refused(answer: Any) -> None:
    with pytest.raises(ModuleError, match="search_space"):
        searched_names(Space({}, lambda trial: answer))
