"""What repeats a run, by its record: the same arguments, data and code, or the name of what is gone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from delivery.again import differences, repeat_run
from delivery.environment import Environment, open_environment
from delivery.launch import RunRequest
from delivery.submission import local_request, remote_request
from delivery.targets.base import RemoteRun, Target, wait
from settings.load import PROJECT
from slipway.data.examples.dataset import MANIFEST, Manifest, RowCounts
from slipway.data.examples.source import Join, Source, read_source
from slipway.data.snapshots.resolve import resolve
from slipway.data.snapshots.take import take_snapshot
from slipway.errors import ConfigError, DataError
from slipway.lineage import Lineage
from slipway.runs.record import RunContext, Step, StepsFile, Summary
from slipway.runs.store import RunView, load_run
from slipway.stores import storage
from tests.cli.commands import slipway
from tests.compiled.specs import IMAGE, tasks
from tests.fakes.kubeflow import FakeKubeflow

COLUMNS = "trip_start_hour,trip_start_day,trip_start_timestamp,payment_type,company,fare,tips\n"
METRICS = {"auc": 0.9, "log_loss": 0.1 + 0.2}


def record(folder: str, lineage: Lineage, source: Source) -> None:
    """What a run leaves: its summary, and the manifest of its examples."""
    examples = storage.join(folder, "examples")
    rows = RowCounts(read=1, quarantined=0, train=1, eval=0)
    manifest = Manifest(source=source.model_dump(mode="json"), rows=rows, files=[], columns={}, label="x", digest="d")
    storage.write_text(storage.join(examples, MANIFEST), manifest.model_dump_json())
    summary = Summary(
        lineage=lineage, state="succeeded", metrics=METRICS, artifacts={"examples": examples}, finished=2.0
    )
    storage.write_text(storage.join(folder, "summary.json"), summary.model_dump_json())


class Past:
    """A run of this machine that has ended, as its record says."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "trips.csv"
        self.data.write_text(COLUMNS)
        self.uri = str(self.data)
        self.overrides: list[str] = []
        self.request: RunRequest

    @property
    def environment(self) -> Environment:
        return open_environment(None, self.overrides)

    def run(self, **lineage: Any) -> RunView:
        self.request = local_request(self.environment, "taxi", self.uri, notify=False)
        folder = RunContext.model_validate_json(self.request.arguments["run"]).uri
        its = self.request.lineage.model_copy(update=lineage)
        steps = StepsFile(lineage=its, pid=1, pid_started=1, steps=[Step(name="a", state="succeeded")], finished=2.0)
        storage.write_text(storage.join(folder, "steps.json"), steps.model_dump_json())
        arguments = self.request.arguments
        joins = TypeAdapter(list[Join]).validate_json(arguments["features"])
        record(folder, its, resolve(arguments["data_uri"], 1, arguments["snapshots_uri"], joins))
        return load_run(self.environment.local.runs, self.request.lineage.run)


@pytest.fixture
def past(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Past:
    monkeypatch.delenv("SLIPWAY_ENV", raising=False)
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path / "home"))
    return Past(tmp_path)


def given(request: RunRequest) -> dict[str, Any]:
    """What the steps are given, but what tells runs apart."""
    return {name: value for name, value in request.arguments.items() if name not in ("run", "data_uri")}


def test_repeat_has_the_arguments_of_the_run_though_settings_changed(past: Past) -> None:
    past.overrides = ["training.epochs=3", "hyperparameters.dropout=0.1", "evaluation.engine=tfma"]
    view = past.run()
    past.overrides = []
    repeat = repeat_run(past.environment, view)
    assert given(repeat.request) == given(past.request)
    assert repeat.request.arguments["epochs"] == 3
    assert repeat.request.lineage.overrides == past.request.lineage.overrides
    assert (repeat.request.lineage.repeats, repeat.differs) == (view.name, ())
    assert repeat.request.lineage.run != view.name
    assert json.loads(storage.read_text(repeat.request.lineage.arguments_uri))["epochs"] == 3


