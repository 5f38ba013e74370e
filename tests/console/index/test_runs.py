"""Runs in the index, on this machine and on gs://."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from console.index.kept import Index
from console.index.runs import RunEntry, RunRecords, key_figures
from pipelines.registry import Locations
from slipway.runs.notes import write_notes
from slipway.runs.record import Outcome, StepsFile
from slipway.runs.store import OUTCOME, STEPS, SUMMARY, list_runs
from slipway.stores import storage
from tests.each_store import ON_EACH_STORE
from tests.fakes.fault_proxy import FaultProxy
from tests.recorded_runs import NO_PROCESS, VERSION, write_run


def index_of(home: str, file: str) -> Index[RunEntry]:
    records = RunRecords(Locations.under(home))
    records.every_seconds = -1.0
    return Index(records, file)


async def look(index: Index[RunEntry]) -> dict[str, RunEntry]:
    await index.look()
    return index.known


def test_figures_of_a_run_are_those_of_its_task() -> None:
    several: dict[str, float | None] = {
        "accuracy": 0.9,
        "balanced_accuracy": 0.9,
        "macro_f1": 0.9,
        "log_loss": 0.3,
        "auc": 0.98,
    }
    assert list(key_figures(several)) == ["accuracy", "log_loss", "auc"]
    two: dict[str, float | None] = {
        "auc": 0.9,
        "auc_pr": 0.8,
        "log_loss": 0.3,
        "accuracy": 0.9,
        "precision": 0.7,
        "recall": 0.6,
        "f1": 0.6,
    }
    assert list(key_figures(two)) == ["auc", "log_loss", "accuracy"]


def test_entries_say_what_the_records_say(tmp_path: Path) -> None:
    for name in ("pushed", "refused", "failed", "bad-data", "interrupted"):
        write_run(tmp_path, name, name)

    found = asyncio.run(look(index_of(str(tmp_path), str(tmp_path / "index.json"))))
    for view in list_runs(tmp_path / "runs"):
        one = found.pop(view.name)
        assert (one.state, one.seconds, one.version) == (view.state, view.seconds, view.summary.pushed_version)
        assert one.figures.get("auc") == view.summary.metrics.get("auc")
        assert one.verdict == (view.summary.told.text if view.summary.told else "")
    assert found == {}


def test_a_run_that_goes_on_is_followed_to_its_end(tmp_path: Path) -> None:
    async def follow() -> None:
        folder = write_run(tmp_path, "taxi-1", "running")
        file = StepsFile.model_validate_json((folder / STEPS).read_text()).model_copy(
            update={"pid": os.getpid(), "pid_started": None}
        )
        storage.write_text(str(folder / STEPS), file.model_dump_json())
        index = index_of(str(tmp_path), str(tmp_path / "index.json"))
        assert (await look(index))["taxi-1"].state == "running"
        ended = file.model_copy(update={"pid": NO_PROCESS})
        storage.write_text(str(folder / STEPS), ended.model_dump_json())
        assert (await look(index))["taxi-1"].state == "interrupted"

    asyncio.run(follow())


@pytest.mark.parametrize("place", ["local", "google_storage", pytest.param("s3_server", marks=pytest.mark.slow)])
def test_changes_are_seen(tmp_path: Path, place: str, request: pytest.FixtureRequest) -> None:
    async def follow() -> None:
        write_run(tmp_path, "taxi-1", "pushed")
        home = str(tmp_path) if place == "local" else request.getfixturevalue(place).uri("home")
        runs, file = storage.join(home, "runs"), storage.join(home, "console", "runs.json")
        if place != "local":
            storage.copy_folder(str(tmp_path / "runs"), runs)
        index = index_of(home, file)
        assert list(await look(index)) == ["taxi-1"]
        write_notes(storage.join(runs, "taxi-1"), tags={"kept": "yes"})
        assert (await look(index))["taxi-1"].tags == {"kept": "yes"}
        storage.delete_folder(storage.join(runs, "taxi-1"))
        assert await look(index) == {}
        assert storage.exists(file)

    asyncio.run(follow())


@ON_EACH_STORE
def test_first_look_at_a_bucket_asks_once_for_each_run(tmp_path: Path, fault_proxy: FaultProxy) -> None:
    """A listing, a summary for each run, and the file of the index; notes and later outcomes where there are any."""
    home, names = fault_proxy.uri("home"), [f"taxi-{number}" for number in range(5)]
    for name in names:
        folder = write_run(tmp_path, name, "pushed")
        storage.write_text(storage.join(home, "runs", name, OUTCOME), (folder / OUTCOME).read_text())
        storage.write_text(storage.join(home, "runs", name, SUMMARY), (folder / SUMMARY).read_text())
        storage.write_text(storage.join(home, "runs", name, "logs", "train.log"), "epoch 1")
    fault_proxy.make_older(OUTCOME, 10)
    fault_proxy.requests.clear()
    index = index_of(home, storage.join(home, "console", "runs.json"))
    known = asyncio.run(look(index))
    assert {one.version for one in known.values()} == {VERSION}
    of_runs = [one for one in fault_proxy.requests if "home/runs" in one]
    assert len(of_runs) == 1 + len(names), of_runs
    assert sum(SUMMARY in one for one in of_runs) == len(names)
    fault_proxy.ages.clear()
    outcome = Outcome.model_validate_json((tmp_path / "runs" / "taxi-0" / OUTCOME).read_text())
    again = outcome.model_copy(update={"verdict": "refused", "version": None})  # a retry, after the summary
    storage.write_text(storage.join(home, "runs", "taxi-0", OUTCOME), again.model_dump_json())
    write_notes(storage.join(home, "runs", "taxi-1"), note="kept")
    known = asyncio.run(look(index))
    assert [known[name].version for name in names] == [None, *[VERSION] * 4]
    assert known["taxi-1"].note == "kept"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_no_number_can_be_kept(tmp_path: Path, value: float) -> None:
    write_run(tmp_path, "taxi-1", "pushed")
    entry = asyncio.run(look(index_of(str(tmp_path), str(tmp_path / "index.json"))))["taxi-1"]
    odd = entry.model_copy(update={"facts": {"x": value}, "figures": {"auc": value}})
    assert repr(RunEntry.model_validate_json(odd.model_dump_json()).facts) == repr(odd.facts)


def test_runs_out_of_reach_are_an_outage(unreachable: str, tmp_path: Path) -> None:
    index = index_of(unreachable, str(tmp_path / "index.json"))
    asyncio.run(look(index))
    assert "bucket" in index.failure


@pytest.fixture
def unreachable() -> str:
    return "gs://anonymous@bucket/runs?scheme=http&endpoint_override=localhost:9&retry_limit_seconds=0.2"
