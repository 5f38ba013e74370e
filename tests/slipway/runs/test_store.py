import json
import os
from pathlib import Path

import pytest

from slipway.errors import StoreError
from slipway.runs.process import start_time
from slipway.runs.record import NO_VERDICT, Outcome, RunState, Step, StepsFile, Summary
from slipway.runs.store import list_runs, load_run, view_run
from slipway.runs.summary import failure_reasons, summarise
from slipway.stores import storage
from tests.each_store import ON_EACH_STORE
from tests.fakes.fault_proxy import FaultProxy
from tests.recorded_runs import NEEDS, STARTED, VERSION, WHY_FAILED, WHY_REFUSED, write_run


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write_run(tmp_path, "taxi-1-pushed", "pushed", started=STARTED)
    write_run(tmp_path, "taxi-2-refused", "refused", started=STARTED + 100)
    write_run(tmp_path, "taxi-3-failed", "failed", started=STARTED + 200)
    write_run(tmp_path, "taxi-4-interrupted", "interrupted", started=STARTED + 300)
    write_run(tmp_path, "taxi-5-running", "running", started=STARTED + 400)
    return tmp_path


def test_list_runs_gives_every_state_newest_first(home: Path) -> None:
    views = list_runs(home / "runs")
    assert [(view.name, view.state, view.summary.verdict) for view in views] == [
        ("taxi-5-running", "running", "none"),
        ("taxi-4-interrupted", "interrupted", "none"),
        ("taxi-3-failed", "failed", "none"),
        ("taxi-2-refused", "succeeded", "refused"),
        ("taxi-1-pushed", "succeeded", "pushed"),
    ]


def test_view_of_a_killed_run_whose_process_number_was_given_away_is_interrupted(home: Path) -> None:
    steps = home / "runs" / "taxi-5-running" / "steps.json"
    began = start_time(os.getpid())
    assert began is not None
    for started, state in ((began, "running"), (began - 1, "interrupted")):
        recorded = StepsFile.model_validate_json(steps.read_text())
        steps.write_text(recorded.model_copy(update={"pid_started": started}).model_dump_json())
        assert load_run(home / "runs", "taxi-5").state == state


@ON_EACH_STORE
def test_list_runs_of_a_bucket_asks_for_the_listing_and_for_each_file_that_is_there(
    home: Path, fault_proxy: FaultProxy
) -> None:
    names = ["taxi-2-refused", "taxi-1-pushed"]
    files = {f"{name}/{file}" for name in names for file in ("summary.json", "outcome.json")}
    for file in files:
        storage.write_bytes(fault_proxy.uri(f"runs/{file}"), (home / "runs" / file).read_bytes())
    fault_proxy.requests.clear()
    views = list_runs(fault_proxy.uri("runs"))
    listings = [request for request in fault_proxy.requests if "?" in request.partition(" ")[2]]
    assert len(listings) == 1
    assert len(fault_proxy.requests) - 1 == len(files)
    assert [view.summary for view in views] == [view_run(fault_proxy.uri(f"runs/{name}")).summary for name in names]


def test_list_runs_without_a_directory_is_empty(tmp_path: Path) -> None:
    assert list_runs(tmp_path / "runs") == []


@pytest.mark.parametrize("file", ["steps.json", "summary.json", "outcome.json"])
@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": "x"}'])
def test_list_runs_with_a_damaged_record_lists_the_rest(home: Path, file: str, content: str) -> None:
    (home / "runs" / "taxi-2-refused" / file).write_text(content)
    views = {view.name: view for view in list_runs(home / "runs")}
    assert len(views) == 5
    assert file in views["taxi-2-refused"].problem
    assert not views["taxi-1-pushed"].problem


def test_list_runs_with_an_empty_directory_says_so(home: Path) -> None:
    (home / "runs" / "stray").mkdir()
    stray = next(view for view in list_runs(home / "runs") if view.name == "stray")
    assert (stray.state, stray.problem) == ("interrupted", "its directory holds no record")


def test_load_run_without_a_name_is_the_newest(home: Path) -> None:
    assert load_run(home / "runs").name == "taxi-5-running"


def test_load_run_by_its_beginning_finds_it(home: Path) -> None:
    assert load_run(home / "runs", "taxi-3").name == "taxi-3-failed"