def test_repeat_reads_the_source_of_the_run_and_no_file_that_came_since(past: Past, tmp_path: Path) -> None:
    past.uri = str(tmp_path / "*.csv")
    view = past.run()
    (tmp_path / "newer.csv").write_text(COLUMNS)
    repeat = repeat_run(past.environment, view)
    source = read_source(repeat.request.arguments["data_uri"])
    assert [file.uri for file in source.files] == [str(past.data)]
    assert resolve(repeat.request.arguments["data_uri"], 1, past.environment.local.data) == source
    assert repeat.request.lineage.data_uri == past.uri


def test_repeat_of_a_snapshot_names_it(past: Past) -> None:
    take_snapshot(past.uri, "one", past.environment.local.data)
    past.uri = "snapshot:one"
    view = past.run()
    past.data.unlink()
    assert repeat_run(past.environment, view).request.lineage.data_uri == "snapshot:one"


def change_data(past: Past) -> None:
    past.data.write_text(f"{COLUMNS}1\n")


def remove_data(past: Past) -> None:
    past.data.unlink()


def remove_code(past: Past) -> None:
    storage.delete_folder(past.request.arguments["model_uri"])


def remove_examples(past: Past) -> None:
    folder = RunContext.model_validate_json(past.request.arguments["run"]).uri
    storage.delete_folder(storage.join(folder, "examples"))


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        (change_data, ["trips.csv was changed: it was "]),
        (remove_data, ["trips.csv is gone"]),
        (remove_code, ["code: ", " is gone", "slipway sync"]),
        (remove_examples, ["its examples are gone: "]),
    ],
)
def test_what_is_gone_or_changed_is_named_before_anything_runs(
    past: Past, change: Callable[[Past], None], facts: list[str]
) -> None:
    view = past.run()
    change(past)
    with pytest.raises(DataError) as raised:
        repeat_run(past.environment, view)
    assert [fact for fact in (view.name, *facts) if fact not in str(raised.value)] == []


def test_snapshot_of_another_time_under_the_same_name_is_named(past: Past) -> None:
    root = past.environment.local.data
    take_snapshot(past.uri, "one", root)
    past.uri = "snapshot:one"
    view = past.run()
    storage.delete_folder(root)
    with pytest.raises(DataError, match="there is no snapshot 'one'"):
        repeat_run(past.environment, view)
    change_data(past)
    take_snapshot(str(past.data), "one", root)
    with pytest.raises(DataError, match="snapshot:one is another snapshot now"):
        repeat_run(past.environment, view)


