"""The work of evaluate_model: predict, compute, judge, write."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from components.evaluate_model.scoring import Scored, score
from slipway.data.beam import BeamConfig
from slipway.data.schema.io import read_schema
from slipway.evaluation.chance import check_beats_constant
from slipway.evaluation.config import parse_evaluation_config
from slipway.evaluation.curves import trace_curves
from slipway.evaluation.gate import judge
from slipway.evaluation.metrics import compute_metrics, invalid_predictions
from slipway.evaluation.page import evaluation_page
from slipway.evaluation.results import Evaluation, write_evaluation
from slipway.evaluation.slices import Slicing, slice_rows
from slipway.evaluation.tables import RANKED_BY, Measured, MetricTable, Predictions, list_slices, worst_slices
from slipway.evaluation.tfma.files import write_tfma_files
from slipway.stores import storage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slipway.evaluation.config import EvaluationConfig


class MetricsArtifact(Protocol):
    """What is used of `kfp.dsl.Metrics`."""

    def log_metric(self, metric: str, value: float) -> None:
        """Shows one number in the Kubeflow UI."""


class ClassificationMetricsArtifact(Protocol):
    """What is used of `kfp.dsl.ClassificationMetrics`."""

    def log_roc_curve(self, fpr: list[float], tpr: list[float], threshold: list[float]) -> None:
        """Shows a ROC curve in the Kubeflow UI."""

    def log_confusion_matrix(self, categories: list[str], matrix: list[list[int]]) -> None:
        """Shows a confusion matrix in the Kubeflow UI."""


def evaluate(
    examples_path: str,
    schema_path: str,
    model_path: str,
    baseline_uri: str,
    evaluation_config: dict[str, Any],
    beam: dict[str, Any],
    evaluation_path: str,
    metrics: MetricsArtifact,
    classification_metrics: ClassificationMetricsArtifact,
    page_path: str,
) -> Evaluation:
    """Judges a model on the eval split; the arguments are those of the component.

    Raises:
        ConfigError: the thresholds do not fit the task, or a slice column is not in the data.
        DataError: there is nothing to evaluate on, or a label is no class.
        GateError: the candidate cannot be loaded or scored.
        StoreError: the examples are not whole, or the baseline cannot be fetched.
    """
    config = parse_evaluation_config(evaluation_config)
    schema = read_schema(schema_path)
    with _fetched(baseline_uri) as baseline_path:
        if config.engine == "tfma":
            from components.evaluate_model.tfma_engine import measure_on_beam

            beam_config = BeamConfig.model_validate(beam)
            measured = measure_on_beam(examples_path, schema, config, model_path, baseline_path, beam_config)
        else:
            measured = measure(score(examples_path, schema, config, model_path, baseline_path), config)
    evaluation = summarise(config, measured, baseline_uri)
    write_tfma_files(evaluation, config, model_path, evaluation_path)
    write_evaluation(evaluation, evaluation_path)
    storage.write_text(page_path, evaluation_page(evaluation))
    _log(evaluation, metrics, classification_metrics)
    return evaluation


@contextmanager
def _fetched(uri: str) -> Iterator[str | None]:
    """The baseline as a local folder for as long as the block lasts; None if there is no baseline."""
    if not uri:
        yield None
    elif storage.is_remote(uri):
        with tempfile.TemporaryDirectory(prefix="baseline-") as folder:
            storage.copy_folder(uri, folder)
            yield folder
    else:
        yield str(storage.local_path(uri))


def measure(scored: Scored, config: EvaluationConfig) -> Measured:
    """The vectorised engine: all metrics of all slices, in memory."""
    slicings = [Slicing.everything(len(scored.labels)), *slice_rows(scored.slice_columns, config.slice_specs)]
    candidate = compute_metrics(config.task, scored.labels, scored.candidate, slicings)
    baseline: list[Any] = [None] * len(slicings)
    curves = trace_curves(config.task, scored.labels, scored.candidate, config.class_names)
    baseline_curves, baseline_invalid = None, 0
    if scored.baseline is not None:
        baseline = compute_metrics(config.task, scored.labels, scored.baseline, slicings)
        baseline_curves = trace_curves(config.task, scored.labels, scored.baseline, config.class_names)
        baseline_invalid = int(invalid_predictions(config.task, scored.baseline).sum())
    tables = [
        MetricTable(slicing.columns, slicing.values, ours["example_count"].astype(int), ours, theirs)
        for slicing, ours, theirs in zip(slicings, candidate, baseline, strict=True)
    ]
    invalid = int(invalid_predictions(config.task, scored.candidate).sum())
    predictions = Predictions(invalid, baseline_invalid, scored.baseline_problem)
    overall = tables[0].row(0).candidate
    beats_constant = check_beats_constant(config.task, scored.labels, scored.candidate, overall)
    return Measured(tables, predictions, beats_constant, scored.unlabelled, curves, baseline_curves)


def summarise(config: EvaluationConfig, measured: Measured, baseline_uri: str) -> Evaluation:
    """The verdict and all that explains it."""
    tables = measured.tables
    listed, left_out = list_slices(config.task, tables[1:])
    return Evaluation(
        task=config.task,
        label=config.label.column,
        classes=list(config.class_names),
        engine=config.engine,
        examples=int(tables[0].examples[0]),
        unlabelled=measured.unlabelled,
        baseline_uri=baseline_uri or None,
        baseline_problem=measured.predictions.baseline_problem,
        verdict=judge(config, tables, measured.predictions, measured.beats_constant),
        overall=tables[0].row(0),
        slices=listed,
        left_out=left_out,
        worst=worst_slices(config.task, tables[1:]),
        worst_metric=RANKED_BY[config.task][0],
        curve_examples=measured.curve_examples,
        curves=measured.curves,
        baseline_curves=measured.baseline_curves,
    )


def _log(evaluation: Evaluation, metrics: MetricsArtifact, classification: ClassificationMetricsArtifact) -> None:
    """For the Kubeflow UI, which takes finite numbers only."""
    for name, value in evaluation.overall.candidate.items():
        if value is not None:
            metrics.log_metric(name, value)
    curves = evaluation.curves
    if curves.roc:
        classification.log_roc_curve(
            curves.roc.false_positive_rate, curves.roc.true_positive_rate, curves.roc.thresholds
        )
    if curves.confusion_matrix:
        classification.log_confusion_matrix(curves.confusion_matrix.classes, curves.confusion_matrix.counts)