@pytest.mark.parametrize("name", ["taxi-3-faild", "xyz", "", "../runs/taxi-1-pushed"])
def test_load_run_unknown_names_the_nearest(home: Path, name: str) -> None:
    with pytest.raises(StoreError, match=r"the nearest: .*taxi-"):
        load_run(home / "runs", name)


def test_load_run_ambiguous_beginning_lists_those_that_fit(home: Path) -> None:
    with pytest.raises(StoreError, match="more than one run begins with 'taxi'"):
        load_run(home / "runs", "taxi")


def test_load_run_from_an_empty_home_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="slipway run"):
        load_run(tmp_path / "runs")


def test_view_of_a_pushed_run_as_json_has_what_is_promised(home: Path) -> None:
    found = json.loads(json.dumps(load_run(home / "runs", "taxi-1-pushed").as_json()))
    assert found["run"] == "taxi-1-pushed"
    assert found["state"] == "succeeded"
    assert found["seconds"] == 20
    assert [step["name"] for step in found["steps"]][-1] == "record_run"
    assert found["steps"][2] | {"log": ""} == {
        "name": "compute_statistics", "state": "succeeded", "seconds": 0.7, "cached": True, "cpu_seconds": None,
        "peak_mib": 250.0, "log": "", "error": None,
    }  # fmt: skip
    assert found["rows"] == {
        "read": 14_169,
        "quarantined": 12,
        "left_out": 0,
        "unlabelled": 0,
        "ungrouped": 0,
        "train": 9_438,
        "eval": 4_719,
    }
    assert found["metrics"]["auc"] == 0.956
    assert found["verdict"] == "pushed"
    assert found["pushed_version"] == VERSION
    assert found["pushed_path"] == f"/store/taxi/{VERSION}"
    assert found["baseline_version"] == 1_749_999_999
    assert Path(found["report"]).is_file()


def test_view_of_a_refused_run_says_why(home: Path) -> None:
    summary = load_run(home / "runs", "taxi-2-refused").summary
    assert (summary.verdict, summary.reasons, summary.pushed_version) == ("refused", [WHY_REFUSED], None)


def test_view_of_a_failed_run_says_the_step_and_its_reason(home: Path) -> None:
    summary = load_run(home / "runs", "taxi-3-failed").summary
    assert summary.failed_step == "validate_examples"
    assert summary.reasons == [f"validate_examples failed: {WHY_FAILED}"]
    assert summary.rows.read == 14_169
    assert summary.metrics == {}


def test_view_of_a_run_on_bad_data_has_a_verdict_and_is_no_control_of_the_next_run(tmp_path: Path) -> None:
    write_run(tmp_path, "taxi-1", "bad-data")
    summary = load_run(tmp_path / "runs", "taxi-1").summary
    assert (summary.state, summary.verdict, summary.failed_step) == ("failed", "bad-data", "admit_examples")
    assert "The data has an anomaly" in summary.reasons[0]
    assert "trip_miles" in summary.reasons[1]
    assert summary.artifacts.keys() >= {"examples", "statistics", "anomalies"}
    assert summary.statistics is None


def test_view_of_a_platforms_run_that_failed_in_training_shows_its_data(tmp_path: Path) -> None:
    """A platform's run has no `steps.json`: what is known of its data, admit_examples wrote."""
    folder = write_run(tmp_path, "taxi-1", "failed")
    (folder / "steps.json").unlink()
    artifacts = {name: str(folder / "artifacts" / name) for name in ("examples", "statistics", "anomalies")}
    admitted = Outcome(verdict=NO_VERDICT, reasons=[], data_digest="ef" * 32, artifacts=artifacts)
    (folder / "outcome.json").write_text(admitted.model_dump_json())
    lineage = load_run(tmp_path / "runs", "taxi-1").summary.lineage
    summary = summarise(lineage, "failed", [], admitted, "the loss is NaN")
    assert (summary.verdict, summary.reasons) == ("none", ["the loss is NaN"])
    assert (summary.rows.read, summary.data_digest) == (14_169, "ef" * 32)


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_summary_of_a_run_that_failed_later_gives_what_validation_warned_of(tmp_path: Path, state: RunState) -> None:
    write_run(tmp_path, "taxi-1", "failed")
    lineage = load_run(tmp_path / "runs", "taxi-1").summary.lineage
    admitted = Outcome(verdict=NO_VERDICT, reasons=["feature 'x': Column gone"])
    warned = ["validation warned: feature 'x': Column gone"] if state == "failed" else []
    assert summarise(lineage, state, [], admitted, "KeyError: 'x'").reasons == ["KeyError: 'x'", *warned]


