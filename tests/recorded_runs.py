"""Run directories as the runner, the steps and the exit handler leave them, written through the real models."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Literal

from components.admit_examples.run import admit
from components.record_run.run import record
from pipelines.training import TRAINING
from slipway.data.examples.dataset import MANIFEST, Manifest, RowCounts
from slipway.data.validation.report import Anomaly, Validation
from slipway.data.validation.report import write_validation as write_findings
from slipway.errors import AnomalyError
from slipway.evaluation.results import (
    CalibrationBin,
    Check,
    ConfusionMatrix,
    Curves,
    Evaluation,
    Histogram,
    PrecisionRecall,
    Roc,
    SliceResult,
    Verdict,
    write_evaluation,
)
from slipway.evaluation.serving_checks import ServingCheck, ServingValidation, write_validation
from slipway.lineage import Lineage
from slipway.runs.record import Outcome, RunContext, Step, StepsFile
from slipway.runs.store import OUTCOME, STEPS
from slipway.runs.training_log import HISTORY, Epoch, History
from tests.example_artifacts import write_examples

Ending = Literal["pushed", "refused", "bad-data", "failed", "interrupted", "running"]
STOPPED = {"bad-data": "admit_examples", "failed": "validate_examples", "interrupted": "train_model",
           "running": "train_model"}  # fmt: skip

NEEDS: dict[str, list[str]] = {
    "resolve_source": [],
    "ingest_examples": ["resolve_source"],
    "compute_statistics": ["ingest_examples"],
    "infer_schema": ["compute_statistics"],
    "validate_examples": ["compute_statistics", "infer_schema", "ingest_examples", "resolve_source"],
    "admit_examples": ["validate_examples"],
    "transform_features": ["admit_examples", "infer_schema", "ingest_examples"],
    "train_model": ["ingest_examples", "transform_features"],
    "resolve_baseline": ["train_model"],
    "evaluate_model": ["infer_schema", "ingest_examples", "resolve_baseline", "train_model"],
    "validate_serving": ["infer_schema", "ingest_examples", "train_model"],
    "push_model": ["evaluate_model", "train_model", "validate_serving"],
    "rollout_model": ["push_model"],
    "confirm_rollout": ["rollout_model"],
    "record_run": [],
}
SECONDS = (0.2, 0.8, 0.7, 0.3, 0.4, 0.1, 4.6, 7.2, 0.3, 1.4, 2.1, 0.5, 0.2, 0.1, 0.3)
STARTED = 1_750_000_000.0
NO_PROCESS = 2**22 + 1  # above Linux's largest process id
ARTIFACTS = ("examples", "statistics", "anomalies", "training_log", "evaluation", "serving_validation")
WHY_REFUSED = "auc 0.912 on payment_type=Cash is below 0.93 (n=1,204)"
WHY_FAILED = "trip_miles: column dropped: the column is missing (10,000 of 10,000 rows)"
VERSION = 1_750_000_100


def write_run(home: Path, name: str, ending: Ending, *, started: float = STARTED, module: str = "taxi") -> Path:
    """One run under `home`, in the state that `ending` names; answers its directory."""
    folder = home / "runs" / name
    (folder / "logs").mkdir(parents=True)
    lineage = Lineage(
        run=name,
        module=module,
        module_digest="ab" * 32,
        data_uri="/data/trips.csv",
        git_revision="c0ffee" + "0" * 34,
        image="slipway-python@sha256:" + "cd" * 32,
        started=started,
        started_by="ada@lab",
        seed=42,
        hyperparameters={"learning_rate": 0.001},
        shows=TRAINING.shows,
    )
    stopped = STOPPED.get(ending)
    steps = write_steps(folder, lineage, stopped, ending)
    if ending in ("pushed", "refused"):
        write_outcome(folder, ending == "pushed")
    if ending == "bad-data":
        admit_bad_data(folder, lineage)
    pid = os.getpid() if ending == "running" else NO_PROCESS
    recorded = StepsFile(lineage=lineage, pid=pid, steps=steps)
    (folder / STEPS).write_text(recorded.model_dump_json())
    if ending in ("pushed", "refused", "bad-data", "failed"):
        record(RunContext(uri=str(folder), lineage=lineage), "FAILED" if stopped else "SUCCEEDED", "")
        steps[-1].state, steps[-1].seconds = "succeeded", SECONDS[-1]
        for step in steps:
            step.state = "skipped" if step.state == "pending" else step.state
        recorded.finished = started + 20
        (folder / STEPS).write_text(recorded.model_dump_json())
    return folder


def write_steps(folder: Path, lineage: Lineage, stopped: str | None, ending: Ending) -> list[Step]:
    """The steps as far as they came, with the artifacts that tests read."""
    steps, now, ended = [], lineage.started, False
    for (name, needs), seconds in zip(NEEDS.items(), SECONDS, strict=True):
        step = Step(name=name, needs=needs)
        steps.append(step)
        if name == "record_run" and ending not in ("interrupted", "running"):
            step.state, step.started = "running", now
        elif ended:
            step.state = "pending"
        else:
            step.started, step.log = now, str(folder / "logs" / f"{name}.log")
            now += seconds
            ended = name == stopped
            if not ended:
                step.state, step.seconds, step.peak_mib = "succeeded", seconds, 250.0
                step.cached = name == "compute_statistics"
                step.outputs = outputs_of(folder / "artifacts", name, bad=ending == "bad-data")
            elif ending in ("bad-data", "failed"):
                step.state, step.seconds, step.error = "failed", seconds, WHY_FAILED
                step.outputs = outputs_of(folder / "artifacts", name, bad=True)
            else:
                step.state, step.cached = "running", True  # as a record says until the step was executed
        step.artifacts = {output: uri for output, uri in step.outputs.items() if output not in ("page", "baseline")}
    return steps


def outputs_of(artifacts: Path, step: str, *, bad: bool = False) -> dict[str, str]:
    """Writes a step's artifacts; answers their URIs as the runner records them."""
    if step == "ingest_examples":
        folder = artifacts / "examples"
        folder.mkdir(parents=True)
        rows = RowCounts(read=14_169, quarantined=12, train=9_438, eval=4_719)
        manifest = Manifest(source={}, rows=rows, files=[], columns={}, label="big_tip", digest="ef" * 32)
        (folder / MANIFEST).write_text(manifest.model_dump_json())
        return {"examples": str(folder)}
    if step == "compute_statistics":
        folder = artifacts / "statistics"
        folder.mkdir(parents=True)
        (folder / "statistics.pb").write_bytes(statistics())
        return {"statistics": str(folder), "page": str(artifacts / "page.html")}
    if step == "validate_examples":
        folder = artifacts / "anomalies"
        missing = Anomaly(feature="trip_miles", split="train", severity="ERROR", type="SCHEMA_MISSING_COLUMN",
                          short="Column dropped", description="The column is missing.", rows=9_438, of_rows=9_438,
                          fix="put the column back, or take it out of schema.pbtxt")  # fmt: skip
        write_findings(Validation(anomalies=[missing] if bad else []), str(folder))
        return {"anomalies": str(folder)}
    if step == "train_model":
        folder = artifacts / "training_log"
        folder.mkdir(parents=True)
        (folder / HISTORY).write_text(history().model_dump_json())
        return {"training_log": str(folder)}
    if step == "resolve_baseline":
        return {"baseline": "/store/taxi/1749999999"}
    if step == "evaluate_model":
        folder = artifacts / "evaluation"
        folder.mkdir(parents=True)
        write_evaluation(evaluation(), folder)
        return {"evaluation": str(folder), "page": str(artifacts / "page.html")}
    if step == "validate_serving":
        folder = artifacts / "serving_validation"
        folder.mkdir(parents=True)
        checks = [ServingCheck(name="golden answers", passed=True, detail="32 rows within 1e-6")]
        write_validation(ServingValidation(servable=True, checks=checks), folder)
        return {"serving_validation": str(folder)}
    return {}


