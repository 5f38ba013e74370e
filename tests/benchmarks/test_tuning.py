"""The search beside KerasTuner's; the searches themselves are stood in for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import tuning
from benchmarks.measure import Cost
from slipway.module_api import Searched
from slipway.tuning.space import Space

SUBJECT = tuning.Subject("taxi", Path("modules/taxi"), "graph", "examples", {"dropout": {"min": 0.0, "max": 0.5}})


def _measured(command: list[str], *_: Any) -> Cost:
    task = json.loads(Path(command[-1]).read_text())
    best = {"slipway": 0.2, "hyperband": 0.3}[task["system"]] + task["seed"] / 100
    return Cost(9.0, 8.0, 700.0 + task["seed"], json.dumps({"best": best, "again": best, "trials_a_minute": 4.0}))


def test_each_search_has_a_row_over_three_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "measure", _measured)
    monkeypatch.setattr(tuning, "find_spec", lambda name: name)
    ours, theirs = tuning.compare_searches([SUBJECT], tmp_path)
    assert ours[2:] == ("0.2200 (0.2100 to 0.2300)", "0.2200 (0.2100 to 0.2300)", "4", "703")
    assert "0.3200" in theirs[2]


def test_without_kerastuner_its_row_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "measure", _measured)
    monkeypatch.setattr(tuning, "find_spec", lambda _: None)
    ours, theirs = tuning.compare_searches([SUBJECT], tmp_path)
    assert ours[2].startswith("0.22")
    assert "pip install keras-tuner" in theirs[2]


def test_kerastuner_draws_from_the_same_space() -> None:
    keras_tuner = pytest.importorskip("keras_tuner")
    space = Space(
        {
            "hidden": Searched(min=16, max=128, log=True, length=(3, 3)),
            "rate": Searched(min=0.001, max=0.1, log=True),
            "training.batch_size": Searched(choices=(128, 256)),
        }
    )
    drawn = keras_tuner.HyperParameters()
    values = space.draw(tuning._Drawn(drawn)).flat()  # type: ignore[arg-type]
    assert len(values["hidden"]) == 3
    assert all(16 <= units <= 128 for units in values["hidden"])
    assert values["training.batch_size"] in (128, 256)
    assert {one.name for one in drawn.space} >= {"hidden.length", "hidden.0", "rate", "training.batch_size"}
