import json
from pathlib import Path

import pytest

from slipway.runs.report import render_report, write_report
from slipway.runs.store import load_run
from tests.recorded_runs import VERSION, WHY_FAILED, WHY_REFUSED, write_run


def report(home: Path, ending: str) -> str:
    write_run(home, "taxi-1", ending)  # type: ignore[arg-type]
    return render_report(load_run(home / "runs"))


def test_report_of_a_pushed_run_has_every_part(tmp_path: Path) -> None:
    page = report(tmp_path, "pushed")
    for title in (
        "Verdict",
        "Steps",
        "Metrics",
        "Metrics by slice",
        "Curves",
        "Serving checks",
        "Training",
        "Data",
        "Lineage",
    ):
        assert f"<h2>{title}</h2>" in page
    assert f"pushed as version {VERSION}" in page
    assert "production 0.9464" in page
    assert "ef" * 32 in page


def test_report_of_a_refused_run_says_why_once_above_the_steps(tmp_path: Path) -> None:
    page = report(tmp_path, "refused")
    assert "not pushed: the gate refused its model" in page
    assert page.count(WHY_REFUSED) == 1
    assert page.index(WHY_REFUSED) < page.index("<h2>Steps</h2>")


def test_report_of_a_failed_run_shows_what_there_is(tmp_path: Path) -> None:
    page = report(tmp_path, "failed")
    assert "failed at validate examples" in page
    assert WHY_FAILED in page
    assert "put the column back" in page
    assert "<h2>Data</h2>" in page
    assert "<h2>Curves</h2>" not in page
    assert "<h2>Lineage</h2>" in page


@pytest.mark.parametrize("ending", ["interrupted", "running"])
def test_report_of_an_unfinished_run_says_so(tmp_path: Path, ending: str) -> None:
    page = report(tmp_path, ending)
    assert ending in page
    assert page.count(">cached<") == 1  # not the step that began, although its record says so


def test_report_with_a_damaged_artifact_says_which_part_is_missing(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "taxi-1", "pushed")
    (folder / "artifacts" / "serving_validation" / "validation.json").write_text("{")
    page = render_report(load_run(tmp_path / "runs"))
    assert "This part cannot be shown" in page
    assert "<h2>Lineage</h2>" in page


def test_write_report_replaces_the_page_and_names_it(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "taxi-1", "pushed")
    (folder / "report.html").unlink()
    assert write_report(load_run(tmp_path / "runs")) == str(folder / "report.html")
    assert (folder / "report.html").read_text().startswith("<!doctype html>")


def test_report_labels_the_numbers_of_the_model_in_production(tmp_path: Path) -> None:
    assert "the small one is that of production" in report(tmp_path, "pushed")


def test_report_links_the_rows_that_could_not_be_read(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "taxi-1", "pushed")
    summary = json.loads((folder / "summary.json").read_text())
    summary["rows"]["quarantined"] = 4
    (folder / "summary.json").write_text(json.dumps(summary))
    page = render_report(load_run(tmp_path / "runs"))
    examples = summary["artifacts"][summary["lineage"]["shows"]["examples"]]
    assert f'href="file://{examples}/quarantine.jsonl"' in page