@cache
def statistics() -> bytes:
    """Real statistics of 200 rows."""
    from slipway.data.statistics.compute import compute_statistics

    miles = [round(index**1.5 / 50, 2) if index % 9 else None for index in range(200)]
    kinds = ["Cash", "Credit Card", "Cash", None] * 50
    with tempfile.TemporaryDirectory() as folder:
        splits = ({"trip_miles": miles[part], "payment_type": kinds[part]} for part in (slice(130), slice(130, 200)))
        write_examples(Path(folder), *splits)
        content: bytes = compute_statistics(folder).SerializeToString()
    return content


def history() -> History:
    """Six epochs, stopped early."""
    epochs = [
        Epoch(
            epoch=number,
            loss=0.2 + 0.3 / number,
            val_loss=0.22 + 0.28 / number,
            metrics={"auc": 0.95 - 0.1 / number, "val_auc": 0.94 - 0.1 / number},
            seconds=0.8,
        )
        for number in range(1, 7)
    ]
    return History(epochs=epochs, best_epoch=6, stopped="early_stopping", parameters=12_345, train_rows=8_495,
                   validation_rows=943, seconds=4.9)  # fmt: skip


def write_outcome(folder: Path, pushed: bool) -> None:
    """What push_model leaves; a refused model's evaluation has a failed check."""
    artifacts = {name: str(folder / "artifacts" / name) for name in ARTIFACTS}
    if not pushed:
        refused = evaluation()
        cash = Check(metric="auc", slice="payment_type=Cash", rule="min", bound=0.93, value=0.912, examples=1204,
                     outcome="failed")  # fmt: skip
        refused.verdict = Verdict(blessed=False, checks=[cash, *refused.verdict.checks])
        write_evaluation(refused, artifacts["evaluation"])
    outcome = Outcome(
        verdict="pushed" if pushed else "refused",
        reasons=["auc 0.956 is at least 0.93 (n=4,719)"] if pushed else [WHY_REFUSED],
        version=VERSION if pushed else None,
        path=f"/store/taxi/{VERSION}" if pushed else None,
        data_digest="ef" * 32,
        artifacts=artifacts,
    )
    (folder / OUTCOME).write_text(outcome.model_dump_json())


