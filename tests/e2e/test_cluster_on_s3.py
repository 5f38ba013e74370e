"""A cluster without Google: what `submit` sends is run step by step as Kubeflow runs it, with everything on S3.

The steps have the rights of the policies in infrastructure/s3/, and no others.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.csv
import pytest

from modules.taxi.sample import write_sample
from settings.load import PROJECT
from slipway.stores import storage
from slipway.stores.model_store import open_store
from tests.cli.commands import slipway
from tests.fakes.kubeflow import FakeKubeflow
from tests.fakes.kubeflow.launcher import Launcher
from tests.fakes.s3_policy import Policy
from tests.fakes.s3_server import ACCESS_KEY, SECRET_KEY, S3FaultProxy, S3Server
from tests.request_windows import write_requests

HOME = "s3://bucket/slipway"
EASY = '[{"metric": "auc", "min": 0.5}]'


@dataclass
class Cluster:
    """Kubeflow, and a store behind a proxy that keeps a policy; the secret of the guide names the proxy."""

    kubeflow: FakeKubeflow
    proxy: S3FaultProxy
    folder: Path
    used: dict[str, set[str]] = field(default_factory=dict)

    def run(self, policy: str, *arguments: str, **fields: str) -> dict[str, Any]:
        """Submits a run, runs its steps with the rights of a policy, and answers what its record says.

        `fields` are changed as the form of the UI does it.
        """
        known = set(self.kubeflow.runs)
        done = slipway("submit", "taxi", "--target", "kubeflow", *arguments)
        assert done.exit_code == 0, done.output
        [run_id] = set(self.kubeflow.runs) - known
        run = self.kubeflow.runs[run_id]
        run["runtime_config"]["parameters"] |= fields
        version = self.kubeflow.versions[run["pipeline_version_reference"]["pipeline_version_id"]]
        documents = [version["pipeline_spec"], *version["platform_spec"]]
        assert SECRET_KEY not in json.dumps([documents, run])
        rights = Policy(PROJECT / "infrastructure" / "s3" / f"{policy}.json")
        self.proxy.faults = [rights]
        login = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
                 "AWS_ENDPOINT_URL": f"http://localhost:{self.proxy.port}"}  # fmt: skip
        launcher = Launcher(documents, run, {"slipway-s3": login}, self.folder / run_id)
        launcher.start()
        assert not launcher.failed, launcher.logs[launcher.failed][-3000:]
        assert rights.denied == []
        assert not [name for name, log in launcher.logs.items() if SECRET_KEY in log]
        self.used.setdefault(policy, set()).update(rights.used)
        found: dict[str, Any] = json.loads(storage.read_text(f"{HOME}/runs/taxi-{run_id}/summary.json"))
        assert found["state"] == "succeeded", found["reasons"]
        return found


@pytest.fixture
def cluster(
    s3_server: S3Server, kubeflow: FakeKubeflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cluster]:
    for name, value in {
        "SLIPWAY_REMOTE_HOME": HOME,
        "SLIPWAY_REQUEST_LOG": f"{HOME}/requests",
        "SLIPWAY_KUBEFLOW__S3_SECRET": "slipway-s3",
        "SLIPWAY_KUBEFLOW__CLUSTER_ENDPOINT": kubeflow.url,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3_server.port}",
    }.items():
        monkeypatch.setenv(name, value)
    proxy = S3FaultProxy(s3_server.port)
    proxy.code = "AccessDenied"
    yield Cluster(kubeflow, proxy, tmp_path / "steps")
    proxy.close()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_cluster_without_google_trains_predicts_and_watches(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second run's artifacts are where Kubeflow has its own."""
    for span in (1, 2):
        write_sample(tmp_path / f"{span}.csv", rows=1_500)
        storage.copy(str(tmp_path / f"{span}.csv"), f"s3://bucket/data/span-{span}/trips.csv")
    easy = ["--set", "training.epochs=1", "--set", f"thresholds={EASY}", "--set", "ingestion.window=2"]
    data = "s3://bucket/data/span-{SPAN}/*.csv"
    trained = cluster.run("trainer", "--data", data, *easy)
    assert trained["verdict"] == "pushed", trained["reasons"]
    assert {uri.partition("/slipway-training/")[0] for uri in trained["artifacts"].values()} == {f"{HOME}/artifacts"}

    monkeypatch.setenv("SLIPWAY_KUBEFLOW__PIPELINE_ROOT", "minio://bucket/slipway/artifacts/v2")
    to = "s3://bucket/predictions/today"
    batch = ["--pipeline", "batch_prediction", "--set", f"batch_prediction.to={to}"]
    predicted = cluster.run("trainer", "--data", "s3://bucket/data/span-1/trips.csv", *batch)
    assert predicted["verdict"].startswith("predicted")
    assert [file.name for file in storage.list_files(to) if file.name.endswith(".parquet")]

    [production] = open_store(f"{HOME}/models").versions("taxi")
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=26)
    rows = pyarrow.csv.read_csv(tmp_path / "1.csv").to_pylist()[:300]
    write_requests(f"{HOME}/requests", "taxi", production.number, start, rows, [[0.5]] * len(rows))
    watched = cluster.run("monitor", "--data", data, "--pipeline", "monitoring", *easy, ask="hand")
    assert watched["verdict"] == "retrained", watched["reasons"]
    assert len(cluster.kubeflow.runs) == 4, "the monitor's last step started a training"
    for policy, used in cluster.used.items():
        allowed = json.loads((PROJECT / "infrastructure" / "s3" / f"{policy}.json").read_text())["Statement"]
        unused = {action for one in allowed for action in one["Action"]} - used
        # The first ends an upload that broke off, the second what an attempt before left to say why it failed.
        rare = {"s3:AbortMultipartUpload"} | ({"s3:DeleteObject"} if policy == "monitor" else set())
        assert unused == rare, "nothing needs what else is allowed"
