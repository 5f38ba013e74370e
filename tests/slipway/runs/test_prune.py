"""Pruning a home of real records and files: what is named stays, and the cache never points at nothing."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from slipway.errors import StoreError
from slipway.runs.prune import Prunable, find_prunable, prune
from slipway.runs.record import StepsFile, Summary
from slipway.stores.model_store import LocalModelStore, Provenance
from slipway.tuning.result import TuningRecord
from tests.recorded_runs import STARTED, Ending, write_run

DAY = 86_400
RUNS = ("taxi-1", "taxi-2")


class Home:
    """A home as `slipway run` leaves it; artifacts lie where kfp.local puts them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = LocalModelStore(folder / "models")

    def run(self, name: str, ending: Ending, started: float, *served_from: str, data: str = "") -> None:
        """A run with a model of its own, and with the examples of another run that its cache served."""
        folder = write_run(self.folder, name, ending, started=started)
        mine = [self.artifact(name, "train-model", "model", started)]
        if not served_from:
            mine.append(self.artifact(name, "ingest-examples", "examples", started))
        mine += [self.path(other, "ingest-examples", "examples") for other in served_from]
        mine.append(self.source(data or name))
        recorded = StepsFile.model_validate_json((folder / "steps.json").read_text())
        recorded.steps[0].outputs = {f"output{index}": str(path) for index, path in enumerate(mine)}
        (folder / "steps.json").write_text(recorded.model_dump_json())
        if data:
            summary = Summary.model_validate_json((folder / "summary.json").read_text())
            (folder / "summary.json").write_text(summary.model_copy(update={"data_digest": data}).model_dump_json())

    def path(self, run: str, step: str, output: str) -> Path:
        return self.folder / "artifacts" / f"slipway-{run}" / step / output

    def artifact(self, run: str, step: str, output: str, written: float) -> Path:
        """Files of 1 MiB, and a cache entry that names them."""
        path = self.path(run, step, output)
        path.mkdir(parents=True)
        (path / "content").write_bytes(b"x" * 2**20)
        os.utime(path.parent, (written, written))
        entry = {output: {"__kfp_artifact__": True, "name": output, "uri": str(path), "metadata": {}}}
        cache = self.folder / "cache"
        cache.mkdir(exist_ok=True)
        (cache / f"{run}-{step}.json").write_text(json.dumps(entry))
        return path

    def source(self, data: str) -> Path:
        """What a run reads, in a file that is called after its content."""
        path = self.folder / "sources" / f"{data.encode().hex()}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(data)
        os.utime(path, (STARTED, STARTED))
        return path

    def checkpoint(self, name: str, written: float) -> Path:
        """What a training that was stopped leaves behind."""
        path = self.folder / "checkpoints" / name
        path.mkdir(parents=True)
        (path / "a.npz").write_bytes(b"x")
        for one in (path / "a.npz", path):
            os.utime(one, (written, written))
        return path

    def push(self, run: str) -> None:
        """A version whose lineage names a run, and whose manifest names the run's model."""
        model = self.folder / "saved_model"
        model.mkdir(exist_ok=True)
        (model / "saved_model.pb").write_text(run)
        lineage = StepsFile.model_validate_json((self.folder / "runs" / run / "steps.json").read_text()).lineage
        artifacts = {"model": str(self.path(run, "train-model", "model"))}
        self.store.push(model, Provenance(model="taxi", lineage=lineage, artifacts=artifacts))

    def find(self, keep: int = 0, days: float = 0.0) -> Prunable:
        return find_prunable(self.folder, self.store, keep, days)

    def prune(self, keep: int = 0, days: float = 0.0) -> Prunable:
        return prune(self.folder, self.store, keep, days)

    @property
    def runs(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "runs").iterdir())

    @property
    def artifacts(self) -> list[str]:
        return sorted(f"{path.parent.name}/{path.name}" for path in (self.folder / "artifacts").glob("*/*"))

    @property
    def cache(self) -> list[str]:
        return sorted(path.stem for path in (self.folder / "cache").iterdir())


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "a home")


def test_prune_keeps_what_a_kept_run_was_given(home: Home) -> None:
    """By which it can be repeated."""
    (home.folder / "arguments").mkdir(parents=True)
    for number in (1, 2):
        home.run(f"taxi-{number}", "refused", STARTED + number * DAY)
        given = home.folder / "arguments" / f"{number:064}.json"
        steps = home.folder / "runs" / f"taxi-{number}" / "steps.json"
        given.write_text("{}")
        os.utime(given, (STARTED, STARTED))
        recorded = StepsFile.model_validate_json(steps.read_text())
        recorded.lineage = recorded.lineage.model_copy(update={"arguments_uri": str(given)})
        steps.write_text(recorded.model_dump_json())
    home.prune(keep=1)
    assert [path.name for path in (home.folder / "arguments").iterdir()] == [f"{2:064}.json"]


