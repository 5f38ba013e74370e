"""A cluster without Google: what `submit` sends is run step by step as Kubeflow runs it, with everything on S3."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modules.taxi.sample import write_sample
from slipway.stores import storage
from tests.cli.commands import slipway
from tests.fakes.kubeflow import FakeKubeflow
from tests.fakes.kubeflow.launcher import Launcher
from tests.fakes.s3_server import ACCESS_KEY, SECRET_KEY, S3Server

HOME = "s3://bucket/slipway"
EASY = '[{"metric": "auc", "min": 0.5}]'


@pytest.fixture
def secrets(s3_server: S3Server, kubeflow: FakeKubeflow, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, str]]:
    """The secret of the guide; settings that name it, and variables of whoever submits."""
    endpoint = f"http://127.0.0.1:{s3_server.port}"
    for name, value in {
        "SLIPWAY_REMOTE_HOME": HOME,
        "SLIPWAY_KUBEFLOW__S3_SECRET": "slipway-s3",
        "SLIPWAY_KUBEFLOW__CLUSTER_ENDPOINT": kubeflow.url,
        "AWS_ENDPOINT_URL": endpoint,
    }.items():
        monkeypatch.setenv(name, value)
    login = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_ENDPOINT_URL": endpoint}
    return {"slipway-s3": login}


def launch(kubeflow: FakeKubeflow, secrets: dict[str, dict[str, str]], folder: Path, *arguments: str) -> dict[str, Any]:
    """Submits a run and runs its steps; what its record says."""
    known = set(kubeflow.runs)
    done = slipway("submit", "taxi", "--target", "kubeflow", *arguments)
    assert done.exit_code == 0, done.output
    [run_id] = set(kubeflow.runs) - known
    run = kubeflow.runs[run_id]
    version = kubeflow.versions[run["pipeline_version_reference"]["pipeline_version_id"]]
    documents = [version["pipeline_spec"], *version["platform_spec"]]
    assert SECRET_KEY not in json.dumps([documents, run])
    launcher = Launcher(documents, run, secrets, folder)
    launcher.start()
    assert not launcher.failed, launcher.logs[launcher.failed][-3000:]
    assert not [name for name, log in launcher.logs.items() if SECRET_KEY in log]
    found: dict[str, Any] = json.loads(storage.read_text(f"{HOME}/runs/taxi-{run_id}/summary.json"))
    return found


@pytest.mark.slow
def test_cluster_without_google_trains_pushes_and_predicts(
    kubeflow: FakeKubeflow,
    secrets: dict[str, dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second run's artifacts are where Kubeflow has its own."""
    for span in (1, 2):
        write_sample(tmp_path / f"{span}.csv", rows=1_500)
        storage.copy(str(tmp_path / f"{span}.csv"), f"s3://bucket/trips/span-{span}/trips.csv")
    easy = ["--set", "training.epochs=1", "--set", f"thresholds={EASY}", "--set", "ingestion.window=2"]
    data = "s3://bucket/trips/span-{SPAN}/*.csv"
    trained = launch(kubeflow, secrets, tmp_path / "training", "--data", data, *easy)
    assert (trained["state"], trained["verdict"]) == ("succeeded", "pushed"), trained["reasons"]
    assert {uri.partition("/slipway-training/")[0] for uri in trained["artifacts"].values()} == {f"{HOME}/artifacts"}
    monkeypatch.setenv("SLIPWAY_KUBEFLOW__PIPELINE_ROOT", "minio://bucket/v2/artifacts")
    to = "s3://bucket/predicted"
    batch = ["--pipeline", "batch_prediction", "--set", f"batch_prediction.to={to}"]
    predicted = launch(kubeflow, secrets, tmp_path / "batch", "--data", "s3://bucket/trips/span-1/trips.csv", *batch)
    assert predicted["state"] == "succeeded", predicted["reasons"]
    assert [file.name for file in storage.list_files(to) if file.name.endswith(".parquet")]
