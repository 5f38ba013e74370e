"""Runs in the index, on this machine and on gs://."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from console.index.kept import Index
from console.index.runs import RunEntry, RunRecords, key_figures
from slipway.runs.notes import write_notes
from slipway.runs.record import StepsFile
from slipway.runs.store import STEPS, list_runs
from slipway.stores import storage
from tests.fakes.storage_server import StorageServer
from tests.recorded_runs import NO_PROCESS, write_run


def index_of(runs: str, file: str) -> Index[RunEntry]:
    records = RunRecords(runs)
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

    found = asyncio.run(look(index_of(str(tmp_path / "runs"), str(tmp_path / "index.json"))))
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
        index = index_of(str(tmp_path / "runs"), str(tmp_path / "index.json"))
        assert (await look(index))["taxi-1"].state == "running"
        ended = file.model_copy(update={"pid": NO_PROCESS})
        storage.write_text(str(folder / STEPS), ended.model_dump_json())
        assert (await look(index))["taxi-1"].state == "interrupted"

    asyncio.run(follow())


@pytest.mark.parametrize("place", ["local", "gs"])
def test_changes_are_seen(tmp_path: Path, place: str, storage_server: StorageServer) -> None:
    async def follow() -> None:
        write_run(tmp_path, "taxi-1", "pushed")
        runs, file = str(tmp_path / "runs"), str(tmp_path / "index.json")
        if place == "gs":
            runs, file = storage_server.uri("home/runs"), storage_server.uri("home/console/runs.json")
            storage.copy_folder(str(tmp_path / "runs"), runs)
        index = index_of(runs, file)
        assert list(await look(index)) == ["taxi-1"]
        write_notes(storage.join(runs, "taxi-1"), tags={"kept": "yes"})
        assert (await look(index))["taxi-1"].tags == {"kept": "yes"}
        storage.delete_folder(storage.join(runs, "taxi-1"))
        assert await look(index) == {}
        assert storage.exists(file)

    asyncio.run(follow())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_no_number_can_be_kept(tmp_path: Path, value: float) -> None:
    write_run(tmp_path, "taxi-1", "pushed")
    entry = asyncio.run(look(index_of(str(tmp_path / "runs"), str(tmp_path / "index.json"))))["taxi-1"]
    odd = entry.model_copy(update={"facts": {"x": value}, "figures": {"auc": value}})
    assert repr(RunEntry.model_validate_json(odd.model_dump_json()).facts) == repr(odd.facts)


def test_runs_out_of_reach_are_an_outage(unreachable: str, tmp_path: Path) -> None:
    index = index_of(unreachable, str(tmp_path / "index.json"))
    asyncio.run(look(index))
    assert "bucket" in index.failure


@pytest.fixture
def unreachable() -> str:
    return "gs://anonymous@bucket/runs?scheme=http&endpoint_override=localhost:9&retry_limit_seconds=0.2"