@pytest.fixture
def view(past: Past, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A shared feature over the snapshot `facts`, which taxi joins."""
    project = tmp_path / "project"
    shutil.copytree(PROJECT / "modules" / "taxi", project / "modules" / "taxi")
    with (project / "modules" / "taxi" / "module.yaml").open("a") as file:
        file.write(
            "features: [{view: company/daily, columns: [trips]}]\ningestion: {event_time: trip_start_timestamp}\n"
        )
    monkeypatch.setenv("SLIPWAY_MODULES", str(project / "modules"))
    (tmp_path / "facts.csv").write_text("company,known,trips\nx,2020-01-01T00:00:00Z,1\n")
    take_snapshot(str(tmp_path / "facts.csv"), "facts", past.environment.local.data)
    path = project / "features" / "company" / "daily.sql"
    path.parent.mkdir(parents=True)
    header = {"description": "Trips", "owner": "ann", "keys": ["company"], "time": "known", "data": "snapshot:facts"}
    path.write_text(f"-- {json.dumps(header)}\nSELECT company, known, trips FROM data\n")
    return path


def test_repeat_joins_the_features_of_the_run(past: Past, view: Path) -> None:
    run = past.run()
    manifest = Manifest.model_validate_json(storage.read_text(storage.join(run.uri, "examples", MANIFEST)))
    recorded = Source.model_validate(manifest.source)
    assert run.summary.lineage.features_data == {"company/daily": "snapshot:facts"}
    view.unlink()
    repeat = repeat_run(past.environment, run)
    arguments = repeat.request.arguments
    source = resolve(arguments["data_uri"], 1, arguments["snapshots_uri"])
    (joined,) = source.features
    assert (joined.join.sql, joined.source.uri) == ("SELECT company, known, trips FROM data", "snapshot:facts")
    assert source.digest == recorded.digest
    assert repeat.request.lineage.features_data == {"company/daily": "snapshot:facts"}


@pytest.mark.parametrize("how", ["changed", "gone"])
def test_data_of_features_that_changed_are_named(past: Past, view: Path, tmp_path: Path, how: str) -> None:
    view.write_text(view.read_text().replace("snapshot:facts", str(tmp_path / "facts.csv")))
    run = past.run()
    (tmp_path / "facts.csv").unlink()
    if how == "changed":
        (tmp_path / "facts.csv").write_text("company,known,trips\n")
    with pytest.raises(DataError, match=rf"facts.csv .*{how}"):
        repeat_run(past.environment, run)


def test_snapshot_of_features_is_looked_for_where_it_is(
    past: Past, view: Path, remote_home: str, tmp_path: Path
) -> None:
    """The rows are a file of this machine."""
    local, shared = past.environment.local.data, past.environment.remote.data
    take_snapshot(str(tmp_path / "facts.csv"), "shared-facts", shared)
    for name, root in (("facts", local), ("shared-facts", shared)):
        view.write_text(view.read_text().replace("snapshot:facts", f"snapshot:{name}"))
        request = local_request(past.environment, "taxi", past.uri, notify=False)
        assert request.arguments["snapshots_uri"] == root


def test_run_of_an_older_slipway_says_what_comes_nearest(past: Past) -> None:
    view = past.run(arguments_uri="")
    with pytest.raises(ConfigError, match=rf"does not say what it was given.*slipway run taxi --data {past.uri}"):
        repeat_run(past.environment, view)


def test_other_code_of_the_steps_is_told(past: Past) -> None:
    view = past.run(image="slipway-python@sha256:" + "0" * 64)
    repeat = repeat_run(past.environment, view)
    assert len(repeat.differs) == 1
    assert repeat.request.lineage.image == past.environment.code_image


def test_search_is_not_made_again(past: Past) -> None:
    past.overrides = ["search_space.dropout={min: 0.1, max: 0.2}"]
    view = past.run()
    values = {"hyperparameters": {"dropout": 0.15}, "training": {}}
    found = {"values": values, "changed": ["hyperparameters.dropout"], "ended": "trials", "winner": 1, "value": 0.9,
             "metric": "auc", "better": "high", "target": None, "trials": 1, "failed": 0, "seconds": 1.0,
             "found_at": 1.0}  # fmt: skip
    storage.write_text(storage.join(view.uri, "tuning.json"), json.dumps({"tuned": found}))
    repeat = repeat_run(past.environment, load_run(past.environment.local.runs, view.name))
    assert past.request.arguments["search"]
    assert repeat.request.arguments["search"] == ""
    assert json.loads(repeat.request.arguments["tuned"])["hyperparameters"] == {"dropout": 0.15}


@pytest.mark.parametrize(
    ("metrics", "changed"),
    [
        (METRICS, {}),
        ({"auc": 0.9, "log_loss": 0.3}, {"log_loss": (0.1 + 0.2, 0.3)}),
        ({"auc": 0.9}, {"log_loss": (0.1 + 0.2, None)}),
    ],
)
def test_metrics_are_compared_to_the_digit(past: Past, metrics: dict[str, float], changed: dict[str, Any]) -> None:
    view = past.run()
    after = RunView("b", view.uri, [], view.summary.model_copy(update={"metrics": metrics}))
    assert differences(view, after) == changed


def uploaded(version: dict[str, Any]) -> tuple[dict[str, Any], Lineage]:
    """The spec of an uploaded pipeline, and the lineage that its steps are given."""
    spec: dict[str, Any] = version["pipeline_spec"]
    given = [task.get("inputs", {}).get("parameters", {}).get("run") for task in tasks(spec).values()]
    text = next(one["runtimeValue"]["constant"] for one in given if one)
    return spec, RunContext.model_validate_json(text).lineage


def test_run_of_a_cluster_is_repeated_there(
    kubeflow: FakeKubeflow, remote_home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With images and accelerators of then, though the settings have others, and no step from the cache."""
    runs, data = open_environment().remote.runs, open_environment().remote.data

    def end(run: str, version: dict[str, Any]) -> None:
        """Stands in for the steps, which the fake does not run."""
        lineage = uploaded(version)[1].model_copy(update={"run": run})
        record(storage.join(runs, run), lineage, resolve("snapshot:one", 1, data))

    (tmp_path / "trips.csv").write_text(COLUMNS)
    slipway("data", "snapshot", str(tmp_path / "trips.csv"), "--name", "one")
    old_image = IMAGE.replace("0" * 8, "1" * 8)
    old_gpu_image = old_image.replace("1" * 8, "2" * 8)
    gpus = ("compute.train_model.accelerator.kubeflow=nvidia.com/gpu", "compute.train_model.count=2",
            "distribution.strategy=mirrored", f"gpu_image={old_gpu_image}")  # fmt: skip
    made = ("--set", "training.epochs=3", "--image", old_image, "--data", "snapshot:one")
    asked = [word for pair in gpus for word in ("--set", pair)]
    run = slipway("submit", "taxi", "--target", "kubeflow", *made, *asked).stdout.split()[1]
    [before] = kubeflow.versions.values()
    end(run, before)

    def ended(cluster: Target, run_id: str, on_change: Callable[[RemoteRun], None]) -> RemoteRun:
        found = wait(cluster, run_id, on_change)
        end(found.name, next(one for one in kubeflow.versions.values() if one is not before))
        return found

    monkeypatch.setattr("delivery.targets.base.wait", ended)
    done = slipway("run", "--again", run, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["same_metrics"], told["repeats"], told["target"]) == (True, run, "kubeflow")
    first, second = (one["runtime_config"]["parameters"] for one in kubeflow.runs.values())
    assert [first["epochs"], second["epochs"]] == [3, 3]
    assert read_source(second["data_uri"]).uri == "snapshot:one"
    [again] = [one for one in kubeflow.versions.values() if one is not before]
    spec, lineage = uploaded(again)
    assert (lineage.repeats, lineage.image, lineage.data_uri) == (run, old_image, "snapshot:one")
    assert not any(task.get("cachingOptions", {}).get("enableCache") for task in tasks(spec).values())
    assert IMAGE not in json.dumps(spec)
    train = spec["deploymentSpec"]["executors"]["exec-train-model"]["container"]
    assert train["image"] == lineage.gpu_image == old_gpu_image
    assert train["resources"]["accelerator"]["resourceCount"] == "2", "of which the settings say nothing now"


def test_run_of_a_package_keeps_what_the_package_was_compiled_with(kubeflow: FakeKubeflow, tmp_path: Path) -> None:
    package, data = tmp_path / "training.yaml", "gs://bucket/trips.csv"
    made = ("--data", data, "--set", "training.epochs=3")
    slipway("compile", "taxi", "--target", "kubeflow", "-o", str(package), *made)
    done = slipway("submit", "taxi", "--target", "kubeflow", "--package", str(package))
    assert done.exit_code == 0, done.output
    [version] = kubeflow.versions.values()
    kept = json.loads(storage.read_bytes(uploaded(version)[1].arguments_uri))
    wanted = remote_request(open_environment(None, made[3:]), "kubeflow", "taxi", data, publish=False).arguments
    unused = {"run", "tuning_uri", "tuning_accelerator"}  # nothing is searched
    assert kept == {name: value for name, value in wanted.items() if name not in unused}


@pytest.mark.parametrize("more", [("--data", "x.csv"), ("--set", "training.epochs=1"), ("--require-push",)])
def test_again_takes_all_else_from_the_record(past: Past, more: tuple[str, ...]) -> None:
    done = slipway("run", "--again", "taxi", *more)
    assert done.exit_code == 2
    assert "the record says all else" in " ".join(done.output.split())


def test_again_of_another_module_is_refused(past: Past) -> None:
    past.run()
    done = slipway("run", "loan", "--again", "taxi")
    assert done.exit_code == 2
    assert "is a run of taxi" in " ".join(done.output.replace("│", " ").split())
