import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli import output
from cli.main import app
from settings import load
from slipway.errors import StoreError
from tests.recorded_runs import STARTED, VERSION, WHY_FAILED, WHY_REFUSED, write_run


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))
    return tmp_path


def slipway(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_runs_list_prints_a_line_for_each_newest_first(home: Path) -> None:
    write_run(home, "taxi-1", "pushed", started=STARTED)
    write_run(home, "taxi-2", "failed", started=STARTED + 60)
    head, failed, pushed = slipway("runs", "list").stdout.splitlines()
    assert head.split()[0] == "run"
    assert failed.split()[:2] == ["taxi-2", "failed"]
    assert WHY_FAILED in failed
    assert pushed.split()[:4] == ["taxi-1", "succeeded", "pushed", str(VERSION)]


def test_runs_list_of_an_empty_home_says_what_makes_one(home: Path) -> None:
    assert "slipway run" in slipway("runs", "list").stdout
    assert json.loads(slipway("runs", "list", "--json").stdout) == []


def test_runs_show_as_json_is_nothing_else(home: Path) -> None:
    write_run(home, "taxi-1", "refused")
    found = json.loads(slipway("runs", "show", "--json").stdout)
    assert (found["run"], found["verdict"], found["reasons"]) == ("taxi-1", "refused", [WHY_REFUSED])


def test_runs_show_names_steps_rows_worst_slice_verdict_and_report(home: Path) -> None:
    folder = write_run(home, "taxi-1", "refused")
    shown = slipway("runs", "show", "taxi-1").stdout
    for text in ("✓ train_model", "cached", "14,169 read, 12 quarantined", "auc 0.9560", "payment_type=Cash 0.9120",
                 "refused: the model was not pushed", WHY_REFUSED, str(folder / "report.html")):  # fmt: skip
        assert text in shown


def test_runs_show_failed_names_the_step_and_its_log(home: Path) -> None:
    folder = write_run(home, "taxi-1", "failed")
    shown = slipway("runs", "show").stdout
    assert "✕ validate_examples" in shown
    assert WHY_FAILED in shown
    assert str(folder / "logs" / "validate_examples.log") in shown


def test_runs_show_unknown_lists_the_nearest(home: Path) -> None:
    write_run(home, "taxi-1", "pushed")
    with pytest.raises(StoreError, match="the nearest: taxi-1"):
        slipway("runs", "show", "taxo-1")


def test_runs_logs_prints_all_steps_or_one(home: Path) -> None:
    folder = write_run(home, "taxi-1", "failed")
    (folder / "logs" / "ingest_examples.log").write_text("read\nwrote\n")
    (folder / "logs" / "validate_examples.log").write_text("bad\n")
    assert slipway("runs", "logs", "taxi-1").stdout.splitlines() == [
        "ingest_examples: read",
        "ingest_examples: wrote",
        "validate_examples: bad",
    ]
    assert slipway("runs", "logs", "--step", "ingest_examples").stdout == "read\nwrote\n"
    with pytest.raises(StoreError, match="no log of 'train_model'; it has ingest_examples, validate_examples"):
        slipway("runs", "logs", "taxi-1", "--step", "train_model")


def test_report_prints_the_path_of_a_new_page(home: Path) -> None:
    folder = write_run(home, "taxi-1", "failed")
    (folder / "report.html").unlink()
    assert slipway("report").stdout.strip() == str(folder / "report.html")
    assert (folder / "report.html").is_file()


def test_explain_prints_why_in_plain_text(home: Path) -> None:
    write_run(home, "taxi-1", "refused")
    assert WHY_REFUSED in slipway("explain").stdout
    assert json.loads(slipway("explain", "taxi-1", "--json").stdout)["checks"][0]["outcome"] == "failed"


def test_module_check_of_a_broken_module_lists_its_problems(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "modules" / "bad").mkdir(parents=True)
    (home / "modules" / "bad" / "module.yaml").write_text("contract: 1\ntask: binary\nlabl: {column: y}\n")
    monkeypatch.setenv("SLIPWAY_MODULES", str(home / "modules"))
    result = slipway("module", "check")
    assert result.exit_code == 1
    assert "did you mean 'label'?" in result.stdout
    assert json.loads(slipway("module", "check", "bad", "--json").stdout)[0]["problems"]


def test_print_json_of_what_is_no_number_is_null(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json({"auc": float("nan"), "rows": [1, float("inf")]})
    assert json.loads(capsys.readouterr().out) == {"auc": None, "rows": [1, None]}


def test_print_table_aligns_numbers_to_the_right(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(["name", "n"], [["a", "5"], ["long", "12"]], numbers=["n"])
    assert capsys.readouterr().out.splitlines() == ["name   n", "a      5", "long  12"]


def test_runs_prune_says_what_it_would_remove_and_then_removes_it(home: Path) -> None:
    write_run(home, "taxi-1", "failed", started=STARTED)
    write_run(home, "taxi-2", "failed", started=STARTED + 60)
    rehearsed = slipway("runs", "prune", "--keep", "1", "--dry-run").stdout
    assert "taxi-1" in rehearsed
    assert "Would remove" in rehearsed
    assert "MiB; runs: 1" in rehearsed
    assert (home / "runs" / "taxi-1").is_dir()
    found = json.loads(slipway("runs", "prune", "--keep", "1", "--json").stdout)
    assert found["runs"] == [str(home / "runs" / "taxi-1")]
    assert found["bytes"] > 0
    assert [path.name for path in (home / "runs").iterdir()] == ["taxi-2"]


def test_runs_prune_without_a_limit_removes_nothing(home: Path) -> None:
    write_run(home, "taxi-1", "failed")
    refused = slipway("runs", "prune")
    assert refused.exit_code == 2
    assert "--older-than" in refused.output
    assert (home / "runs" / "taxi-1").is_dir()


def test_runs_of_an_environment_are_those_of_its_home(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "settings"
    settings.mkdir()
    (settings / "base.yaml").write_text("{}\n")
    (settings / "other.yaml").write_text(f"home: {tmp_path / 'other'}\n")
    monkeypatch.setattr(load, "FOLDER", settings)
    monkeypatch.delenv("SLIPWAY_HOME")
    write_run(tmp_path / "other", "taxi-9", "failed")
    assert "taxi-9" in slipway("runs", "list", "--env", "other").stdout
    assert "failed at validate_examples" in slipway("explain", "--env", "other").stdout
    assert slipway("report", "--env", "other").stdout.strip().startswith(str(tmp_path / "other"))
    assert "empty" in slipway("models", "list", "--env", "other").stdout
