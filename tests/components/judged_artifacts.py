"""Artifacts of a run as `push_model` gets them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from slipway.data.examples.dataset import MANIFEST, Manifest, RowCounts
from slipway.evaluation.results import Check, Evaluation, SliceResult, Verdict, write_evaluation
from slipway.evaluation.serving_checks import ServingCheck, ServingValidation, write_validation
from tests.model_files import write_model

WriteArtifacts = Callable[..., dict[str, str]]


def write_artifacts(
    parent: Path, blessed: bool = True, servable: bool = True, baseline: str | None = None, seed: int = 1
) -> dict[str, str]:
    """Artifacts whose evaluation and serving validation say what the test wants."""
    folder = parent / f"artifacts-{blessed}-{servable}-{seed}"
    for name in ("examples", "schema", "statistics"):
        (folder / name).mkdir(parents=True)
    manifest = Manifest(
        source={},
        rows=RowCounts(read=3, quarantined=0, train=2, eval=1),
        files=[],
        columns={},
        label="y",
        digest="d",
    )
    (folder / "examples" / MANIFEST).write_text(manifest.model_dump_json())
    (folder / "schema" / "schema.pbtxt").write_text("")
    check = Check(metric="auc", rule="min", bound=0.9, value=0.95 if blessed else 0.8, examples=100,
                  outcome="passed" if blessed else "failed")  # fmt: skip
    evaluation = Evaluation(
        task="binary", label="y", engine="vectorised", examples=100, baseline_uri=baseline,
        verdict=Verdict(blessed=blessed, checks=[check]),
        overall=SliceResult(examples=100, candidate={"auc": check.value}),
    )  # fmt: skip
    write_evaluation(evaluation, folder / "evaluation")
    checks = [ServingCheck(name="raw", passed=servable, detail="" if servable else "NaN on 3 rows")]
    write_validation(ServingValidation(servable=servable, checks=checks), folder / "serving_validation")
    write_model(folder / "model", seed)
    names = ("examples", "schema", "statistics", "model", "evaluation", "serving_validation")
    return {name: str(folder / name) for name in names}
