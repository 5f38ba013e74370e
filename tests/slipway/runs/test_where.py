from __future__ import annotations

from pathlib import Path

import pytest

from slipway.errors import ConfigError
from slipway.runs.notes import write_notes
from slipway.runs.store import RunView, list_runs
from slipway.runs.where import parse, select
from tests.recorded_runs import VERSION, write_run


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> list[RunView]:
    """A pushed run with a tag, one that failed and so has no metrics, and one of another module."""
    home = tmp_path_factory.mktemp("home")
    write_notes(str(write_run(home, "taxi-1", "pushed")), tags={"owner": "ann", "ticket": "12"})
    write_run(home, "taxi-2", "failed")
    write_run(home, "fares-1", "refused", module="fares")
    return list_runs(home / "runs")


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("auc > 0.9", "fares-1 taxi-1"),
        ("auc > 0.956", ""),
        ("auc >= 0.956 and module = taxi", "taxi-1"),
        ("auc>=0.956 and module=taxi", "taxi-1"),
        ("auc < 1 and verdict != pushed", "fares-1"),
        ("state = failed", "taxi-2"),
        (f"version = {VERSION}", "taxi-1"),
        ("hyperparameters.learning_rate <= 1e-3 and seed = 42", "fares-1 taxi-1 taxi-2"),
        ("tags.owner = ann", "taxi-1"),
        ("tags.owner != ann", ""),  # a run without the tag does not match
        ("tags.ticket = 12", "taxi-1"),  # a tag is text, however it is written
        ("tags.ticket = '12'", "taxi-1"),
        ("data = \"/data/trips.csv\" and module = 'fares'", "fares-1"),
        ("run = taxi-2", "taxi-2"),
    ],
)
def test_where_selects(views: list[RunView], where: str, found: str) -> None:
    assert " ".join(sorted(view.name for view in select(views, where))) == found


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("", "at the end"),
        ("auc", "before 'auc'"),
        ("auc >", "auc >"),
        ("> 0.9", "NAME OP VALUE"),
        ("auc > 0.9 and", "at the end"),
        ("auc > 0.9 or auc < 0.1", "before 'or auc < 0.1' is expected `and`"),
        ("auc == 0.9", "NAME OP VALUE"),
        ("auc => 0.9", "NAME OP VALUE"),
        ("auc > 0.9 module = taxi", "before 'module = taxi'"),
        ("run = 'taxi", "NAME OP VALUE"),
        ("auc > 0.9;", "auc > '0.9;'"),
        ("(auc > 0.9)", "before '(auc > 0.9)'"),
        ("auc > 0.9 andmodule = taxi", "`and`"),
        ("acu > 0.9", "no run has 'acu'; there are auc"),
        ("tags.owners = ann", "tags.owner"),
        ("module > taxi", "compares numbers"),
        ("auc > high", "compares numbers"),
        ("auc > nan", "compares numbers"),
        ("tags.ticket > 3", "compares numbers"),
    ],
)
def test_where_that_is_wrong_says_what(views: list[RunView], where: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        select(views, where)
    assert told in str(caught.value)


def test_where_takes_a_value_with_a_separator() -> None:
    [condition] = parse("hyperparameters.hidden = '[64, 32] and = more'")
    assert condition.value == "[64, 32] and = more"


def test_where_without_runs_finds_none() -> None:
    assert select([], "auc > 0.9") == []


def test_where_reads_no_metric_from_the_notes_of_a_damaged_record(tmp_path: Path) -> None:
    (write_run(tmp_path, "taxi-1", "pushed") / "notes.json").write_text("{")
    [view] = list_runs(tmp_path / "runs")
    assert view.notes.tags == {}
    assert select([view], "auc > 0.9") == [view]
