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

    `baseline` is the URI of the production model, or empty. `evaluation` holds TFMA's files and `evaluation.json` with
    the verdict and its reasons; `metrics` and `classification_metrics` are for the Kubeflow UI.
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