def test_prune_removes_a_run_with_its_artifacts_and_cache_entries(home: Home) -> None:
    home.run("taxi-1", "refused", STARTED)
    home.run("taxi-2", "refused", STARTED + DAY)
    found = home.prune(keep=1)
    assert [path.name for path in found.runs] == ["taxi-1"]
    assert found.size > 2 * 2**20
    assert home.runs == ["taxi-2"]
    assert home.artifacts == ["slipway-taxi-2/ingest-examples", "slipway-taxi-2/train-model"]
    assert not (home.folder / "artifacts" / "slipway-taxi-1").exists()
    assert home.cache == ["taxi-2-ingest-examples", "taxi-2-train-model"]
    assert home.find(keep=1) == Prunable([], [], [], [], 0)


def test_find_prunable_changes_nothing_and_finds_what_prune_removes(home: Home) -> None:
    home.run("taxi-1", "failed", STARTED)
    home.run("taxi-2", "refused", STARTED + DAY)
    before = sorted(home.folder.rglob("*"))
    found = home.find(keep=1)
    assert sorted(home.folder.rglob("*")) == before
    assert home.prune(keep=1) == found


def test_prune_keeps_the_artifacts_that_a_kept_run_was_served_from_the_cache(home: Home) -> None:
    home.run("taxi-1", "refused", STARTED)
    home.run("taxi-2", "refused", STARTED + DAY, "taxi-1")
    home.prune(keep=1)
    assert home.runs == ["taxi-2"]
    assert home.artifacts == ["slipway-taxi-1/ingest-examples", "slipway-taxi-2/train-model"]
    assert home.cache == ["taxi-1-ingest-examples", "taxi-2-train-model"]


def test_prune_keeps_them_too_where_the_home_lies_below_a_folder_called_artifacts(tmp_path: Path) -> None:
    home = Home(tmp_path / "artifacts" / "slipway")
    home.run("taxi-1", "refused", STARTED)
    home.run("taxi-2", "refused", STARTED + DAY, "taxi-1")
    home.prune(keep=1)
    assert home.artifacts == ["slipway-taxi-1/ingest-examples", "slipway-taxi-2/train-model"]


def test_prune_keeps_the_run_that_pushed_a_version_and_everything_that_its_manifest_names(home: Home) -> None:
    home.run("taxi-1", "pushed", STARTED)
    home.push("taxi-1")
    home.run("taxi-2", "refused", STARTED + DAY)
    home.run("taxi-3", "failed", STARTED + 2 * DAY)
    home.prune(keep=0)
    assert home.runs == ["taxi-1", "taxi-2"], "2 is the newest that succeeded: the next run is compared with it"
    assert [name for name in home.artifacts if "taxi-1" in name] == [
        "slipway-taxi-1/ingest-examples",
        "slipway-taxi-1/train-model",
    ]


def test_prune_without_the_record_of_the_run_keeps_what_the_manifest_names(home: Home) -> None:
    home.run("taxi-1", "pushed", STARTED)
    home.push("taxi-1")
    (home.folder / "runs" / "taxi-1" / "steps.json").write_text("{")
    home.prune(keep=0)
    assert "slipway-taxi-1/train-model" in home.artifacts


def test_prune_stops_where_a_manifest_cannot_be_read(home: Home) -> None:
    home.run("taxi-1", "pushed", STARTED)
    home.push("taxi-1")
    next((home.folder / "models" / "taxi" / ".manifests").iterdir()).write_text("{")
    with pytest.raises(StoreError, match="damaged"):
        home.prune(keep=0)
    assert home.runs == ["taxi-1"]


def test_prune_never_touches_a_running_run_nor_what_was_written_since_it_began(home: Home) -> None:
    home.run("taxi-1", "failed", STARTED)
    home.run("taxi-2", "running", STARTED + DAY, "taxi-1")
    unnamed = home.artifact("taxi-2", "evaluate-model", "evaluation", STARTED + DAY + 60)
    home.prune(keep=0)
    assert home.runs == ["taxi-2"]
    assert unnamed.is_dir()
    assert home.path("taxi-1", "ingest-examples", "examples").is_dir(), "the running run reads it"
    assert not home.path("taxi-1", "train-model", "model").exists()


def test_prune_takes_a_folder_that_was_just_made_for_a_run_that_begins(home: Home) -> None:
    (home.folder / "runs" / "taxi-9" / "logs").mkdir(parents=True)
    home.prune(keep=0)
    assert home.runs == ["taxi-9"]
    old = time.time() - DAY
    os.utime(home.folder / "runs" / "taxi-9", (old, old))
    home.prune(keep=0)
    assert home.runs == []


