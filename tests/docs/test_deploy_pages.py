"""The pages on deployment: their settings load, and their commands work against strict fakes of both targets."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from settings import load
from settings.load import PROJECT, load_settings
from slipway.stores import storage
from tests.cli.commands import slipway
from tests.compiled.specs import tasks
from tests.docs.guides import of_the_target
from tests.docs.pages import DOCS
from tests.fakes.kubeflow import FakeKubeflow
from tests.fakes.kubernetes.world import write_overlay
from tests.fakes.s3_server import S3Server
from tests.fakes.vertex import FakeVertex

EXAMPLE = re.compile(r"```yaml\n# settings/(\w+)\.yaml\n(.*?)```", re.DOTALL)
EXAMPLES = [(doc, *found) for doc in DOCS for found in EXAMPLE.findall(doc.read_text(encoding="utf-8"))]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands in for settings/."""
    settings = tmp_path / "settings"
    settings.mkdir()
    (settings / "base.yaml").write_text((PROJECT / "settings" / "base.yaml").read_text())
    monkeypatch.setattr(load, "FOLDER", settings)
    return settings


@pytest.fixture
def overlay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Staging's overlay, filled in as the pages say."""
    monkeypatch.setenv("SLIPWAY_SERVING__OVERLAY", str(write_overlay(tmp_path / "overlay")))


def run_page(target: str) -> dict[str, str]:
    """Runs a page's commands for its target, in the order of the page; what each printed."""
    said = {}
    for line in of_the_target(target):
        result = slipway(*shlex.split(line)[1:])
        assert result.exit_code == 0, f"{line}: {result.output}"
        said[line.replace(f" --target {target} --env staging", "")] = result.stdout
    return said


@pytest.mark.parametrize(("doc", "environment", "text"), EXAMPLES, ids=lambda part: getattr(part, "name", ""))
def test_docs_settings_load(folder: Path, doc: Path, environment: str, text: str) -> None:
    (folder / f"{environment}.yaml").write_text(text)
    assert load_settings(environment).model_dump(exclude_defaults=True) != load_settings().model_dump(
        exclude_defaults=True
    )


@pytest.mark.slow
@pytest.mark.usefixtures("overlay")
def test_docs_kubeflow_commands_work(kubeflow: FakeKubeflow, folder: Path) -> None:
    [text] = [text for doc, name, text in EXAMPLES if (doc.name, name) == ("kubeflow.md", "staging")]
    (folder / "staging.yaml").write_text(text)
    said = run_page("kubeflow")
    [run] = kubeflow.runs.values()
    account = yaml.safe_load((PROJECT / "manifests/pipeline-account/base/service-account.yaml").read_text())
    assert run["service_account"] == f"{account['metadata']['name']}-staging"
    steps = tasks(next(iter(kubeflow.versions.values()))["pipeline_spec"])
    rollout = steps["rollout_model"]["inputs"]["parameters"]["rollout"]["runtimeValue"]["constant"]
    assert storage.exists(rollout["manifests_uri"])
    assert rollout["policy"]["min_requests"] == 100
    assert rollout["environment"] == "staging"
    page = f"http://localhost:8080/#/runs/details/{run['run_id']}"
    assert said["slipway submit taxi --wait"].startswith(f"run taxi-{run['run_id']}\n{page}\n")
    assert "create nightly: it is new" in said["slipway schedules apply"]
    assert not kubeflow.recurring_runs


def test_docs_kubeflow_commands_work_on_a_store_of_ones_own(
    kubeflow: FakeKubeflow, s3_server: S3Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [text] = [text for _, name, text in EXAMPLES if name == "onpremises"]
    nightly = "schedules: {nightly: {module: taxi, cron: 0 3 * * *}}"
    (folder / "staging.yaml").write_text(f"{text.replace('//slipway-staging', '//bucket')}\n{nightly}\n")
    monkeypatch.delenv("SLIPWAY_REMOTE_HOME")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{s3_server.port}")
    said = run_page("kubeflow")
    [run] = kubeflow.runs.values()
    assert run["runtime_config"]["pipeline_root"] == "s3://bucket/slipway/artifacts"
    assert storage.exists(run["runtime_config"]["parameters"]["data_uri"])
    assert "create nightly: it is new" in said["slipway schedules apply"]


@pytest.mark.slow
@pytest.mark.usefixtures("overlay")
def test_docs_vertex_commands_work(vertex: FakeVertex, folder: Path) -> None:
    [text] = [text for doc, _, text in EXAMPLES if doc.name == "vertex.md"]
    (folder / "staging.yaml").write_text(text)
    said = run_page("vertex")
    [job] = vertex.jobs.values()
    assert job["labels"]["team"] == "rides"
    assert "create nightly: it is new" in said["slipway schedules apply"]
    assert not vertex.schedules
