from __future__ import annotations

from pathlib import Path

import pytest

from slipway.errors import ConfigError
from slipway.module_kit.config import read_config
from slipway.module_kit.edit import set_values

HEAD = "contract: 1 # the first\ntask: binary\nlabel: {column: tip}\ndata: rows.csv\n"


def write(folder: Path, text: str) -> Path:
    (folder / "module.yaml").write_text(HEAD + text, encoding="utf-8")
    return folder


def text(folder: Path) -> str:
    return (folder / "module.yaml").read_text(encoding="utf-8").removeprefix(HEAD)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "hyperparameters:\n  hidden: [8, 4] # units\n  # how fast\n  rate: 0.1\ntraining:\n  epochs: 3 # few\n",
            "hyperparameters:\n  hidden: [16] # units\n  # how fast\n  rate: 1.0e-05\ntraining:\n  epochs: 5 # few\n",
        ),
        (
            "hyperparameters: {hidden: [8], rate: 0.1} # all\ntraining: {batch_size: 4}\n",
            "hyperparameters: {hidden: [16], rate: 1.0e-05} # all\ntraining: {epochs: 5, batch_size: 4}\n",
        ),
        (
            "hyperparameters:\n  hidden:\n    - 8\n    - 4 # last\n  # how fast\n  rate: 0.1\n",
            "hyperparameters:\n  hidden:\n    [16] # last\n  # how fast\n  rate: 1.0e-05\ntraining:\n  epochs: 5\n",
        ),
        (
            "hyperparameters:\n  hidden:\n  - 8\n  - 4 # last\n  rate: &rate 0.1\n",
            "hyperparameters:\n  hidden:\n    [16] # last\n  rate: 1.0e-05\ntraining:\n  epochs: 5\n",
        ),
        (
            "training:\n  # how long\n  batch_size: 4\nhyperparameters:\n  rate: 0.1\n  hidden: [1]\n",
            "training:\n  # how long\n  epochs: 5\n  batch_size: 4\n"
            "hyperparameters:\n  rate: 1.0e-05\n  hidden: [16]\n",
        ),
    ],
)
def test_values_are_replaced_and_comments_stay(tmp_path: Path, before: str, after: str) -> None:
    folder = write(tmp_path, before)
    changes = set_values(folder, {"hyperparameters": {"hidden": [16], "rate": 1e-5}, "training": {"epochs": 5}})
    assert text(folder) == after
    assert len(changes) == 3
    config = read_config(folder)
    assert (config.hyperparameters, config.training.epochs) == ({"hidden": [16], "rate": 1e-5}, 5)
    assert set_values(folder, {"training": {"epochs": 5}}) == []


def test_the_ends_of_lines_stay(tmp_path: Path) -> None:
    folder = write(tmp_path, "")
    (folder / "module.yaml").write_bytes(f"{HEAD}training:\n  epochs: 3 # few\n".replace("\n", "\r\n").encode())
    set_values(folder, {"training": {"epochs": 5}})
    after = f"{HEAD}training:\n  epochs: 5 # few\n".replace("\n", "\r\n").encode()
    assert (folder / "module.yaml").read_bytes() == after


def test_a_file_that_cannot_be_edited_stays_as_it_is(tmp_path: Path) -> None:
    before = "hyperparameters: &shared {rate: 0.1}\nsearch_space:\n  rate: &space {choices: [0.1, 1]}\n"
    anchored = "hyperparameters:\n  rate: &rate 0.1\n  other: *rate\n"
    set_values(write(tmp_path, before), {"hyperparameters": {"rate": 1}})
    folder = write(tmp_path, anchored)
    # After the first of two values the text is no longer YAML: its alias has lost its anchor.
    for values in ({"hyperparameters": {"rate": 1}}, {"hyperparameters": {"rate": 1}, "training": {"epochs": 5}}):
        with pytest.raises(ConfigError, match="by hand") as refused:
            set_values(folder, values)
        assert "hyperparameters.rate: 0.1 -> 1" in str(refused.value)
        assert text(folder) == anchored
