import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kfp import dsl

from components.confirm_rollout.component import confirm_rollout
from components.record_run.component import record_run
from components.record_run.run import last_step, record, title
from pipelines.training import TRAINING
from slipway.errors import RolloutError
from slipway.lineage import Lineage
from slipway.runs.notifications.config import Notifications
from slipway.runs.notifications.message import run_message
from slipway.runs.record import Outcome, RolloutOutcome, RunContext, Summary
from slipway.runs.store import OUTCOME, ROLLOUT, load_run
from slipway.stores import storage
from slipway.tuning.result import Tuned, TuningRecord
from slipway.tuning.search import Ended
from slipway.tuning.space import Values
from tests.pipelines.counting import count_rows
from tests.recorded_runs import WHY_REFUSED, write_run
from tests.steps import FIELDS

LINEAGE = Lineage(
    run="r", module="taxi", module_digest="ab", data_uri="x.csv", seed=42, started=1.75e9, shows=TRAINING.shows
)
GIVEN = LINEAGE.model_copy(update={"git_revision": "2" * 40, "run": "taxi-{job}", "started": 0.0, "target": "kubeflow"})
FIRST, SECOND = "90d63664-0f4f-41ec-91be-9419156db005", "1b0ec32e-2a5c-4458-ba33-67081ebfbeb3"
PUSHED = Outcome(verdict="pushed", reasons=[], version=7, path="gs://bucket/models/taxi/7")


def read(folder: Path) -> Summary:
    return Summary.model_validate_json((folder / "summary.json").read_text())


@pytest.mark.parametrize(
    ("state", "expected"),
    [("FAILED", "failed"), ("SUCCEEDED", "succeeded"), ("CANCELLED", "cancelled"), ("COMPLETE", "succeeded"),
     ("CACHED", "succeeded"), ("CANCELED", "cancelled"), ("RUNNING", "interrupted"), ("EVAPORATED", "unknown")],
)  # fmt: skip
def test_record_without_any_trace_of_the_steps_tells_what_the_orchestrator_said(
    tmp_path: Path, state: str, expected: str
) -> None:
    record(RunContext(uri=str(tmp_path), lineage=LINEAGE), state, "task x failed")
    summary = read(tmp_path)
    assert summary.state == expected
    assert summary.reasons == ([] if expected == "succeeded" else ["task x failed"])
    assert (tmp_path / "report.html").is_file()


@pytest.mark.parametrize(
    ("state", "why"), [("RUNNING", "killed whole"), ("CANCELED", "cancelled"), ("EVAPORATED", "'EVAPORATED'")]
)
def test_record_of_kubeflow_which_gives_no_reason_says_what_the_state_means(
    tmp_path: Path, state: str, why: str
) -> None:
    [reason] = record(RunContext(uri=str(tmp_path), lineage=LINEAGE), state, "").summary.reasons
    assert why in reason


@pytest.mark.parametrize("state", ["RUNNING", "EVAPORATED", "FAILED"])
def test_record_of_a_run_whose_last_step_went_well_takes_no_lost_or_old_state(tmp_path: Path, state: str) -> None:
    with last_step(RunContext(uri=str(tmp_path), lineage=LINEAGE)):
        assert not (tmp_path / "last_step.json").exists()
    assert record(RunContext(uri=str(tmp_path), lineage=LINEAGE), state, "").summary.state == "succeeded"


@pytest.mark.parametrize("file", ["steps.json", "outcome.json", "artifacts/examples/manifest.json",
                                  "artifacts/evaluation/evaluation.json"])  # fmt: skip
@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"{\xff")], ids=["gone", "damaged"])
def test_record_with_something_missing_or_damaged_tells_the_rest(tmp_path: Path, file: str, damage: object) -> None:
    folder = write_run(tmp_path, "r", "refused")
    damage(folder / file)  # type: ignore[operator]
    summary = record(RunContext(uri=str(folder), lineage=LINEAGE), "SUCCEEDED", "").summary
    assert summary.state == "succeeded"
    assert file == "outcome.json" or summary.reasons == [WHY_REFUSED]
    assert summary == read(folder)


def test_record_leaves_itself_out_of_the_report(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "r", "pushed")
    assert "Record run" not in (folder / "report.html").read_text()


def test_record_of_a_failed_run_leaves_no_step_pending(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "r", "failed")
    page = (folder / "report.html").read_text()
    assert ">skipped<" in page
    assert ">pending<" not in page


