import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from cli.main import run
from settings.load import PROJECT as CHECKOUT
from slipway.data.examples.source import locate
from slipway.errors import ConfigError, ModuleError, TargetError
from slipway.stores import storage
from tests.cli.commands import DATA, slipway
from tests.compiled.specs import tasks
from tests.fakes.kubeflow import FakeKubeflow
from tests.fakes.kubernetes.world import write_overlay
from tests.fakes.storage_server import StorageServer
from tests.fakes.vertex import FakeVertex
from tests.recorded_runs import write_run
from tests.slipway.data.examples.joining import write_view


def test_submit_publishes_module_and_sample_and_prints_the_address(
    kubeflow: FakeKubeflow, remote_home: str, storage_server: StorageServer
) -> None:
    result = slipway("submit", "taxi", "--target", "kubeflow")
    assert result.exit_code == 0
    [run] = kubeflow.runs.values()
    assert result.stdout.splitlines() == [
        f"run taxi-{run['run_id']}",
        f"{kubeflow.url}/#/runs/details/{run['run_id']}",
    ]
    given = constants(kubeflow)
    assert storage.exists(given["model_uri"])
    assert storage.exists(run["runtime_config"]["parameters"]["data_uri"])
    assert run["runtime_config"]["parameters"]["data_uri"].startswith("gs://anonymous@bucket/home/samples/")
    assert json.loads(given["run"])["uri"] == storage.join(remote_home, "runs", "taxi-{job}")
    assert run["runtime_config"]["pipeline_root"] == storage.join(remote_home, "artifacts")
    slipway("submit", "taxi", "--target", "kubeflow")
    assert len(kubeflow.versions) == 1


