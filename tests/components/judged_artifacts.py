"""Artifacts of a run as `push_model` gets them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from slipway.evaluation.results import Check, Evaluation, SliceResult, Verdict, write_evaluation
from slipway.evaluation.serving_checks import ServingCheck, ServingValidation, write_validation
from slipway.lineage import Lineage
from slipway.monitoring.baseline import Baseline, write_baseline
from slipway.monitoring.counts import Cells, Counts
from slipway.runs.record import NO_VERDICT, Outcome, RunContext
from slipway.runs.store import OUTCOME
from tests.model_files import write_model

WriteArtifacts = Callable[..., dict[str, str]]

LINEAGE = Lineage(run="run-1", module="taxi", module_digest="m", data_uri="trips.csv", git_revision="abc")


def write_artifacts(
    parent: Path, blessed: bool = True, servable: bool = True, baseline: str | None = None, seed: int = 1
) -> dict[str, str]:
    """Artifacts whose evaluation and serving validation say what the test wants."""
    folder = parent / f"artifacts-{blessed}-{servable}-{seed}"
    check = Check(metric="auc", rule="min", bound=0.9, value=0.95 if blessed else 0.8, examples=100,
                  outcome="passed" if blessed else "failed")  # fmt: skip
    evaluation = Evaluation(
        task="binary", label="y", engine="vectorised", examples=100, baseline_uri=baseline,
        verdict=Verdict(blessed=blessed, checks=[check]),
        overall=SliceResult(examples=100, candidate={"auc": check.value}),
    )  # fmt: skip
    write_evaluation(evaluation, folder / "evaluation")
    labels = Counts(cells=Cells(kind="category", values=["0", "1"]), counts=[80, 20, 0, 0])
    write_baseline(Baseline(rows=100, features={}, label="y", labels=labels), str(folder / "evaluation"))
    checks = [ServingCheck(name="raw", passed=servable, detail="" if servable else "NaN on 3 rows")]
    write_validation(ServingValidation(servable=servable, checks=checks), folder / "serving_validation")
    write_model(folder / "model", seed)
    return {name: str(folder / name) for name in ("model", "evaluation", "serving_validation")}


def admitted(run: Path, **artifacts: str) -> RunContext:
    """A run whose data admit_examples let pass."""
    outcome = Outcome(verdict=NO_VERDICT, reasons=[], data_digest="d", schema_digest="s", artifacts=artifacts)
    run.mkdir(exist_ok=True)
    (run / OUTCOME).write_text(outcome.model_dump_json())
    return RunContext(uri=str(run), lineage=LINEAGE)
