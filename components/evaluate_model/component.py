"""Interface of the step that judges the model."""

from typing import Any

from kfp import dsl

from components import component


@component(tensorflow=True)
def evaluate_model(
    examples: dsl.Input[dsl.Dataset],
    schema: dsl.Input[dsl.Artifact],
    model: dsl.Input[dsl.Model],
    baseline: str,
    evaluation_config: dict[str, Any],
    beam: dict[str, Any],
    evaluation: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    classification_metrics: dsl.Output[dsl.ClassificationMetrics],
    page: dsl.Output[dsl.HTML],
) -> None:
    """Computes metrics overall and by slice, for the candidate and the baseline, and applies the thresholds.

    Args:
        examples: Output of ingest_examples; the eval split is judged.
        schema: Output of infer_schema.
        model: The candidate.
        baseline: URI of the production model, or empty.
        evaluation_config: Task, label, classes, slices, thresholds and engine: `slipway.evaluation.config`.
        beam: `options`: pipeline options of Apache Beam, for the TFMA engine.
        evaluation: TFMA's files, and `evaluation.json` with the verdict and its reasons.
        metrics: The overall metrics, for the Kubeflow UI.
        classification_metrics: ROC curve and confusion matrix, for the Kubeflow UI.
        page: Metrics by slice, curves and verdict, for people.
    """
    import json
    from pathlib import Path

    from components.evaluate_model.run import evaluate

    evaluate(
        examples.path,
        schema.path,
        model.path,
        baseline,
        evaluation_config,
        beam,
        evaluation.path,
        metrics,
        classification_metrics,
        page.path,
    )
    # kfp.local caches a step only if all its outputs exist as files, and these two live in their metadata.
    for artifact in (metrics, classification_metrics):
        Path(artifact.path).write_text(json.dumps(artifact.metadata), encoding="utf-8")
