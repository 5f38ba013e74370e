"""docs/features.md: its view, its lines of module.yaml and its commands, in a project with the taxi module."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from settings.load import PROJECT
from slipway.data.examples.dataset import read_manifest
from tests.docs.pages import shell_blocks
from tests.e2e.workspace import Workspace, make_workspace

PAGE = PROJECT / "docs" / "features.md"
COMMANDS = [line for block in shell_blocks(PAGE) for line in block.splitlines()]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    from modules.taxi.sample import write_sample

    workspace = make_workspace(tmp_path)
    text = PAGE.read_text()
    sql, config = (re.findall(rf"```{kind}\n(.*?)```", text, flags=re.DOTALL)[0] for kind in ("sql", "yaml"))
    (tmp_path / "features" / "company").mkdir(parents=True)
    (tmp_path / "features" / "company" / "daily.sql").write_text(sql)
    with (workspace.modules / "taxi" / "module.yaml").open("a") as file:
        file.write(config)
    (tmp_path / "data").mkdir()
    write_sample(tmp_path / "data" / "trips.csv", rows=4000)
    monkeypatch.chdir(tmp_path)
    return workspace


def _run(workspace: Workspace, command: str, *more: str) -> str:
    _, *arguments = shlex.split(command)
    return workspace.slipway(*arguments, *more).stdout


@pytest.mark.slow
def test_page_shows_the_view_and_checks_the_module(project: Workspace) -> None:
    lists, shows, checks, _ = COMMANDS
    (listed,) = json.loads(_run(project, lists, "--json"))
    assert (listed["view"], listed["modules"], listed["owner"]) == ("company/daily", ["taxi"], "taxi-data@example.com")
    shown = json.loads(_run(project, shows, "--json"))
    assert shown["types"].keys() == {"company", "known_at", "trips_1d", "mean_fare_1d"}
    assert shown["rows"] > 1000
    assert "Mean fare of the day in USD" in _run(project, shows)
    assert "taxi: right" in _run(project, checks)
    module = project.modules / "taxi" / "module.yaml"
    module.write_text(
        module.read_text().replace("trips_1d, mean", "fare, mean").replace("company/daily", "company/dayly")
    )
    assert "did you mean company/daily" in project.slipway("features", "show", "company/dayly", code=1).stderr
    assert "company/dayly.sql is missing" in project.slipway("module", "check", "taxi", code=1).stdout


@pytest.mark.slow
def test_page_trains_on_the_joined_features(project: Workspace) -> None:
    _run(project, COMMANDS[-1], "--set", "hyperparameters.members=1")
    run = project.last_run()
    (examples,) = [path for name, path in run["artifacts"].items() if name == "examples"]
    columns = read_manifest(examples).columns
    assert (columns["trips_1d"], columns["mean_fare_1d"]) == ("int64", "double")
    view = project.modules.parent / "features" / "company" / "daily.sql"
    view.write_text(view.read_text().replace("owner: taxi-data", "owner: fares"))
    _run(project, COMMANDS[-1], "--set", "hyperparameters.members=1")
    assert project.states()["ingest_examples"] == "cached"
    view.write_text(view.read_text().replace("avg(fare)", "median(fare)"))
    _run(project, COMMANDS[-1], "--set", "hyperparameters.members=1")
    assert project.states()["ingest_examples"] == "succeeded"