def test_record_twice_gives_the_same_summary(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "r", "pushed")
    first = read(folder)
    second = record(RunContext(uri=str(folder), lineage=first.lineage), "SUCCEEDED", "").summary
    assert second.model_dump(exclude={"finished"}) == first.model_dump(exclude={"finished"})


def test_record_is_cheap(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "r", "pushed")
    view = load_run(tmp_path / "runs", "r")
    before = time.process_time()
    record(RunContext(uri=str(folder), lineage=view.summary.lineage), "SUCCEEDED", "")
    assert time.process_time() - before < 0.5


def given(home: Path, told: dict[str, Any] | None) -> str:
    """The argument `run` of a run on Kubeflow."""
    context = RunContext(uri=str(home / "taxi-{job}"), lineage=GIVEN, notifications=told or {}, page="https://ui/{job}")
    return context.model_dump_json()


def of_kubeflow(home: Path, job: str, state: str, told: dict[str, Any] | None = None) -> Path:
    """Records a run as Kubeflow calls the exit handler: an empty error, the workflow's name; answers its folder."""
    status = SimpleNamespace(state=state, error_message=None, pipeline_job_resource_name="slipway-training-x7k2p")
    page = dsl.HTML(uri=str(artifacts_of(home, job) / "record-run" / "5a17" / "run_page"))
    record_run.python_func(given(home, told), job, "2026-01-02T03:04:05Z", status, page)
    assert page.metadata["display_name"].startswith(f"taxi-{job}: ")
    assert Path(page.path).read_text() == (home / f"taxi-{job}" / "report.html").read_text()
    return home / f"taxi-{job}"


def artifacts_of(home: Path, job: str) -> Path:
    """Where Kubeflow has the artifacts of a run."""
    return home.parent / f"{home.name}-artifacts" / "slipway-counting" / job


def run_step(home: Path, source: Path) -> subprocess.CompletedProcess[str]:
    """Runs a step by its command in the pipeline, with what Kubeflow's launcher gives it."""
    folder = artifacts_of(home, FIRST) / "count-rows" / "0b1c"
    outputs = {
        name: {"artifacts": [{"name": name, "uri": str(folder / name), "type": {"schemaTitle": kind}}]}
        for name, kind in {"counted_rows": "system.Artifact", "page": "system.HTML"}.items()
    }
    executor_input = {"inputs": {"parameterValues": {"data_uri": str(source)}},
                      "outputs": {"artifacts": outputs, "outputFile": str(home / "output_metadata.json")}}  # fmt: skip
    container = count_rows.component_spec.implementation.container
    command = [json.dumps(executor_input) if part == "{{$}}" else part for part in container.command + container.args]
    place = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"PATH": place})


def retry_last_step(home: Path, told: dict[str, Any] | None = None, outcome: Outcome | None = None) -> Path:
    """What is left to do in a retry of `FIRST` in Kubeflow's UI: the exit handler does not run again."""
    if outcome:
        storage.write_text(str(home / f"taxi-{FIRST}" / OUTCOME), outcome.model_dump_json())
    confirm_rollout.python_func("", given(home, told), FIRST, "2026-01-02T03:04:05Z", **FIELDS)
    return home / f"taxi-{FIRST}"


def test_clone_that_fails_leaves_the_first_runs_record(tmp_path: Path) -> None:
    (tmp_path / f"taxi-{FIRST}").mkdir()
    storage.write_text(str(tmp_path / f"taxi-{FIRST}" / OUTCOME), PUSHED.model_dump_json())
    first = of_kubeflow(tmp_path, FIRST, "COMPLETE")
    second = of_kubeflow(tmp_path, SECOND, "FAILED")
    assert [
        (read(folder).lineage.run, read(folder).state, read(folder).pushed_version) for folder in (first, second)
    ] == [
        (first.name, "succeeded", 7),
        (second.name, "failed", None),
    ]
    assert read(first).lineage.started == 1767323045.0