def test_view_of_an_interrupted_run_ends_the_step_that_ran(home: Path) -> None:
    view = load_run(home / "runs", "taxi-4-interrupted")
    trained = next(step for step in view.steps if step.name == "train_model")
    assert (trained.state, view.summary.failed_step) == ("failed", "train_model")
    assert view.seconds == pytest.approx(7.1, abs=1e-3), "up to the last moment that is known"


def test_view_of_a_running_run_has_no_end(home: Path) -> None:
    view = load_run(home / "runs", "taxi-5-running")
    assert view.seconds is None
    assert view.summary.reasons == []
    assert view.summary.rows.read == 14_169


def test_view_of_a_run_whose_exit_handler_failed_is_failed(home: Path) -> None:
    folder = home / "runs" / "taxi-1-pushed"
    recorded = StepsFile.model_validate_json((folder / "steps.json").read_text())
    recorded.steps[-1].state, recorded.steps[-1].error = "failed", "disk full"
    (folder / "steps.json").write_text(recorded.model_dump_json())
    (folder / "summary.json").unlink()
    view = view_run(folder)
    assert (view.state, view.summary.failed_step, view.summary.verdict) == ("failed", "record_run", "pushed")


def test_view_of_a_cluster_run_needs_its_summary_only(home: Path) -> None:
    folder = home / "runs" / "taxi-1-pushed"
    (folder / "steps.json").unlink()
    view = view_run(folder)
    assert (view.state, view.steps, view.summary.verdict) == ("succeeded", [], "pushed")


def test_view_of_a_cluster_run_has_the_verdict_of_a_retry_that_was_not_recorded(home: Path) -> None:
    folder, pushed = home / "runs" / "taxi-3-failed", home / "runs" / "taxi-1-pushed"
    (folder / "steps.json").unlink()  # as on a cluster
    first = view_run(folder)
    assert (first.state, first.summary.verdict) == ("failed", "none")
    (folder / "outcome.json").write_bytes((pushed / "outcome.json").read_bytes())
    retried = view_run(folder)
    assert (retried.state, retried.summary.verdict, retried.summary.pushed_version) == ("failed", "pushed", VERSION)
    assert retried.summary.error == first.summary.error
    assert retried.summary.finished == first.summary.finished


def test_summary_of_bad_data_is_no_baseline_for_drift(home: Path) -> None:
    summary = Summary.model_validate_json((home / "runs" / "taxi-3-failed" / "summary.json").read_text())
    assert summary.statistics is None


def test_failure_reasons_of_a_stack_trace_are_its_last_line() -> None:
    step = Step(name="train_model", state="failed")
    error = 'Traceback (most recent call last):\n  File "x.py", line 1\nValueError: no\n'
    assert failure_reasons(step, error) == ["train_model failed: ValueError: no"]


def test_failure_reasons_without_words_name_the_log() -> None:
    step = Step(name="train_model", state="failed", log="/logs/train_model.log")
    assert "/logs/train_model.log" in failure_reasons(step, None)[0]


def test_failure_reasons_join_what_belongs_together() -> None:
    step = Step(name="validate_examples", state="failed")
    error = "The data has an anomaly.\n- feature 'a': missing\n  10 of 10 rows\n  Fix: add it\n- feature 'b': new\n"
    assert failure_reasons(step, error) == [
        "validate_examples failed: The data has an anomaly.",
        "feature 'a': missing; 10 of 10 rows; Fix: add it",
        "feature 'b': new",
    ]


def test_view_has_the_steps_in_the_order_in_which_they_were_started(home: Path) -> None:
    folder = home / "runs" / "taxi-3-failed"
    recorded = StepsFile.model_validate_json((folder / "steps.json").read_text())
    recorded.steps[1:4] = reversed(recorded.steps[1:4])
    (folder / "steps.json").write_text(recorded.model_dump_json())
    assert [step.name for step in view_run(folder).steps] == list(NEEDS)
