"""What a person can do with a compiled pipeline on Kubeflow's page "Create run", and what the record shows of it."""

from __future__ import annotations

import json
import urllib.request
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml

from delivery.compile import Destination, compile_pipeline
from delivery.launch import request_run
from delivery.overrides import override_module
from modules.taxi.sample import write_sample
from pipelines.registry import Locations, Platform
from settings.load import PROJECT
from slipway.fields import FIELDS
from slipway.module_kit.check import check_module
from slipway.runs.record import Summary
from tests.compiled.specs import IMAGE, add_implied_edges, golden_spec, tasks
from tests.delivery.targets.places import on_kubeflow
from tests.delivery.targets.submissions import submission
from tests.fakes.kubeflow import FakeKubeflow
from tests.pipelines import counting


@pytest.fixture
def version(kubeflow: FakeKubeflow) -> dict[str, Any]:
    """A version of the pipeline that a submission uploaded."""
    on_kubeflow(kubeflow).submit(submission("kubeflow"))
    kubeflow.runs.clear()
    [uploaded] = kubeflow.versions.values()
    return uploaded


def form(version: dict[str, Any]) -> dict[str, Any]:
    """What the form sends where nothing was typed (frontend/src/lib/NewRunParametersUtils.ts)."""
    takes = version["pipeline_spec"]["root"]["inputDefinitions"]["parameters"]
    assert all("defaultValue" in its for its in takes.values()), "Start stays grey: Missing parameter."
    return {name: its["defaultValue"] for name, its in takes.items()}


def create_run(kubeflow: FakeKubeflow, version: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Does as frontend/src/pages/NewRunV2.tsx."""
    experiment = next(iter(kubeflow.experiments))
    reference = {name: version[name] for name in ("pipeline_id", "pipeline_version_id")}
    body = {"display_name": f"Run of {version['display_name']} (a1b2c)", "description": "", "runtime_config": config,
            "experiment_id": experiment, "pipeline_version_reference": reference}  # fmt: skip
    request = urllib.request.Request(
        f"{kubeflow.url}/apis/v2beta1/runs", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        created: dict[str, Any] = json.load(answer)
    return created


def test_form_has_few_fields_each_with_a_value_and_a_description(version: dict[str, Any]) -> None:
    assert {name for name, value in form(version).items() if value != ""} == set(FIELDS)
    takes = version["pipeline_spec"]["root"]["inputDefinitions"]["parameters"]
    assert all(its["description"] for its in takes.values())
    assert not {its["parameterType"] for its in takes.values()} & {"STRUCT", "LIST"}
    assert version["pipeline_spec"]["defaultPipelineRoot"].startswith("gs://")
    texts = [value for value in form(version).values() if isinstance(value, str)]
    assert not any("\n" in text for text in texts), "the form strips line breaks"


@pytest.mark.parametrize("changed", [None, {}, {"epochs": 3, "data_uri": "gs://bucket/may.csv"}])
def test_run_is_created_and_listed_with_what_was_given(
    kubeflow: FakeKubeflow, version: dict[str, Any], changed: dict[str, Any] | None
) -> None:
    config = {} if changed is None else {"parameters": form(version) | changed}
    created = create_run(kubeflow, version, config)
    [listed] = on_kubeflow(kubeflow).list(5)
    assert (listed.id, listed.name) == (created["run_id"], f"taxi-{created['run_id']}")
    assert (listed.labels["module"], listed.labels["git-revision"]) == ("taxi", "2" * 40)


def test_every_field_reaches_the_steps_that_use_it_and_all_that_record_it() -> None:
    spec = golden_spec("kubeflow")
    group = tasks(spec)["slipway_training"]["inputs"]["parameters"]
    assert {source["componentInputParameter"] for source in group.values()} == set(FIELDS)
    takes: dict[str, set[str]] = {}
    for step, task in tasks(spec).items():
        for name, source in task.get("inputs", {}).get("parameters", {}).items():
            if source.get("componentInputParameter", "").removeprefix("pipelinechannel--") == name:
                takes.setdefault(name, set()).add(step)
    recording = {"admit_examples", "push_model", "rollout_model", "confirm_rollout", "record_run"}
    assert takes == {
        "data_uri": recording | {"resolve_source"},
        "window": recording | {"resolve_source"},
        "epochs": recording | {"train_model"},
        "seed": recording | {"train_model"},
        "hyperparameters": recording | {"train_model"},
    }


def run_compiled(home: Path, pipeline: str, data: Path, **fields: Any) -> Summary:
    """Runs what is compiled for Kubeflow on this machine, with the fields of a form; answers the run's record."""
    from kfp import components, local

    module = PROJECT / "modules" / "taxi"
    config = override_module(check_module(module), {"training": {"epochs": 2}})
    platform = Platform("kubeflow", IMAGE)
    request = request_run(module, config, str(data), Locations.under(str(home)), platform, pipeline=pipeline)
    package = home / "package.yaml"
    compile_pipeline(pipeline, Destination("kubeflow", IMAGE, {}, "gs://bucket", {"activeDeadlineSeconds": 60}),
                     request.arguments, package)  # fmt: skip
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(home / "artifacts"))
    with warnings.catch_warnings(action="ignore"):  # resources mean nothing here
        # kfp.local knows no time of creation.
        text = package.read_text().replace("{{$.pipeline_job_create_time_utc}}", "2026-01-02T03:04:05Z")
        documents = [*yaml.safe_load_all(text)]
        add_implied_edges(documents[0])  # kfp.local knows no others
        components.load_component_from_text(yaml.safe_dump_all(documents))(**fields)
    [record] = (home / "runs").glob("*/summary.json")
    assert record.parent.name.startswith("taxi-")
    return Summary.model_validate_json(record.read_text())


def test_run_without_a_field_changed_is_recorded_as_compiled(tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("x\n1\n")
    summary = run_compiled(tmp_path, counting.COUNTING.name, rows)
    assert (summary.verdict, summary.lineage.data_uri) == ("short", str(rows))
    assert summary.lineage.overrides == {"training.epochs": 2}


def test_run_with_other_data_is_recorded_with_them(tmp_path: Path) -> None:
    compiled, chosen = tmp_path / "rows.csv", tmp_path / "chosen.csv"
    chosen.write_text("x\n" + "1\n" * 2000)
    summary = run_compiled(tmp_path, counting.COUNTING.name, compiled, data_uri=str(chosen))
    assert (summary.verdict, summary.lineage.data_uri) == ("enough", str(chosen))


@pytest.mark.slow
def test_training_with_other_epochs_seed_and_hyperparameters_is_recorded_with_them(tmp_path: Path) -> None:
    data = tmp_path / "trips.csv"
    write_sample(data, rows=3_000)
    fields = {"epochs": 1, "seed": 7, "hyperparameters": '{"embedding": 4}'}
    lineage = run_compiled(tmp_path, "training", data, **fields).lineage
    assert lineage.overrides == {"training.epochs": 1, "training.seed": 7, "hyperparameters.embedding": 4}
    assert (lineage.seed, lineage.hyperparameters["embedding"]) == (7, 4)
    [history] = (tmp_path / "artifacts").glob("*/train-model/training_log/history.json")
    assert len(json.loads(history.read_text())["epochs"]) == 1
