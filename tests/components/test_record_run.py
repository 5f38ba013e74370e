import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from components.record_run.component import record_run
from components.record_run.run import record
from slipway.runs.notifications.config import Notifications
from slipway.runs.record import Summary
from slipway.runs.store import load_run
from tests.recorded_runs import WHY_REFUSED, write_run

LINEAGE = {"run": "r", "module": "taxi", "module_digest": "ab", "data_uri": "x.csv", "seed": 42.0, "started": 1.75e9}


def read(folder: Path) -> Summary:
    return Summary.model_validate_json((folder / "summary.json").read_text())


@pytest.mark.parametrize(
    ("state", "expected"), [("FAILED", "failed"), ("SUCCEEDED", "succeeded"), ("CANCELLED", "interrupted")]
)
def test_record_without_any_trace_of_the_steps_tells_what_the_orchestrator_said(
    tmp_path: Path, state: str, expected: str
) -> None:
    record(str(tmp_path), LINEAGE, state, "task x failed")
    summary = read(tmp_path)
    assert summary.state == expected
    assert summary.reasons == ([] if expected == "succeeded" else ["task x failed"])
    assert (tmp_path / "report.html").is_file()


@pytest.mark.parametrize("file", ["steps.json", "outcome.json", "artifacts/examples/manifest.json",
                                  "artifacts/evaluation/evaluation.json"])  # fmt: skip
@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"{\xff")], ids=["gone", "damaged"])
def test_record_with_something_missing_or_damaged_tells_the_rest(tmp_path: Path, file: str, damage: object) -> None:
    folder = write_run(tmp_path, "r", "refused")
    damage(folder / file)  # type: ignore[operator]
    summary = record(str(folder), LINEAGE, "SUCCEEDED", "").summary
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
    second = record(str(folder), first.lineage.model_dump(), "SUCCEEDED", "").summary
    assert second.model_dump(exclude={"finished"}) == first.model_dump(exclude={"finished"})


def test_record_is_cheap(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "r", "pushed")
    view = load_run(tmp_path / "runs", "r")
    before = time.process_time()
    record(str(folder), view.summary.lineage.model_dump(), "SUCCEEDED", "")
    assert time.process_time() - before < 0.5


def test_record_run_of_a_recurring_run_writes_under_that_runs_own_name(tmp_path: Path) -> None:
    status = SimpleNamespace(state="SUCCEEDED", error_message="", pipeline_job_resource_name="taxi")
    recurring = LINEAGE | {"run": "taxi-{job}", "started": 0.0}
    for job in ("90d63664-0f4f-41ec-91be-9419156db005", "3456789012345678901"):
        record_run.python_func(str(tmp_path / "taxi-{job}"), recurring, job, "2026-01-02T03:04:05Z", {}, "", status)
    names = ["taxi-20260102-030405-156db005", "taxi-20260102-030405-45678901"]
    assert sorted(folder.name for folder in tmp_path.iterdir()) == names
    lineage = read(tmp_path / names[0]).lineage
    assert (lineage.run, lineage.started) == (names[0], 1767323045.0)


@pytest.mark.parametrize(
    ("target", "job", "resource", "link"),
    [
        ("kubeflow", "9f1c", "training-x7k2", "https://ui/#/runs/details/9f1c"),
        ("vertex", "345", "projects/p/locations/l/pipelineJobs/taxi-1", "https://ui/#/runs/details/taxi-1"),
    ],
)
def test_record_run_tells_of_the_run_and_links_to_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], target: str, job: str, resource: str, link: str
) -> None:
    status = SimpleNamespace(state="FAILED", error_message="task x failed", pipeline_job_resource_name=resource)
    arguments = [
        LINEAGE | {"target": target},
        job,
        "",
        Notifications(stdout=True).model_dump(mode="json"),
        "https://ui/#/runs/details/{job}",
        status,
    ]
    record_run.python_func(str(tmp_path), *arguments)
    told = capsys.readouterr().out
    assert f"[slipway] taxi: the run failed (r)\n- task x failed\n{link}\n\n" in told
    assert "r failed; no model was pushed." in told


@pytest.mark.parametrize(
    "notifications",
    [{"webhook": {"url": "env:NO_SUCH"}}, {"stdout": True, "ca_file": "/no/such"}, {"no": "such key"}, {"stdout": "?"}],
)
def test_record_run_with_a_broken_notifier_goes_well_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], notifications: dict[str, object]
) -> None:
    status = SimpleNamespace(state="FAILED", error_message=None, pipeline_job_resource_name="x")
    record_run.python_func(str(tmp_path), LINEAGE, "1", "", notifications, "", status)
    assert "warning: " in capsys.readouterr().out
    assert (tmp_path / "report.html").is_file()