def test_prune_keeps_the_newest_of_each_module_and_those_that_are_young(home: Home) -> None:
    now = time.time()
    for age in (1, 5, 40):
        home.run(f"taxi-{age}", "failed", now - age * DAY)
    write_run(home.folder, "wine-50", "failed", started=now - 50 * DAY, module="wine")
    assert [path.name for path in home.find(keep=1).runs] == ["taxi-5", "taxi-40"]
    assert [path.name for path in home.find(days=30).runs] == ["taxi-40", "wine-50"]
    assert [path.name for path in home.find(keep=3, days=3).runs] == []
    assert [path.name for path in home.find(keep=1, days=10).runs] == ["taxi-40"]


def test_prune_keeps_the_runs_that_the_next_one_is_compared_with(home: Home) -> None:
    for day, data in enumerate(["monday", "tuesday", "wednesday", "wednesday"]):
        home.run(f"taxi-{day}", "refused", STARTED + day * DAY, data=data)
    home.prune(keep=0)
    assert home.runs == ["taxi-1", "taxi-3"], "the newest, and the newest on other data"


def test_prune_removes_cache_entries_of_artifacts_that_are_gone_already(home: Home) -> None:
    home.run("taxi-1", "refused", STARTED)
    shutil.rmtree(home.path("taxi-1", "train-model", "model").parent)
    home.prune(keep=1)
    assert home.cache == ["taxi-1-ingest-examples"]


def test_prune_counts_the_runs_of_each_pipeline(home: Home) -> None:
    for number, pipeline in enumerate(["training", "counting", "training"]):
        home.run(f"taxi-{number}", "failed", STARTED + number * DAY)
        for file, form in (("steps.json", StepsFile), ("summary.json", Summary)):
            path = home.folder / "runs" / f"taxi-{number}" / file
            content = json.loads(path.read_text())
            content["lineage"]["pipeline"] = pipeline
            path.write_text(form.model_validate(content).model_dump_json())
    home.prune(keep=1)
    assert home.runs == ["taxi-1", "taxi-2"]


def test_prune_removes_the_sources_that_no_kept_run_names(home: Home) -> None:
    home.run("taxi-1", "pushed", STARTED, data="monday")
    home.push("taxi-1")
    home.run("taxi-2", "failed", STARTED + DAY, data="tuesday")
    home.run("taxi-3", "failed", STARTED + 2 * DAY, data="wednesday")
    home.run("taxi-4", "failed", STARTED + 3 * DAY, data="wednesday")
    found = home.prune(keep=1)
    assert found.inputs == [home.folder / "sources" / f"{b'tuesday'.hex()}.json"]
    left = {bytes.fromhex(path.stem).decode() for path in (home.folder / "sources").iterdir()}
    assert left == {"monday", "wednesday"}, "a version's run, and a kept one"


def test_prune_removes_the_checkpoints_of_the_trainings_of_removed_runs(home: Home) -> None:
    removed, kept = home.checkpoint("one", STARTED + 60), home.checkpoint("two", STARTED + DAY + 60)
    home.run("taxi-1", "interrupted", STARTED)
    home.run("taxi-2", "interrupted", STARTED + DAY)
    assert removed in home.prune(keep=1).inputs
    assert (removed.exists(), kept.exists()) == (False, True)


def test_prune_keeps_the_checkpoints_that_a_running_run_writes(home: Home) -> None:
    home.run("taxi-1", "running", STARTED)
    home.run("taxi-2", "failed", STARTED + DAY)
    written = home.checkpoint("one", STARTED + DAY + 60)
    home.prune(keep=0)
    assert (home.runs, written.exists()) == (["taxi-1"], True)


def test_prune_removes_the_trials_that_no_kept_run_names(home: Home) -> None:
    searches = {name: home.folder / "tuning" / "taxi" / "0f" / f"{number}a" for number, name in enumerate(RUNS)}
    for day, (run, folder) in enumerate(searches.items()):
        home.run(run, "failed", STARTED + day * DAY)
        folder.mkdir(parents=True)
        (folder / "trial-0000.json").write_text("{}")
        os.utime(folder, (STARTED, STARTED))
        (home.folder / "runs" / run / "tuning.json").write_text(TuningRecord(trials_uri=str(folder)).model_dump_json())
    winner = searches["taxi-1"].with_name("winner.json")
    winner.write_text("{}")
    os.utime(winner, (STARTED, STARTED))
    assert searches["taxi-1"] in home.prune(keep=1).inputs
    assert [folder.exists() for folder in searches.values()] == [False, True]
    assert winner.exists(), "recurring runs reuse it"


def test_prune_of_an_empty_home_finds_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path / "none")
    assert home.prune(keep=0) == Prunable([], [], [], [], 0)
