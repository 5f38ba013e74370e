"""What a run is given and what its lineage holds."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from delivery.launch import RunRequest, git_revision, request_run
from delivery.overrides import override_module
from delivery.package import problems
from pipelines.registry import Locations, Platform
from settings.load import PROJECT
from slipway.module_kit.check import check_module
from slipway.module_kit.loader import read_schema_text
from slipway.runs.record import RunContext
from tests.compiled.specs import golden_spec
from tests.delivery.plan.project import Project

PLATFORM = Platform("local", "slipway-python@sha256:0")


@pytest.fixture
def module(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PROJECT / "modules" / "taxi", tmp_path / "taxi"))


def request(module: Path, overrides: dict[str, Any] | None = None, **options: Any) -> RunRequest:
    config = override_module(check_module(module), overrides or {})
    return request_run(module, config, "trips.csv", Locations.under(str(module.parent / "home")), PLATFORM, **options)


def test_hyperparameters_travel_with_their_types(module: Path) -> None:
    given = {"rate": 1.0, "count": 1, "large": 9007199254740993, "flags": [True, "1", 0.5], "deep": {"x": 2.0}}
    with (module / "module.yaml").open("a", encoding="utf-8") as file:  # hyperparameters come last in it
        file.writelines(f"  {name}: 0\n" for name in given)
    made = request(module, {"hyperparameters": given})
    arrived = json.loads(made.arguments["hyperparameters"])
    assert repr({key: arrived[key] for key in given}) == repr(given)
    recorded = RunContext.model_validate_json(made.arguments["run"]).lineage.hyperparameters
    assert repr({key: recorded[key] for key in given}) == repr(given)


def test_lineage_has_all_hyperparameters_and_what_was_overridden(module: Path) -> None:
    overrides: dict[str, Any] = {
        "training": {"epochs": 3, "seed": 42},
        "hyperparameters": {"embedding": 6.0, "dropout": 0.35},
    }
    made = request(module, overrides, settings_overrides={"evaluation.engine": "tfma"})
    own = check_module(module)
    assert made.lineage.hyperparameters == {**own.hyperparameters, "embedding": 6.0, "dropout": 0.35}
    assert repr(made.lineage.overrides) == repr(
        {"evaluation.engine": "tfma", "training.epochs": 3, "hyperparameters.embedding": 6.0}
    ), "42 and 0.35 are the module's own; 6.0 is another value than 6"
    assert request(module).lineage.overrides == {}


def test_lineage_has_no_hyperparameters_where_nothing_is_trained(module: Path) -> None:
    made = request(module, {"batch_prediction": {"to": "scores"}}, pipeline="batch_prediction")
    assert made.lineage.hyperparameters == {}, "those of module.yaml are not those of the version that predicts"


def test_a_schema_of_a_thousand_features_travels_as_a_uri(module: Path) -> None:
    feature = 'feature {{\n  name: "sensor_{}"\n  type: FLOAT\n  presence {{ min_fraction: 1.0 min_count: 1 }}\n}}\n'
    text = (module / "schema.pbtxt").read_text() + "".join(feature.format(number) for number in range(2_000))
    (module / "schema.pbtxt").write_text(text)
    arguments = request(module).arguments
    assert len(json.dumps(arguments)) < 10_000
    assert problems(golden_spec("kubeflow"), arguments) == []
    assert read_schema_text(arguments["schema_uri"]) == text


def test_schema_uri_changes_with_the_schema_only(module: Path) -> None:
    first = request(module).arguments["schema_uri"]
    (module / "model.py").write_text((module / "model.py").read_text() + "\n# edited\n")
    assert request(module).arguments["schema_uri"] == first
    (module / "schema.pbtxt").write_text((module / "schema.pbtxt").read_text() + "\n")
    assert request(module).arguments["schema_uri"] != first
    (module / "schema.pbtxt").unlink()
    assert request(module).arguments["schema_uri"] == ""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path / "project")
    project.commit({"README.md": "A project.\n"})
    return project


def test_git_revision_is_the_commit_and_says_of_changes(project: Project) -> None:
    commit = project.git("rev-parse", "HEAD")
    assert git_revision(project.folder) == commit
    project.write("README.md", "changed\n")
    assert git_revision(project.folder) == f"{commit}-dirty"


def test_git_revision_outside_a_repository_is_unknown_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert git_revision(tmp_path) == "unknown"
    assert caplog.text == ""


def test_git_revision_of_somebody_elses_checkout_warns_with_gits_remedy(
    project: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # Git's own tests do it so (setup.c)
    assert git_revision(project.folder) == "unknown"
    assert str(project.folder) in caplog.text
    assert "safe.directory" in caplog.text


def test_git_revision_of_a_repository_without_commits_warns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    assert git_revision(tmp_path) == "unknown"
    assert "recorded as unknown" in caplog.text
