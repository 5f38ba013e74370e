"""What a run on a cluster needs for s3://: a login of its steps, which is named and never sent."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from settings.load import load_settings
from slipway.errors import ConfigError
from slipway.stores import storage
from tests.cli.commands import DATA, slipway
from tests.compiled.specs import tasks
from tests.fakes.kubeflow import FakeKubeflow
from tests.fakes.kubeflow.pods import environment
from tests.fakes.s3_server import SECRET_KEY, S3Server

HOME = "s3://bucket/slipway"


@pytest.fixture
def s3_home(kubeflow: FakeKubeflow, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A home on S3, in place of that on Google; the server's address is in a variable, as the guide has it."""
    monkeypatch.setenv("SLIPWAY_REMOTE_HOME", HOME)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{s3_server.port}")
    return HOME


def submit(*arguments: str, pipeline: str = "training") -> None:
    done = slipway("submit", "taxi", "--target", "kubeflow", "--pipeline", pipeline, *arguments)
    assert done.exit_code == 0, done.output


def documents_of(kubeflow: FakeKubeflow) -> list[dict[str, Any]]:
    [version] = kubeflow.versions.values()
    return [version["pipeline_spec"], *version["platform_spec"]]


@pytest.mark.usefixtures("s3_home")
def test_steps_get_their_login_from_the_secret_and_nothing_secret_is_sent(
    kubeflow: FakeKubeflow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SLIPWAY_KUBEFLOW__S3_SECRET", "slipway-s3")
    submit()
    [run] = kubeflow.runs.values()
    assert run["runtime_config"]["pipeline_root"] == f"{HOME}/artifacts"
    data = run["runtime_config"]["parameters"]["data_uri"]
    assert data.startswith(f"{HOME}/samples/")
    assert storage.exists(data)
    documents = documents_of(kubeflow)
    assert SECRET_KEY not in json.dumps([documents, run])
    kept = {"AWS_ACCESS_KEY_ID": "id", "AWS_CA_BUNDLE": "/etc/slipway-s3/ca.crt", "ca.crt": "PEM"}
    for executor in documents[0]["deploymentSpec"]["executors"]:
        given = environment(documents, executor, {"slipway-s3": kept}, tmp_path / executor)
        assert given == {"AWS_ACCESS_KEY_ID": "id", "AWS_CA_BUNDLE": "/etc/slipway-s3/ca.crt"}
        assert (tmp_path / executor / "etc/slipway-s3/ca.crt").read_text() == "PEM"
        assert environment(documents, executor, {}, tmp_path) == {}, "a pod that waits for its secret says nothing"


@pytest.mark.usefixtures("s3_home")
def test_pipeline_may_have_a_secret_of_its_own(kubeflow: FakeKubeflow, monkeypatch: pytest.MonkeyPatch) -> None:
    """The monitor's, which may write less; the training that it starts has the others' secret."""
    monkeypatch.setenv("SLIPWAY_KUBEFLOW__S3_SECRET", "slipway-s3")
    monkeypatch.setenv("SLIPWAY_KUBEFLOW__S3_SECRETS", '{"monitoring": "slipway-s3-monitor"}')
    submit(pipeline="monitoring")
    named = {
        version["pipeline_spec"]["pipelineInfo"]["name"]: set(
            re.findall("slipway-s3[a-z-]*", json.dumps(version["platform_spec"][0]["platforms"]["kubernetes"]))
        )
        for version in kubeflow.versions.values()
    }
    assert named == {
        "slipway-monitoring": {"slipway-s3-monitor", "slipway-s3"},  # the second is a part of the folder's name
        "slipway-training": {"slipway-s3"},
    }
    monkeypatch.setenv("SLIPWAY_KUBEFLOW__S3_SECRETS", '{"watching": "slipway-s3-monitor"}')
    with pytest.raises(ConfigError, match="no pipeline 'watching'"):
        submit()


@pytest.mark.usefixtures("s3_home")
def test_role_of_the_service_account_is_a_login(kubeflow: FakeKubeflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_KUBEFLOW__SERVICE_ACCOUNT", "slipway-pipeline")
    submit()
    assert "deploymentSpec" not in documents_of(kubeflow)[1]["platforms"]["kubernetes"]


@pytest.mark.usefixtures("s3_home")
def test_monitors_step_that_takes_a_token_has_the_login_too(
    kubeflow: FakeKubeflow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SLIPWAY_KUBEFLOW__S3_SECRET", "slipway-s3")
    monkeypatch.setenv("SLIPWAY_REQUEST_LOG", "s3://bucket/log")
    submit("--set", "monitoring.labels=s3://bucket/labels/*.parquet", pipeline="monitoring")
    [version] = [one for one in kubeflow.versions.values() if "submit_training" in tasks(one["pipeline_spec"])]
    its = version["platform_spec"][0]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-submit-training"]
    assert set(its) == {"podMetadata", "secretAsEnv", "secretAsVolume"}
    asked = tasks(version["pipeline_spec"])["resolve_window"]["inputs"]["parameters"]
    assert "log_uri" in asked


@pytest.mark.usefixtures("s3_home")
def test_schedule_on_s3_is_made(kubeflow: FakeKubeflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_KUBEFLOW__S3_SECRET", "slipway-s3")
    monkeypatch.setenv("SLIPWAY_SCHEDULES", '{"nightly": {"module": "taxi", "cron": "0 3 * * *"}}')
    assert slipway("schedules", "apply", "--target", "kubeflow").exit_code == 0
    [made] = kubeflow.recurring_runs.values()
    assert made["runtime_config"]["pipeline_root"] == f"{HOME}/artifacts"


@pytest.mark.usefixtures("s3_home")
def test_home_on_s3_without_a_login_is_refused_before_anything_is_published(
    kubeflow: FakeKubeflow, s3_server: S3Server
) -> None:
    with pytest.raises(ConfigError, match=rf"remote_home = {HOME}: .*kubeflow.s3_secret .*kubeflow.service_account"):
        submit("--data", DATA)
    assert not kubeflow.runs
    assert not storage.list_files("s3://bucket")


@pytest.mark.parametrize(
    ("pipeline", "arguments", "what"),
    [
        ("training", ["--data", "s3://bucket/trips.csv"], r"data = s3://bucket/trips\.csv"),
        (
            "batch_prediction",
            ["--set", "batch_prediction.to=s3://bucket/out"],
            r"batch_prediction\.to = s3://bucket/out",
        ),
        ("monitoring", ["--set", "monitoring.labels=s3://bucket/labels"], r"monitoring\.labels = s3://bucket/labels"),
        ("monitoring", ["--set", "request_log=s3://bucket/log"], r"request_log = s3://bucket/log"),
    ],
)
@pytest.mark.parametrize("target", ["kubeflow", "vertex"])
def test_what_the_steps_cannot_log_in_to_is_refused_by_name(
    target: str, pipeline: str, arguments: list[str], what: str, request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue(target)
    why = {"kubeflow": r"the steps have no login to S3: set kubeflow\.s3_secret", "vertex": "Google's login alone"}
    data = [] if pipeline == "training" else ["--data", DATA]
    with pytest.raises(ConfigError, match=rf"{what}: .*{why[target]}"):
        slipway("submit", "taxi", "--target", target, "--pipeline", pipeline, *data, *arguments)
    assert not (server.runs if target == "kubeflow" else server.jobs)


@pytest.mark.usefixtures("s3_home")
def test_query_that_kubeflow_does_not_know_is_refused_with_the_way_out(
    kubeflow: FakeKubeflow, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIPWAY_KUBEFLOW__S3_SECRET", "slipway-s3")
    monkeypatch.setenv("SLIPWAY_REMOTE_HOME", s3_server.uri("slipway"))
    with pytest.raises(ConfigError, match=r"does not know what stands behind the \?.*kubeflow.pipeline_root"):
        submit()
    monkeypatch.setenv("SLIPWAY_KUBEFLOW__PIPELINE_ROOT", f"{HOME}/artifacts")
    submit()
    [run] = kubeflow.runs.values()
    assert run["runtime_config"]["pipeline_root"] == f"{HOME}/artifacts"


def test_minio_is_a_place_of_artifacts_and_no_home(kubeflow: FakeKubeflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_REMOTE_HOME", "minio://bucket/slipway")
    with pytest.raises(ConfigError, match=r"remote_home = minio://bucket/slipway: .*write s3://"):
        submit("--data", DATA)
    assert not kubeflow.runs


@pytest.mark.parametrize("name", ["AKIAIOSFODNN7EXAMPLE", "a.b", "-a", "a" * 64])
def test_secret_is_a_name_that_a_volume_can_have_and_is_not_repeated(name: str) -> None:
    with pytest.raises(ConfigError, match=r"kubeflow\.s3_secret.*names a secret of Kubernetes") as refused:
        load_settings(None, [("kubeflow.s3_secret", name)])
    assert f"'{name}'" not in str(refused.value)


def test_compiled_file_for_s3_is_for_reading_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_IMAGE", "r/slipway@sha256:" + "0" * 64)
    monkeypatch.setenv("SLIPWAY_REMOTE_HOME", HOME)
    monkeypatch.setenv("SLIPWAY_KUBEFLOW__S3_SECRET", "slipway-s3")
    file = tmp_path / "taxi.yaml"
    assert slipway("compile", "taxi", "--target", "kubeflow", "-o", str(file)).exit_code == 0
    spec = next(yaml.safe_load_all(file.read_text()))
    assert spec["defaultPipelineRoot"] == f"{HOME}/artifacts"
