from pathlib import Path

import pytest

from delivery.targets.base import wait
from delivery.targets.kubeflow import KubeflowTarget
from delivery.targets.kubeflow_api import KubeflowConfig
from tests.delivery.targets.submissions import submission
from tests.kubeflow_api import FakeKubeflow


def config(server: FakeKubeflow, **changes: object) -> KubeflowConfig:
    values: dict[str, object] = {
        "endpoint": server.url, "ui": "", "namespace": "", "experiment": "slipway", "service_account": "",
        "pipeline_root": "gs://bucket/artifacts", "auth": "none", "credential_variable": "", "credential_file": "",
        "ca_file": "", "timeout_seconds": 5, "environment": "staging",
    }  # fmt: skip
    return KubeflowConfig(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture
def kubeflow() -> object:
    with FakeKubeflow() as server:
        yield server


def test_submit_and_wait(kubeflow: FakeKubeflow, tmp_path: Path) -> None:
    target = KubeflowTarget(config(kubeflow))
    run = target.submit(submission("kubeflow", tmp_path))
    assert run.url == f"{kubeflow.url}/#/runs/details/{run.id}"
    print(run)
    print(kubeflow.requests)
    ended = wait(target, run.id, print, poll_seconds=0)
    print(ended)
    print(list(target.logs(run.name, None)))
