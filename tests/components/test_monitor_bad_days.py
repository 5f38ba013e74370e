"""The steps of the monitor on bad days: logs with holes, damaged files, deaths, clocks that go back, two at once."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from components.decide_retraining.run import decide_window
from components.resolve_window.component import resolve_window
from slipway.errors import ConfigError, DataError, StoreError
from slipway.lineage import Lineage
from slipway.monitoring.config import MonitorConfig
from slipway.monitoring.decision import State
from slipway.monitoring.window import find_window
from slipway.runs.record import RunContext
from slipway.stores import storage
from slipway.stores.model_store import LocalModelStore
from tests.model_files import provenance, write_model
from tests.request_windows import write_requests
from tests.watched_model import CONFIG, DAY, FIRST, MODEL, Watched, draw, drifted

HOUR = timedelta(hours=1)


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_other_versions_and_other_features_are_told_apart(watched: Watched) -> None:
    old, version = watched.push(1), watched.push(2)
    requests, scores, _ = draw(1)
    watched.ask(old, 0, drifted(requests), scores)
    watched.ask(None, 0, drifted(requests), scores)
    watched.ask(version, 0, [row | {"tip_jar": 1.0} for row in requests], scores)
    result = watched.run(0)
    assert (result.version, result.verdict) == (version, "stable")
    assert result.versions == {str(old): 600, str(version): 600, "unknown": 600}
    assert result.new_features == ["tip_jar"]


def test_a_changed_schema_is_a_broken_feature(watched: Watched) -> None:
    version = watched.push()
    requests, scores, _ = draw(1)
    watched.ask(version, 0, [{name: row[name] for name in ("payment", "trip_hour")} for row in requests], scores)
    result = watched.run(0)
    assert result.verdict == "broken"
    assert result.decision is not None
    assert result.decision.action == "alert"
    assert "mend the source" in result.decision.reason
    assert watched.state().trainings == []


def test_labels_of_another_module_are_said_to_be_so(watched: Watched) -> None:
    version = watched.push()
    requests, scores, labels = draw(1)
    watched.ask(version, 0, requests, scores)
    watched.tell([f"other-{number}" for number in range(600)], labels)
    result = watched.run(0)
    assert result.verdict == "stable"
    assert any("600 labels" in note and "another module" in note for note in result.notes)
    watched.labels.write_text("request_id,price\na,1\n")
    assert any("tip" in note for note in watched.run(0).notes)


@pytest.mark.parametrize(
    "write",
    [
        "state.json",
        "window.json",
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("report.html", "history.html", "outcome.json")),
    ],
)
def test_killed_at_a_write_nothing_is_lost_nor_counted_twice(
    watched: Watched, write: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = watched.push()
    for day in range(2):
        requests, scores, _ = draw(day)
        watched.ask(version, day, drifted(requests), scores)
    watched.run(0)

    class Killed(BaseException):
        pass

    written = storage.write_text

    def killed(uri: str, content: str) -> None:
        if (uri.startswith(watched.windows) and uri.endswith(write)) or uri.endswith(f"run/{write}"):
            raise Killed
        written(uri, content)

    with monkeypatch.context() as broken:
        broken.setattr(storage, "write_text", killed)
        with pytest.raises(Killed):
            watched.run(1)
    result = watched.run(1)
    assert result.verdict == "retrained"
    assert watched.run(1).decision == result.decision
    assert watched.outcome().verdict == "retrained"
    assert (len(watched.state().trainings), watched.state().running["drift"]) == (1, 0)


def test_two_monitors_at_once_decide_once(watched: Watched) -> None:
    version = watched.push()
    for day in range(2):
        requests, scores, _ = draw(day)
        watched.ask(version, day, drifted(requests), scores)
        watched.run(day)
    Path(watched.windows, MODEL, "state.json").write_text(
        State(windows=["2026-03-01T00:00:00Z"], running={"drift": 1}).model_dump_json()
    )
    scored = watched.folder / "artifacts-1" / "scored"
    config = MonitorConfig.model_validate(CONFIG).model_dump_json()

    def decide(number: int) -> str:
        lineage = Lineage(run=f"r{number}", module=MODEL, module_digest="d", data_uri="d")
        run = RunContext(uri=str(watched.folder / f"run-{number}"), lineage=lineage)
        data = str(watched.folder / "data.csv")
        return decide_window(str(scored), data, 1, "", watched.windows, config, "", run)[0]

    with ThreadPoolExecutor(4) as pool:
        said = set(pool.map(decide, range(4)))
    assert len(said) == 1
    assert "retrained" in said.pop()
    assert len(watched.state().trainings) == 1


def test_a_damaged_file_is_noted(watched: Watched) -> None:
    version = watched.push()
    requests, scores, _ = draw(1)
    watched.ask(version, 0, requests, scores)
    next(Path(watched.log).rglob("*.parquet")).with_name("half.parquet").write_bytes(b"PAR1 half")
    result = watched.run(0)
    assert (result.verdict, result.requests) == ("stable", 600)
    assert any("1 files" in note for note in result.notes)


def test_a_damaged_record_is_named_with_the_fix(watched: Watched) -> None:
    version = watched.push()
    requests, scores, _ = draw(0)
    watched.ask(version, 0, requests, scores)
    watched.run(0)
    state, window = (Path(watched.windows, MODEL, name) for name in ("state.json", "2026-03-01T00:00:00Z/window.json"))
    for path in (state, window):
        whole = path.read_text()
        path.write_text(whole[:40])
        with pytest.raises(StoreError, match=f"{path.name}.*delete"):
            watched.run(0)
        path.write_text(whole)


def test_a_clock_that_goes_back_or_skips_days_decides_each_window_once(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest window that is over is an older one then; it keeps its decision, and nothing is trained for it."""
    version = watched.push()
    for day in range(4):
        requests, scores, _ = draw(day)
        watched.ask(version, day, drifted(requests), scores)

    def newest(days: float) -> int:
        now = FIRST + days * DAY
        monkeypatch.setattr(
            "slipway.monitoring.window.find_window", lambda start, length, _: find_window(start, length, now)
        )
        config = MonitorConfig.model_validate(CONFIG).model_dump_json()
        _, start = resolve_window.python_func(MODEL, watched.store, watched.log, watched.windows, config, "")
        return (datetime.fromisoformat(start) - FIRST).days

    decisions = []
    for days in (1.5, 3.5, 2.5, 3.5, 1.5, 4.5, 3.5):  # skips a day, goes back, is right again
        day = newest(days)
        monkeypatch.undo()
        decisions.append((day, watched.run(day).decision))
    assert [day for day, _ in decisions] == [0, 2, 1, 2, 0, 3, 2]
    actions = [(day, decision.action) for day, decision in decisions if decision]
    assert actions == [
        (0, "wait"),
        (2, "train"),
        (1, "nothing"),
        (2, "train"),
        (0, "wait"),
        (3, "nothing"),
        (2, "train"),
    ]
    assert len(watched.state().trainings) == len(watched.state().keys) == 1
    assert watched.state().windows == [f"2026-03-0{day + 1}T00:00:00Z" for day in (0, 2, 3)]


