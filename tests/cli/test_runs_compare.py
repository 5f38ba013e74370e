"""`slipway runs compare|tag|note` and `runs list --where`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slipway.errors import ConfigError, StoreError
from slipway.evaluation.results import Evaluation
from tests.cli.commands import slipway
from tests.recorded_runs import write_run


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs whose models differ by 0.02 of AUC, and one that failed."""
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))
    write_run(tmp_path, "taxi-1", "pushed")
    folder = write_run(tmp_path, "taxi-2", "refused")
    path = folder / "artifacts" / "evaluation" / "evaluation.json"
    judged = Evaluation.model_validate_json(path.read_text())
    judged.overall.candidate["auc"] = 0.936
    judged.slices[0].candidate["auc"] = 0.812
    path.write_text(judged.model_dump_json())
    (folder / "summary.json").unlink()
    write_run(tmp_path, "taxi-3", "failed")
    return tmp_path


def test_compare_puts_runs_side_by_side_and_marks_what_differs(home: Path) -> None:
    lines = slipway("runs", "compare", "taxi-1", "taxi-2").stdout.splitlines()
    rows = {tuple(line.split()[:2]): line for line in reversed(lines)}
    assert rows["≠", "auc"].split()[1:] == ["auc", "0.9560", "0.9360", "(−0.020)"]  # noqa: RUF001
    assert "hyperparameters.learning_rate" in "".join(lines)
    assert not rows["seed", "42"].startswith("≠")
    [cash] = [line for line in lines if "auc on payment_type=Cash" in line]
    assert "0.9120" in cash
    assert "0.8120 (−0.10)" in cash  # noqa: RUF001
    assert rows["≠", "verdict"].split()[2:] == ["pushed", "refused"]


def test_compare_as_json_has_each_value_by_section_and_run(home: Path) -> None:
    found = json.loads(slipway("runs", "compare", "taxi-1", "taxi-2", "taxi-3", "--json").stdout)
    assert found["runs"] == ["taxi-1", "taxi-2", "taxi-3"]
    assert found["metrics"]["auc"] == {"taxi-1": 0.956, "taxi-2": 0.936, "taxi-3": None}
    assert found["slices"]["auc on payment_type=Cash"] == {"taxi-1": 0.912, "taxi-2": 0.812, "taxi-3": None}
    assert found["data"]["digest"]["taxi-1"] == "ef" * 32
    assert found["parameters"]["hyperparameters.learning_rate"]["taxi-3"] == 0.001


def test_compare_writes_a_page_that_needs_no_network(home: Path) -> None:
    path = home / "pages" / "compared.html"
    assert slipway("runs", "compare", "taxi-1", "taxi-2", "--page", str(path)).stdout == f"{path}\n"
    page = path.read_text()
    for text in ("taxi-1", "0.9360", "auc on payment_type=Cash", "Loss on held back rows", "<b>refused</b>"):
        assert text in page
    assert "<script src" not in page


@pytest.mark.parametrize("names", [("taxi-1",), ("taxi-1", "taxi-1")])
def test_compare_needs_two_runs(home: Path, names: tuple[str, ...]) -> None:
    done = slipway("runs", "compare", *names)
    assert done.exit_code == 2
    assert "at least two" in done.stderr


def test_compare_of_an_unknown_run_names_the_nearest(home: Path) -> None:
    with pytest.raises(StoreError, match="taxi-"):
        slipway("runs", "compare", "taxi-1", "taxi-9")


def test_list_where_shows_the_runs_that_match(home: Path) -> None:
    assert [line.split()[0] for line in slipway("runs", "list", "--where", "auc > 0.94").stdout.splitlines()] == [
        "run",
        "taxi-1",
    ]
    found = json.loads(slipway("runs", "list", "--where", "auc < 0.94 and module = taxi", "--json").stdout)
    assert [run["run"] for run in found] == ["taxi-2"]
    assert "3 runs" in slipway("runs", "list", "--where", "auc > 1").stdout
    with pytest.raises(ConfigError, match="acu"):
        slipway("runs", "list", "--where", "acu > 1")


def test_tags_and_notes_are_shown_listed_and_compared(home: Path) -> None:
    assert "owner" in slipway("runs", "tag", "taxi-1", "owner=ann", "ticket=12").stdout
    slipway("runs", "note", "taxi-1", "the best so far")
    shown = slipway("runs", "show", "taxi-1").stdout
    assert "the best so far" in shown
    assert "ann" in shown
    listed = slipway("runs", "list").stdout
    assert "owner=ann, ticket=12" in listed
    assert "the best so far" in listed
    found = json.loads(slipway("runs", "show", "taxi-1", "--json").stdout)
    assert (found["tags"], found["note"]) == ({"owner": "ann", "ticket": "12"}, "the best so far")
    compared = slipway("runs", "compare", "taxi-1", "taxi-2").stdout
    assert "tag owner" in compared
    assert "the best so far" in compared
    assert json.loads(slipway("runs", "list", "--where", "tags.owner = ann", "--json").stdout)[0]["run"] == "taxi-1"
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        slipway("runs", "tag", "taxi-1", "owner")
