"""Recurring runs of a module with a search space."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from delivery.environment import open_environment
from delivery.submission import recurring_runs
from settings.load import PROJECT
from settings.schema import Schedule
from tests.compiled.specs import tasks


@pytest.mark.parametrize(
    ("overrides", "tuning", "every"),
    [({}, "", "never"), ({"training.seed": 7}, "", "never"), ({"tuning.trials": 3}, "", None), ({}, "every: 7d", "7d")],
)
def test_a_recurring_run_reuses_the_last_winner_unless_it_is_told_otherwise(
    remote_home: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    overrides: dict[str, Any],
    tuning: str,
    every: str | None,
) -> None:
    folder = shutil.copytree(PROJECT / "modules" / "taxi", tmp_path / "modules" / "taxi")
    with (folder / "module.yaml").open("a") as file:
        file.write(f"search_space:\n  dropout: {{min: 0.0, max: 0.4}}\ntuning: {{{tuning}}}\n")
    monkeypatch.setenv("SLIPWAY_MODULES", str(tmp_path / "modules"))
    here = open_environment()
    nightly = Schedule(module="taxi", cron="0 3 * * *", data="gs://bucket/trips.csv", overrides=overrides)
    environment = replace(here, settings=here.settings.model_copy(update={"schedules": {"nightly": nightly}}))
    with recurring_runs(environment, "kubeflow", publish=False) as [recurring]:
        given = tasks(recurring.submission.package.spec)["tune_model"]["inputs"]["parameters"]["search"]
    search = json.loads(given["runtimeValue"]["constant"])
    assert search["tuning"]["every"] == every