def test_what_cannot_be_watched_is_refused_with_the_fix(watched: Watched) -> None:
    with pytest.raises(StoreError, match="nothing to watch"):
        watched.run(0)
    LocalModelStore(Path(watched.store)).push(write_model(watched.folder / "m"), provenance(MODEL))
    with pytest.raises(StoreError, match="no log at this place; correct --log"):
        watched.run(0)
    assert not Path(watched.windows).exists(), "nothing is recorded"
    Path(watched.log).mkdir()
    with pytest.raises(StoreError, match="no baseline"):
        watched.run(0)
    with pytest.raises(ConfigError, match="not over"):
        watched.run(4_000_00)
    watched.config["thresholds"] = []
    watched.push(3)
    watched.monitoring = {"metric": "macro_f1"}
    with pytest.raises(ConfigError, match="macro_f1"):
        watched.run(0)


def test_a_window_is_kept_where_the_data_of_the_next_training_are_gone(watched: Watched) -> None:
    version = watched.push()
    for day in range(3):
        requests, scores, _ = draw(day)
        watched.ask(version, day, drifted(requests), scores)
    watched.run(0)
    result = watched.run(1, data=None)
    assert result.decision is not None
    assert (result.verdict, result.decision.action) == ("drift", "alert")
    assert any("data of the next training" in note and "data.csv" in note for note in result.notes)
    assert watched.state().trainings == []
    (watched.folder / "data.csv").touch()
    with pytest.raises(DataError, match=r"data\.csv"):
        watched.run(2, ask="hand", data=None)
    assert watched.run(2).verdict == "retrained"