def test_retry_of_a_run_that_failed_ends_in_one_record_that_is_right(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = Notifications(stdout=True, events=("success",)).model_dump(mode="json")
    folder = of_kubeflow(tmp_path, FIRST, "FAILED", told)
    assert (read(folder).state, read(folder).verdict) == ("failed", "none")
    capsys.readouterr()
    retry_last_step(tmp_path, told, PUSHED)
    assert (read(folder).state, read(folder).verdict, read(folder).pushed_version) == ("succeeded", "pushed", 7)
    said = capsys.readouterr().out
    assert f"taxi: version 7 was pushed (taxi-{FIRST})" in said
    assert f"https://ui/{FIRST}" in said
    assert [one.name for one in tmp_path.iterdir()] == [folder.name]


def test_retry_whose_model_is_refused_tells_nothing_of_the_rollout_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = of_kubeflow(tmp_path, FIRST, "FAILED")
    rolled_back = RolloutOutcome(verdict="rolled-back", version=7, reasons=["p99 doubled"])
    storage.write_text(str(folder / ROLLOUT), rolled_back.model_dump_json())
    refused = Outcome(verdict="refused", reasons=["auc is below 0.93"])
    retry_last_step(tmp_path, Notifications(stdout=True).model_dump(mode="json"), refused)
    assert (read(folder).state, read(folder).verdict) == ("succeeded", "refused")
    said = capsys.readouterr().out
    assert "taxi: the model was refused" in said
    assert "rolled back" not in said


def test_retry_that_fails_at_its_last_step_is_recorded_with_what_it_pushed(tmp_path: Path) -> None:
    folder = of_kubeflow(tmp_path, FIRST, "FAILED")
    storage.write_text(str(folder / OUTCOME), PUSHED.model_dump_json())
    with (
        pytest.raises(RolloutError),
        last_step(RunContext(uri=str(folder), lineage=GIVEN.model_copy(update={"run": folder.name}))),
    ):
        raise RolloutError("the cluster refuses it")
    assert (read(folder).state, read(folder).pushed_version) == ("failed", 7)
    assert read(folder).error == "the cluster refuses it"


def test_record_of_kubeflow_whose_data_was_refused_tells_people_the_anomalies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Kubeflow gives no reason: what admit_examples wrote is all that is known."""
    refused = Outcome(verdict="bad-data", reasons=["The data has an anomaly.", "feature 'month': 13"], data_digest="ef")
    storage.write_text(str(tmp_path / f"taxi-{FIRST}" / OUTCOME), refused.model_dump_json())
    told = Notifications(stdout=True, events=("refused",)).model_dump(mode="json")
    folder = of_kubeflow(tmp_path, FIRST, "FAILED", told)
    assert (read(folder).state, read(folder).verdict, read(folder).reasons) == ("failed", "bad-data", refused.reasons)
    said = capsys.readouterr().out
    assert f"taxi: the data was refused (taxi-{FIRST})" in said
    assert "- feature 'month': 13" in said
    assert "feature &#39;month&#39;: 13" in (folder / "report.html").read_text()


def test_retry_whose_last_step_but_one_goes_well_has_not_ended(tmp_path: Path) -> None:
    folder = of_kubeflow(tmp_path, FIRST, "FAILED")
    with last_step(RunContext(uri=str(folder), lineage=GIVEN), ends_run=False):
        pass
    assert not (folder / "last_step.json").exists()
    assert read(folder).state == "failed"


def test_first_attempt_leaves_its_record_to_the_exit_handler(tmp_path: Path) -> None:
    folder = retry_last_step(tmp_path)
    assert [one.name for one in folder.iterdir()] == ["last_step.json"]


@pytest.mark.parametrize(
    ("target", "job", "link"),
    [
        ("kubeflow", "9f1c", "https://ui/#/runs/details/9f1c"),
        ("vertex", "projects/p/locations/l/pipelineJobs/taxi-1", "https://ui/#/runs/details/taxi-1"),
    ],
)
def test_record_run_tells_of_the_run_and_links_to_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], target: str, job: str, link: str
) -> None:
    status = SimpleNamespace(state="FAILED", error_message="task x failed", pipeline_job_resource_name="x")
    context = RunContext(
        uri=str(tmp_path),
        lineage=LINEAGE.model_copy(update={"target": target}),
        notifications=Notifications(stdout=True).model_dump(mode="json"),
        page="https://ui/#/runs/details/{job}",
    )
    record_run.python_func(context.model_dump_json(), job, "", status, dsl.HTML(uri=str(tmp_path / "run_page")))
    told = capsys.readouterr().out
    assert f"[slipway] taxi: the run failed (r)\n- task x failed\n{link}\n\n" in told
    assert "r failed; no model was pushed." in told


def test_record_run_tells_of_a_run_that_vertex_calls_cancelled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = Notifications(stdout=True).model_dump(mode="json")
    status = SimpleNamespace(state="CANCELLED", error_message=None, pipeline_job_resource_name="x")
    record_run.python_func(
        RunContext(uri=str(tmp_path), lineage=LINEAGE, notifications=told).model_dump_json(),
        "1",
        "",
        status,
        dsl.HTML(uri=str(tmp_path / "run_page")),
    )
    said = capsys.readouterr().out
    assert "taxi: the run was cancelled (r)\n- the run was cancelled" in said
    assert "r was cancelled; no model was pushed." in said


@pytest.mark.parametrize(
    "notifications",
    [{"webhook": {"url": "env:NO_SUCH"}}, {"stdout": True, "ca_file": "/no/such"}, {"no": "such key"}, {"stdout": "?"}],
)
def test_record_run_with_a_broken_notifier_goes_well_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], notifications: dict[str, object]
) -> None:
    status = SimpleNamespace(state="FAILED", error_message=None, pipeline_job_resource_name="x")
    context = RunContext(uri=str(tmp_path), lineage=LINEAGE, notifications=notifications)
    record_run.python_func(context.model_dump_json(), "1", "", status, dsl.HTML(uri=str(tmp_path / "run_page")))
    assert "warning: " in capsys.readouterr().out
    assert (tmp_path / "report.html").is_file()


@pytest.mark.parametrize(
    ("outcome", "state", "ended"),
    [(Outcome(verdict="refused", reasons=[], data_digest="ef" * 32), "COMPLETE", f"refused, data {'ef' * 6}"),
     (None, "FAILED", "failed, data unknown")],
)  # fmt: skip
def test_page_of_a_run_is_called_by_what_the_ui_can_filter(
    tmp_path: Path, outcome: Outcome | None, state: str, ended: str
) -> None:
    """By name, module, revision, digest of the data and verdict."""
    if outcome:
        storage.write_text(str(tmp_path / f"taxi-{FIRST}" / OUTCOME), outcome.model_dump_json())
    folder = of_kubeflow(tmp_path, FIRST, state)
    assert title(load_run(tmp_path, folder.name)) == f"taxi-{FIRST}: {ended}, commit {'2' * 12}"


def test_record_of_kubeflow_says_which_step_failed_and_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "rows.csv"
    assert run_step(tmp_path, missing).returncode == 1
    told = Notifications(stdout=True, events=("failure",)).model_dump(mode="json")
    folder = of_kubeflow(tmp_path, FIRST, "FAILED", told)
    summary = read(folder)
    assert (summary.state, summary.failed_step) == ("failed", "count_rows")
    [reason] = summary.reasons
    assert f"{missing}: there is no such file" in reason
    assert reason in capsys.readouterr().out
    assert "there is no such file" in (folder / "report.html").read_text()


def test_record_says_nothing_of_an_attempt_that_was_repeated_with_success(tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    assert run_step(tmp_path, rows).returncode == 1
    rows.write_text("x\n1\n")
    again = run_step(tmp_path, rows)
    assert again.returncode == 0, again.stderr
    summary = read(of_kubeflow(tmp_path, FIRST, "FAILED"))
    assert (summary.failed_step, summary.reasons) == (None, [])


def test_record_says_what_an_error_of_somebody_elses_code_was(tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_bytes(b"x\n\xff")
    assert run_step(tmp_path, rows).returncode == 1
    [reason] = read(of_kubeflow(tmp_path, FIRST, "FAILED")).reasons
    assert "count_rows failed: UnicodeDecodeError: " in reason


@pytest.mark.parametrize(
    ("ended", "value", "said"), [("target", 0.19, "target was met"), ("trials", 0.31, "missed by 0.1100")]
)
def test_record_and_notification_say_what_a_search_came_to(
    tmp_path: Path, ended: Ended, value: float, said: str
) -> None:
    values = Values(hyperparameters={"units": 9}, training={"epochs": 3})
    tuned = Tuned(
        ended=ended,
        metric="log_loss",
        better="low",
        target=0.2,
        value=value,
        winner=4,
        values=values,
        trials=7,
        changed=list(values.flat()),
    )
    written = TuningRecord(tuned=tuned, artifacts={"tuning": "gs://bucket/tuning"}).model_dump_json()
    (tmp_path / "tuning.json").write_text(written)
    lineage = LINEAGE.model_copy(update={"hyperparameters": {"units": 4, "rate": 0.1}})
    view = record(RunContext(uri=str(tmp_path), lineage=lineage), "SUCCEEDED", "")
    summary = read(tmp_path)
    assert summary.lineage.hyperparameters == {"units": 9, "rate": 0.1}
    assert summary.lineage.overrides == {"hyperparameters.units": 9, "training.epochs": 3}
    assert summary.artifacts["tuning"] == "gs://bucket/tuning"
    [reason] = run_message(view).reasons
    assert said in reason
    assert f"log_loss {value:.4f}" in reason