def test_submit_store_that_the_overlays_pods_cannot_read_is_refused_before_the_run(
    kubeflow: FakeKubeflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIPWAY_SERVING__OVERLAY", str(write_overlay(tmp_path / "overlay")))
    monkeypatch.setenv("SLIPWAY_SERVING__MODELS_PATH", "s3://bucket/models")
    with pytest.raises(ConfigError, match="TensorFlow Serving reads no s3://"):
        slipway("submit", "taxi", "--target", "kubeflow")
    assert not kubeflow.runs


def test_submit_publishes_a_sample_of_several_files(
    kubeflow: FakeKubeflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(CHECKOUT / "modules" / "digits", tmp_path / "modules" / "digits")
    sample = tmp_path / "modules" / "digits" / "sample.py"
    sample.write_text(sample.read_text().replace("rows: int = 6_000", "rows: int = 60"))  # drawing them takes seconds
    monkeypatch.setenv("SLIPWAY_MODULES", str(tmp_path / "modules"))
    assert slipway("submit", "digits", "--target", "kubeflow").exit_code == 0
    [run] = kubeflow.runs.values()
    source = locate(run["runtime_config"]["parameters"]["data_uri"], 1)
    assert source.format == "idx"
    assert [file.uri.partition("?")[0].rpartition("/")[2] for file in source.files] == [
        "drawn-images-idx3-ubyte.gz",
        "drawn-labels-idx1-ubyte.gz",
    ]


def constants(kubeflow: FakeKubeflow) -> dict[str, Any]:
    """What the steps are given beside the fields, by the pipeline that was uploaded."""
    [version] = kubeflow.versions.values()
    inputs = [task.get("inputs", {}).get("parameters", {}) for task in tasks(version["pipeline_spec"]).values()]
    return {
        name: source["runtimeValue"]["constant"]
        for parameters in inputs
        for name, source in parameters.items()
        if "runtimeValue" in source
    }


def test_submit_and_wait_prints_a_line_for_each_step(kubeflow: FakeKubeflow) -> None:
    result = slipway("submit", "taxi", "--target", "kubeflow", "--data", DATA, "--wait")
    assert result.exit_code == 0
    _, _, *steps, end = result.stdout.splitlines()
    told = [line.split()[1:3] for line in steps]
    assert told[0] == ["resolve_source", "succeeded"]
    assert ["train_model", "succeeded"] in told
    assert ["push_model", "skipped"] in told  # the fake's run has but some of the pipeline's steps
    assert end.endswith(": succeeded")


def test_submit_and_wait_fails_with_the_run(kubeflow: FakeKubeflow) -> None:
    kubeflow.plan = ["RUNNING", "FAILED"]
    kubeflow.endings = {"resolve-source": "cached", "train-model": "failed", "push-model": "omitted"}
    result = slipway("submit", "taxi", "--target", "kubeflow", "--data", DATA, "--wait")
    assert result.exit_code == 1
    _, _, *steps, end, reason = result.stdout.splitlines()
    told = {line.split()[1]: line.split()[2] for line in steps}
    assert (told["resolve_source"], told["train_model"], told["push_model"]) == ("cached", "failed", "skipped")
    assert end.endswith(": failed")
    assert reason == "  train_model failed: Error (exit code 1)"


def test_submit_to_vertex_waits_and_fails_with_the_reason(vertex: FakeVertex) -> None:
    vertex.plan = ["RUNNING", "FAILED"]
    result = slipway("submit", "taxi", "--target", "vertex", "--data", DATA, "--wait")
    assert result.exit_code == 1
    assert "✓ ingest_examples      cached" in result.stdout
    assert "The replica workerpool0-0 of train-model exited with 1." in result.stdout
    assert "https://console.cloud.google.com/vertex-ai/" in result.stdout


@pytest.mark.parametrize(
    ("ending", "code", "said"), [("pushed", 0, "pushed as version"), ("refused", 1, "refused"), ("", 1, "")]
)
def test_submit_that_must_push_fails_unless_the_record_says_so(
    kubeflow: FakeKubeflow, remote_home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: Any, code: int,
    said: str,
) -> None:  # fmt: skip
    run_id = uuid.uuid4()
    monkeypatch.setattr("tests.fakes.kubeflow.server.uuid.uuid4", lambda: run_id)
    if ending:
        recorded = write_run(tmp_path, f"taxi-{run_id}", ending)
        (recorded / "steps.json").unlink()  # a cluster's record has none
        storage.copy_folder(str(recorded), storage.join(remote_home, "runs", recorded.name))
    asked = ("submit", "taxi", "--target", "kubeflow", "--data", DATA, "--wait")
    result = slipway(*asked)
    assert result.exit_code == 0
    assert said in result.stdout
    required = slipway(*asked, "--require-push")
    assert required.exit_code == code
    assert ("no model was pushed" in required.stderr) == bool(code)


def test_submit_that_must_push_has_to_wait(kubeflow: FakeKubeflow) -> None:
    refused = slipway("submit", "taxi", "--target", "kubeflow", "--data", DATA, "--require-push")
    assert refused.exit_code == 2
    assert "--wait" in refused.stderr
    assert not kubeflow.runs


def test_submit_as_json_is_nothing_else(kubeflow: FakeKubeflow) -> None:
    found = json.loads(slipway("submit", "taxi", "--target", "kubeflow", "--data", DATA, "--wait", "--json").stdout)
    assert (found["state"], found["labels"]["module"], found["labels"]["environment"]) == ("succeeded", "taxi", "base")
    assert [step["name"] for step in found["steps"]] == ["resolve_source", "train_model", "record_run"]


def test_submit_overrides_module_and_settings(kubeflow: FakeKubeflow) -> None:
    slipway("submit", "taxi", "--target", "kubeflow", "--data", DATA, "--set", "training.epochs=3",
            "--set", "evaluation.engine=tfma")  # fmt: skip
    [run] = kubeflow.runs.values()
    assert run["runtime_config"]["parameters"]["epochs"] == 3
    given = constants(kubeflow)
    assert given["evaluation_config"]["engine"] == "tfma"
    overrides = {"evaluation.engine": "tfma", "training.epochs": 3}
    assert json.loads(given["run"])["lineage"]["overrides"] == overrides


def test_submit_takes_a_compiled_package_as_it_is(kubeflow: FakeKubeflow, tmp_path: Path) -> None:
    package = tmp_path / "training.yaml"
    made = ("compile", "taxi", "--target", "kubeflow", "-o", str(package), "--set", "training.epochs=3")
    assert slipway(*made, "--data", "gs://bucket/other.csv").exit_code == 0
    taken = ("submit", "taxi", "--target", "kubeflow", "--package", str(package))
    slipway(*taken, "--data", DATA)
    slipway(*taken)
    assert [run["runtime_config"]["parameters"] | {"hyperparameters": ""} for run in kubeflow.runs.values()] == [
        {"data_uri": data, "window": 1, "epochs": 3, "seed": 42, "hyperparameters": ""}
        for data in (DATA, "gs://bucket/other.csv")
    ]
    assert len(kubeflow.versions) == 1
    assert storage.exists(constants(kubeflow)["model_uri"])
    with pytest.raises(ConfigError, match="give it to `slipway compile taxi --target kubeflow"):
        slipway(*taken, "--set", "training.epochs=4")


def test_submit_package_of_other_files_is_refused(kubeflow: FakeKubeflow, tmp_path: Path) -> None:
    package = tmp_path / "training.yaml"
    slipway("compile", "taxi", "--target", "kubeflow", "-o", str(package), "--data", DATA)
    digest = json.loads(slipway("sync", "taxi", "--json").stdout)[0]["digest"]
    package.write_text(package.read_text().replace(digest, "0" * 64))
    with pytest.raises(ConfigError, match=rf"taxi 000000000000, and .*{digest[:12]}: compile it anew"):
        slipway("submit", "taxi", "--target", "kubeflow", "--package", str(package))
    assert not kubeflow.runs


@pytest.mark.parametrize(("target", "home"), [("kubeflow", "gs://another/home"), ("kubeflow", ""), ("vertex", None)])
def test_submit_package_of_another_target_or_home_is_refused(
    kubeflow: FakeKubeflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, home: str | None
) -> None:
    package = tmp_path / "training.yaml"
    with monkeypatch.context() as there:
        if home is not None:
            there.setenv("SLIPWAY_REMOTE_HOME", home)
        slipway("compile", "taxi", "--target", target, "-o", str(package), "--data", DATA)
    with pytest.raises(ConfigError, match=rf"for {target} and .*, not for kubeflow and .*: compile it anew"):
        slipway("submit", "taxi", "--target", "kubeflow", "--package", str(package))
    assert not kubeflow.runs


def test_submit_package_with_data_of_this_machine_is_refused(kubeflow: FakeKubeflow, tmp_path: Path) -> None:
    package = tmp_path / "training.yaml"
    slipway("compile", "taxi", "--target", "kubeflow", "-o", str(package), "--data", DATA)
    with pytest.raises(ConfigError, match="cannot read this machine's files"):
        slipway("submit", "taxi", "--target", "kubeflow", "--package", str(package), "--data", "trips.csv")


@pytest.mark.parametrize("data", ["trips.csv", "/data/trips.csv", "file:///data/trips.csv", f"{DATA},trips.csv"])
def test_submit_data_of_this_machine_is_refused(kubeflow: FakeKubeflow, data: str) -> None:
    with pytest.raises(
        ConfigError, match=r"cannot read this machine's files; copy it to a bucket and give --data gs://"
    ):
        slipway("submit", "taxi", "--target", "kubeflow", "--data", data)
    assert not kubeflow.runs


def test_submit_carries_the_sql_of_shared_features_and_refuses_their_data_of_this_machine(
    kubeflow: FakeKubeflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(CHECKOUT / "modules" / "taxi", tmp_path / "modules" / "taxi")
    with (tmp_path / "modules" / "taxi" / "module.yaml").open("a") as file:
        file.write("features: [{view: company/daily, columns: [n]}]\ningestion: {event_time: trip_start_timestamp}\n")
    monkeypatch.setenv("SLIPWAY_MODULES", str(tmp_path / "modules"))
    view = write_view(tmp_path, "SELECT company, known, 1 AS n FROM data", name="company/daily", keys="[company]")
    with pytest.raises(ConfigError, match=r"data of features/company/daily\.sql = .*facts\.parquet: a run on"):
        slipway("submit", "taxi", "--target", "kubeflow")
    assert not kubeflow.runs
    view.write_text(view.read_text().replace("facts.parquet", "gs://bucket/facts.parquet"))
    assert slipway("submit", "taxi", "--target", "kubeflow").exit_code == 0
    [join] = json.loads(constants(kubeflow)["features"])
    assert (join["sql"], join["data"]) == ("SELECT company, known, 1 AS n FROM data", "gs://bucket/facts.parquet")


def test_submit_of_data_without_a_column_of_the_module_is_refused_before_a_step_runs(
    kubeflow: FakeKubeflow, storage_server: StorageServer
) -> None:
    storage_server.put("trips.csv", b"fare,tips\n1,2\n")
    with pytest.raises(ModuleError, match=r"slices of module.yaml names 'payment_type'.*: fare, tips"):
        slipway("submit", "taxi", "--target", "kubeflow", "--data", storage_server.uri("trips.csv"))
    assert not kubeflow.runs


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("SLIPWAY_REMOTE_HOME", "remote_home = '': .* set remote_home: gs://BUCKET/slipway"),
        ("SLIPWAY_KUBEFLOW__ENDPOINT", "kubeflow.endpoint = ''"),
        ("SLIPWAY_IMAGE", "no image: give --image"),
    ],
)
def test_submit_without_a_setting_names_it(
    kubeflow: FakeKubeflow, monkeypatch: pytest.MonkeyPatch, variable: str, said: str
) -> None:
    monkeypatch.delenv(variable)
    with pytest.raises(ConfigError, match=said):
        slipway("submit", "taxi", "--target", "kubeflow", "--data", DATA)
    assert not kubeflow.requests


def test_submit_refused_is_an_error(kubeflow: FakeKubeflow) -> None:
    kubeflow.fail("POST", ".*/runs", 403)
    with pytest.raises(TargetError, match=r"cannot start the run taxi-.* answers 403"):
        slipway("submit", "taxi", "--target", "kubeflow", "--data", DATA)


def test_submit_that_cannot_look_any_more_says_that_the_run_goes_on(
    kubeflow: FakeKubeflow, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeflow.fail("GET", ".*/runs/[^/]+", 401)
    monkeypatch.setattr(sys, "argv", ["slipway", "submit", "taxi", "--target", "kubeflow", "--data", DATA, "--wait"])
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 1
    [kept] = kubeflow.runs.values()
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(f"taxi-{kept['run_id']} ")
    assert said[1].endswith("--target kubeflow`")
    assert "error: cannot find the run" in said[-1]


def test_interrupt_while_waiting_leaves_the_run_going(kubeflow: FakeKubeflow, tmp_path: Path) -> None:
    kubeflow.plan = ["RUNNING"]
    command = [sys.executable, "-m", "cli.main", "submit", "taxi", "--target", "kubeflow", "--data", DATA, "--wait"]
    process = subprocess.Popen(command, cwd=CHECKOUT, env=dict(os.environ), stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True,
                               # Where these tests run in the background, their shell may ignore Ctrl-C for them.
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not kubeflow.asked("GET", ".*/runs/[^/]+") and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
    [run] = kubeflow.runs.values()
    assert process.returncode == 130, said
    assert said.splitlines()[-2:] == [
        f"Look at it: `slipway runs show taxi-{run['run_id']} --target kubeflow`",
        f"Cancel it:  `slipway runs cancel taxi-{run['run_id']} --target kubeflow`",
    ]
    assert run["state"] == "RUNNING"


def test_help_imports_no_client() -> None:
    heavy = "{'kfp', 'kfp_server_api', 'google.cloud.aiplatform_v1', 'requests', 'pyarrow', 'pydantic'}"
    code = f"import sys, cli.main; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
