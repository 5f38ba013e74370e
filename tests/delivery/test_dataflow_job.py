"""The job that Dataflow is sent, as Beam builds it from the settings: a strict fake of its API, a storage emulator.

The API's paths are those of https://dataflow.googleapis.com/$discovery/rest?version=v1b3.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from delivery.beam import beam_run
from delivery.environment import Environment
from settings.schema import Settings
from tests.fakes.storage_server import BUCKET, StorageServer

IMAGE = f"europe-west4-docker.pkg.dev/my-project/slipway/slipway@sha256:{'1' * 64}"
VERTEX = {
    "project": "my-project",
    "location": "europe-west4",
    "service_account": "steps@my-project.iam.gserviceaccount.com",
    "network": "projects/12345/global/networks/vpc",
    "encryption_key": "projects/P/locations/L/keyRings/R/cryptoKeys/K",
    "labels": {"team": "rides"},
}
JOBS = "/v1b3/projects/my-project/locations/europe-west4/jobs"


class FakeDataflow(ThreadingHTTPServer):
    """Takes a job, and says at once that it is done; anything else is an error that the test sees."""

    def __init__(self) -> None:
        self.jobs: list[dict[str, Any]] = []
        self.refused: list[str] = []
        super().__init__(("localhost", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: FakeDataflow

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.partition("?")[0] != JOBS:
            return self._refuse()
        self.server.jobs.append(body)
        return self._answer(self._job("JOB_STATE_RUNNING"))

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == f"{JOBS}/job-1":
            return self._answer(self._job("JOB_STATE_DONE"))
        if path in (f"{JOBS}/job-1/messages", f"{JOBS}/job-1/metrics"):
            return self._answer({})
        return self._refuse()

    def _job(self, state: str) -> dict[str, str]:
        name = self.server.jobs[-1]["name"]
        return {"id": "job-1", "name": name, "projectId": "my-project", "location": "europe-west4",
                "currentState": state, "createTime": "2026-01-01T00:00:00Z"}  # fmt: skip

    def _refuse(self) -> None:
        self.server.refused.append(f"{self.command} {self.path}")
        self.send_error(400)

    def _answer(self, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def dataflow() -> Iterator[FakeDataflow]:
    with FakeDataflow() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
def test_dataflow_is_sent_image_account_network_key_and_labels(
    dataflow: FakeDataflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import apache_beam
    from apache_beam.options.pipeline_options import PipelineOptions

    with StorageServer() as storage:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://localhost:{storage.port}")
        options = ["--max_num_workers=9", "--no_auth", f"--dataflow_endpoint=http://localhost:{dataflow.server_port}"]
        beam = {"runner": "dataflow", "options": options, "temp_location": f"gs://{BUCKET}/slipway/beam/temp"}
        given = {"home": tmp_path, "beam": beam, "vertex": VERTEX, "image": IMAGE}
        run = beam_run(Environment("staging", Settings.model_validate(given)), "local", IMAGE)
        with apache_beam.Pipeline(options=PipelineOptions(run.flags)) as pipeline:
            _ = pipeline | apache_beam.Create([1, 2], reshuffle=True) | apache_beam.Map(abs)
    assert dataflow.refused == []
    [job] = dataflow.jobs
    its = job["environment"]
    [pool] = its["workerPools"]
    assert {one["containerImage"] for one in pool["sdkHarnessContainerImages"]} == {IMAGE}
    assert pool["network"] == "vpc"
    assert pool["autoscalingSettings"]["maxNumWorkers"] == 9
    assert its["serviceAccountEmail"] == VERTEX["service_account"]
    assert its["serviceKmsKeyName"] == VERTEX["encryption_key"]
    assert its["tempStoragePrefix"].startswith(f"storage.googleapis.com/{BUCKET}/slipway/beam/temp/")
    assert job["labels"] == {"slipway-environment": "staging", "team": "rides"}
    staged = {one["name"] for one in pool["packages"]}
    assert staged == {"submission_environment_dependencies.txt"}, "the image has Beam and our code"