def admit_bad_data(folder: Path, lineage: Lineage) -> None:
    """What admit_examples leaves, as it fails."""
    anomalies = str(folder / "artifacts" / "anomalies")
    data = {name: str(folder / "artifacts" / name) for name in ("examples", "statistics")}
    metadata = {"data_digest": "ef" * 32, "schema_digest": ""} | {f"{name}_uri": uri for name, uri in data.items()}
    with suppress(AnomalyError):
        admit(anomalies, anomalies, metadata, RunContext(uri=str(folder), lineage=lineage))


def evaluation() -> Evaluation:
    """A blessed model, a little better than production."""
    names = ("auc", "auc_pr", "log_loss", "accuracy", "balanced_accuracy", "precision", "recall", "f1",
             "calibration", "mean_prediction", "mean_label")  # fmt: skip
    ours = dict(zip(names, (0.956, 0.87, 0.19, 0.91, 0.88, 0.8, 0.82, 0.81, 1.02, 0.23, 0.225), strict=True))
    theirs: dict[str, float | None] = {name: value * 0.99 for name, value in ours.items()}
    pay = ["payment_type"]
    cash = SliceResult(columns=pay, values=["Cash"], examples=1204, candidate=ours | {"auc": 0.912}, baseline=theirs)
    none = SliceResult(columns=pay, values=[None], examples=130, candidate=ours | {"auc": None}, baseline=theirs)
    check = Check(metric="auc", rule="min", bound=0.93, value=0.956, examples=4719, outcome="passed")
    return Evaluation(
        task="binary",
        label="big_tip",
        classes=["false", "true"],
        engine="vectorised",
        examples=4719,
        baseline_uri="/store/taxi/1749999999",
        verdict=Verdict(blessed=True, checks=[check]),
        overall=SliceResult(examples=4719, candidate=dict(ours), baseline=theirs),
        slices=[cash, none],
        worst=[cash],
        worst_metric="auc",
        curves=Curves(
            roc=Roc(thresholds=[1, 0.5, 0], false_positive_rate=[0, 0.1, 1], true_positive_rate=[0, 0.9, 1]),
            precision_recall=PrecisionRecall(thresholds=[1, 0.5, 0], precision=[1, 0.8, 0.2], recall=[0, 0.8, 1]),
            calibration=[
                CalibrationBin(lower=0, upper=0.5, examples=3700, mean_prediction=0.1, mean_label=0.09),
                CalibrationBin(lower=0.5, upper=1, examples=1019, mean_prediction=0.8, mean_label=0.82),
            ],
            histogram=Histogram(edges=[0, 0.5, 1], counts={"false": [3500, 160], "true": [210, 849]}),
            confusion_matrix=ConfusionMatrix(classes=["false", "true"], counts=[[3500, 160], [210, 849]]),
        ),
    )
