"""Runs evaluate_model: predict, compute, judge, write."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from serving.predictor import Predictor
from slipway.data.beam import BeamConfig
from slipway.data.schema import model_inputs, read_schema
from slipway.evaluation.chance import check_beats_constant
from slipway.evaluation.config import parse_evaluation_config
from slipway.evaluation.curves import trace_curves
from slipway.evaluation.gate import judge
from slipway.evaluation.metric import BASELINE, CANDIDATE, ranking_metric
from slipway.evaluation.page import evaluation_page
from slipway.evaluation.results import Evaluation, write_evaluation
from slipway.evaluation.scoring import EvalRows
from slipway.evaluation.tables import Measured, list_slices, worst_slices
from slipway.evaluation.tfma.files import write_tfma_files
from slipway.evaluation.vectorised import measure_in_memory
from slipway.stores import storage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kfp import dsl

    from slipway.evaluation.config import EvaluationConfig


def evaluate(
    examples_path: str,
    schema_path: str,
    model_path: str,
    baseline_uri: str,
    evaluation_config: dict[str, Any],
    beam: dict[str, Any],
    evaluation_path: str,
    metrics: dsl.Metrics,
    classification_metrics: dsl.ClassificationMetrics,
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
    rows = EvalRows(config, model_inputs(read_schema(schema_path)))
    with _fetched(baseline_uri) as baseline:
        paths = {CANDIDATE: model_path} | baseline
        if config.engine == "tfma":
            from slipway.evaluation.tfma.engine import measure_on_beam

            measured = measure_on_beam(examples_path, rows, Predictor, paths, BeamConfig.model_validate(beam))
        else:
            measured = measure_in_memory(examples_path, rows, Predictor, paths)
    evaluation = summarise(config, measured, baseline_uri)
    write_tfma_files(evaluation, config, model_path, evaluation_path)
    write_evaluation(evaluation, evaluation_path)
    storage.write_text(page_path, evaluation_page(evaluation))
    _log(evaluation, metrics, classification_metrics)
    return evaluation


@contextmanager
def _fetched(uri: str) -> Iterator[dict[str, str]]:
    """The local path of the production model, if there is one; valid inside the block."""
    if not uri:
        yield {}
    elif storage.is_remote(uri):
        with tempfile.TemporaryDirectory(prefix="baseline-") as folder:
            storage.copy_folder(uri, folder)
            yield {BASELINE: folder}
    else:
        yield {BASELINE: str(storage.local_path(uri))}


def summarise(config: EvaluationConfig, measured: Measured, baseline_uri: str) -> Evaluation:
    """The verdict, with metrics, slices and curves."""
    task, tables, labels = config.task, measured.tables, measured.labels
    overall = tables[0].row(0)
    listed, left_out = list_slices(task, tables[1:])
    beats_constant = check_beats_constant(task, labels, measured.answers[CANDIDATE], overall.candidate)
    curves = {name: trace_curves(task, labels, one, config.class_names) for name, one in measured.answers.items()}
    return Evaluation(
        task=task,
        label=config.label.column,
        classes=list(config.class_names),
        engine=config.engine,
        examples=overall.examples,
        unlabelled=measured.unlabelled,
        baseline_uri=baseline_uri or None,
        baseline_problem=measured.predictions.baseline_problem,
        verdict=judge(config, tables, measured.predictions, beats_constant),
        overall=overall,
        slices=listed,
        left_out=left_out,
        worst=worst_slices(task, tables[1:]),
        worst_metric=ranking_metric(task),
        curve_examples=len(labels) if measured.sampled else None,
        curves=curves[CANDIDATE],
        baseline_curves=curves.get(BASELINE),
    )


def _log(evaluation: Evaluation, metrics: dsl.Metrics, classification: dsl.ClassificationMetrics) -> None:
    """Shows metrics in the Kubeflow UI, which takes finite numbers only."""
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