def test_a_decided_window_stays_what_it_was(watched: Watched) -> None:
    version = watched.push()
    for day in range(3):
        requests, scores, _ = draw(day)
        watched.ask(version, day, drifted(requests), scores)
        first = watched.run(day)
    decided, state = watched.result(1), watched.state()
    assert (decided.verdict, first.verdict) == ("retrained", "drift")
    again = watched.run(1)
    assert (again.verdict, again.decision) == ("retrained", decided.decision)
    assert watched.state() == state


def test_a_window_whose_log_was_removed_stays_as_it_was_found(watched: Watched) -> None:
    version = watched.push()
    requests, scores, _ = draw(1)
    watched.ask(version, 0, drifted(requests), scores)
    found = watched.run(0)
    shutil.rmtree(Path(watched.log, f"model={MODEL}"))
    for _ in range(2):
        kept = watched.run(0)
        assert (kept.requests, kept.verdict, kept.columns) == (600, "drift", found.columns)
        assert [note for note in kept.notes if "log holds 0" in note] == kept.notes
    empty = watched.run(1)
    assert (empty.requests, empty.verdict) == (0, "traffic")
    assert any("no requests" in note and "removed" in note for note in empty.notes)


def test_a_clock_that_goes_back_counts_no_window_twice(watched: Watched) -> None:
    version = watched.push()
    for day in range(4):
        requests, scores, _ = draw(day)
        watched.ask(version, day, drifted(requests) if day != 2 else requests, scores)
    watched.run(1)
    state = watched.state()
    older = watched.run(0)
    assert older.decision is not None
    assert older.verdict == "drift"
    assert "2026-03-02" in older.decision.reason
    assert watched.state().running == state.running
    ahead = state.model_copy(update={"windows": [*state.windows, "2126-03-01T00:00:00Z"]})
    Path(watched.windows, MODEL, "state.json").write_text(ahead.model_dump_json())
    assert watched.run(2).verdict == "stable"
    assert watched.state().windows == ["2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z"]


def test_another_modules_requests_in_the_same_log_are_not_counted(watched: Watched) -> None:
    version = watched.push()
    requests, scores, _ = draw(1)
    watched.ask(version, 0, requests, scores)
    write_requests(watched.log, "other", version, FIRST, drifted(requests), scores)
    result = watched.run(0)
    assert (result.requests, result.versions, result.verdict) == (600, {str(version): 600}, "stable")


def test_a_hole_in_the_log_leaves_the_other_requests_counted_once(watched: Watched) -> None:
    version = watched.push()
    for hour in (0, 8, 16):
        requests, scores, labels = draw(hour, 250)
        ids = write_requests(watched.log, MODEL, version, FIRST + hour * HOUR, requests, scores, prefix=f"h{hour}")
        watched.tell(ids, labels)
    files = sorted(Path(watched.log).rglob("*.parquet"), key=lambda file: pq.read_table(file)["time"][0].as_py())
    files[1].unlink()
    result = watched.run(0)
    assert (result.requests, result.verdict) == (500, "stable")
    assert (result.performance[0].labels, result.performance[0].missing) == (500, 0)


def test_labels_that_are_not_there_are_said_with_their_setting(watched: Watched) -> None:
    version = watched.push()
    requests, scores, _ = draw(1)
    watched.ask(version, 0, requests, scores)
    watched.monitoring = {"labels": str(watched.folder / "lables.csv")}
    result = watched.run(0)
    assert result.verdict == "stable"
    assert any("lables.csv" in note and "correct monitoring.labels" in note for note in result.notes)
    assert not any("--data" in note for note in result.notes)


def test_a_misspelt_feature_of_module_yaml_is_said_with_those_that_are_compared(watched: Watched) -> None:
    version = watched.push()
    requests, scores, _ = draw(1)
    watched.ask(version, 0, requests, scores)
    watched.monitoring = {"features": {"fair": {"threshold": 0.5}, "fare": {"threshold": 0.5}}}
    [said] = watched.run(0).notes
    assert "monitoring.features" in said
    assert "fair;" in said
    assert "fare, payment, score, trip_hour" in said


def test_an_older_baseline_is_said_to_lack_the_labels_by_feature(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Watched, "_labels_by", staticmethod(lambda *_: {}))
    version = watched.push()
    requests, scores, labels = draw(1)
    watched.tell(watched.ask(version, 0, requests, scores), labels)
    result = watched.run(0)
    assert (result.verdict, result.labels_by, result.notes) == ("stable", [], [])
    assert any("labels are not compared by feature" in said for said in watched.outcome().reasons)
