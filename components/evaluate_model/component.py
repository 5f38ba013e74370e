"""The step that judges the model."""

from typing import Any

from kfp import dsl

from components import component


@component(tensorflow=True)
def evaluate_model(
    examples: dsl.Input[dsl.Dataset],
    schema: dsl.Input[dsl.Artifact],
    model: dsl.Input[dsl.Model],
    baseline: str,
    served: dict[str, str],
    evaluation_config: dict[str, Any],
    metrics_uri: str,
    beam: dict[str, Any],
    evaluation: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    classification_metrics: dsl.Output[dsl.ClassificationMetrics],
    evaluation_page: dsl.Output[dsl.HTML],
) -> None:
    """Computes metrics overall and by slice, for the candidate and the baseline, and applies the thresholds.

    `baseline` is the URI of the production model, or empty, and `served` names the URIs of versions that served before.
    `metrics_uri` is the code of the module's own metrics, or empty.
    `evaluation` holds TFMA's files and `evaluation.json` with the verdict and its reasons; `metrics`
    (`Evaluation.scalars`) and `classification_metrics` are for the Kubeflow UI.
    """
    from tempfile import TemporaryDirectory

    from components.scalars import log_scalars, write_metadata
    from serving.predictor import Predictor
    from slipway.data.beam import BeamRun
    from slipway.data.schema import model_inputs, read_schema
    from slipway.evaluation.config import parse_evaluation_config
    from slipway.evaluation.gate import evaluate
    from slipway.evaluation.metric import BASELINE, CANDIDATE
    from slipway.evaluation.mistakes import worst_mistakes
    from slipway.evaluation.own import OwnMetric
    from slipway.evaluation.page import evaluation_page as render_evaluation
    from slipway.evaluation.results import write_evaluation
    from slipway.evaluation.scoring import EvalRows, measure_in_memory
    from slipway.evaluation.slice_details import describe_slices, write_slice_details
    from slipway.evaluation.tfma.files import write_tfma_files
    from slipway.module_kit.loader import load_function
    from slipway.monitoring.baseline import count_baseline, write_baseline
    from slipway.stores import storage

    config = parse_evaluation_config(evaluation_config)
    rows = EvalRows(config, model_inputs(read_schema(schema.path)))
    paths = {CANDIDATE: model.path}
    others = {BASELINE: baseline, **served} if baseline else {}
    with TemporaryDirectory(prefix="compared-") as folder:
        for name, uri in others.items():
            if storage.is_remote(uri):
                storage.copy_folder(uri, f"{folder}/{name}")
                paths[name] = f"{folder}/{name}"
            else:
                paths[name] = uri and str(storage.local_path(uri))
        if config.engine == "tfma":
            from slipway.evaluation.tfma.engine import measure_on_beam

            engine = BeamRun.model_validate(beam)
            shared = {**paths, CANDIDATE: engine.place(model)}
            if not engine.in_process:
                shared |= {name: uri for name, uri in others.items() if storage.is_remote(uri)}
            measured = measure_on_beam(examples.path, rows, Predictor, paths, engine, shared, engine.place(examples))
        else:
            measured = measure_in_memory(examples.path, rows, Predictor, paths)
    own = {
        name: OwnMetric(name, better, load_function(metrics_uri, "metrics", name))
        for name, better in config.metrics.items()
    }
    mistakes = worst_mistakes(examples.path, rows, Predictor, model.path)
    judged = evaluate(config, measured, baseline, own).model_copy(update={"mistakes": mistakes})
    write_tfma_files(judged, config, model.path, evaluation.path)
    write_slice_details(describe_slices(judged, measured), evaluation.path)
    write_evaluation(judged, evaluation.path)
    write_baseline(count_baseline(examples.path, rows.features, judged, measured), evaluation.path)
    evaluation.metadata["files"] = (
        "evaluation.json: metrics, slices and the verdict, which `evaluation_page` shows. "
        "slices.json: intervals and counts by threshold of each slice. baseline.json: what the "
        "monitor compares requests with. metrics-*, plots-*, "
        "validations.tfrecord and eval_config.json: the same for TensorFlow Model Analysis."
    )
    storage.write_text(evaluation_page.path, render_evaluation(judged))

    evaluation.metadata.update(judged.facts())
    log_scalars(metrics, judged.scalars())
    roc, confusion = judged.curves.roc, judged.curves.confusion_matrix
    if roc:
        classification_metrics.log_roc_curve(roc.false_positive_rate, roc.true_positive_rate, roc.thresholds)
    if confusion:
        classification_metrics.log_confusion_matrix(confusion.classes, confusion.counts)
    write_metadata(classification_metrics)
