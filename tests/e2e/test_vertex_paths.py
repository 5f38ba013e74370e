"""All steps with their artifacts below `/gcs`, where Vertex mounts buckets with Cloud Storage FUSE."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from delivery.launch import request_run
from delivery.overrides import override_module
from delivery.targets.local import run_local
from modules.taxi.sample import write_sample
from pipelines.registry import Locations, Platform
from slipway.module_kit.check import check_module
from slipway.runs.record import RunContext
from tests.e2e.workspace import PROJECT
from tests.fakes.cloud_storage_fuse import mounted_bucket


@pytest.mark.slow
def test_run_with_artifacts_on_cloud_storage_fuse_pushes_a_model(tmp_path: Path) -> None:
    module, data = PROJECT / "modules" / "taxi", tmp_path / "trips.csv"
    write_sample(data, rows=3_000)
    easy = {"training": {"epochs": 2}, "thresholds": [{"metric": "auc", "min": 0.5}]}
    config = override_module(check_module(module), easy)
    # On Vertex these are gs:// URIs, and no paths.
    locations = Locations.under(str(tmp_path))
    with mounted_bucket(tmp_path) as bucket:
        for engine in ("vectorised", "tfma"):
            platform = Platform("local", "slipway@sha256:0", engine=engine)
            request = request_run(module, config, str(data), locations, platform)
            finished = run_local(request, bucket, lambda steps: None)
            assert {step.name: step.error for step in finished.steps if step.state != "succeeded"} == {}
            record = RunContext.model_validate_json(request.arguments["run"]).uri
            outcome = json.loads(Path(record, "outcome.json").read_text())
            assert outcome["verdict"] == "pushed", outcome["reasons"]
            artifacts = {name: Path(path) for name, path in outcome["artifacts"].items()}
            assert all(path.is_relative_to(bucket) for path in artifacts.values())
            assert sorted(path.name for path in artifacts["examples"].iterdir()) == [
                "manifest.json", "split=eval", "split=train",
            ]  # fmt: skip
