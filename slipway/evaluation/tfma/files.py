"""TFMA's own files, so that `tfma.load_eval_result` and `tfma.load_validation_result` open an evaluation.

File names and record types are those of TFMA's `MetricsPlotsAndValidationsWriter` and `EvalConfigWriter`:
https://github.com/tensorflow/model-analysis/tree/v0.48.0/tensorflow_model_analysis/writers
Metrics have our names in `EvalConfig`, so that the files of both engines are read alike. The proto
lacks some conditions of our gate: `min_examples`, `max_drop` of calibration, and metrics that TFMA does not compute.
"""

from __future__ import annotations

import json
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import google.protobuf.wrappers_pb2  # noqa: F401 - TFMA's messages need it, and do not import it
from google.protobuf import json_format

from slipway.evaluation.metric import BASELINE, BEST, CANDIDATE, EXAMPLE_COUNT, METRICS
from slipway.evaluation.results import MISSING
from slipway.module_api import Threshold
from slipway.stand_in import stand_in_for

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slipway.evaluation.config import EvaluationConfig
    from slipway.evaluation.results import Curves, Evaluation, Metrics, SliceResult

with stand_in_for("tensorflow_model_analysis"):  # its import brings Beam along
    from tensorflow_model_analysis.proto import config_pb2, metrics_for_slice_pb2, validation_result_pb2


LABEL, WEIGHT = "__label", "__weight"  # columns beside those of slices, of which the label may be one


def eval_config(config: EvaluationConfig, with_baseline: bool) -> Any:
    """`EvalConfig` proto: models, slices, metrics and thresholds; not the module's own metrics."""
    result = config_pb2.EvalConfig(slicing_specs=map(_slicing, [(), *config.slice_specs]))
    for name in (CANDIDATE, BASELINE)[: 1 + with_baseline]:
        key = prediction_key(name)
        result.model_specs.add(
            name=name,
            label_key=LABEL,
            prediction_key=key,
            example_weight_key=WEIGHT if config.label.weight else "",
            is_baseline=name == BASELINE,
        )
    names = [CANDIDATE, BASELINE] if with_baseline else []
    plain = result.metrics_specs.add(model_names=names)
    for metric in METRICS[config.task]:
        if not metric.tfma:
            continue
        spec = plain
        if config.task == "multiclass" and metric.tfma == "AUC":
            classes = range(len(config.class_names))
            spec = result.metrics_specs.add(model_names=names)
            spec.aggregate.macro_average = True
            spec.aggregate.class_weights.update(dict.fromkeys(classes, 1.0))
            spec.binarize.class_ids.values.extend(classes)
        if metric.name == EXAMPLE_COUNT:
            spec = result.metrics_specs.add(model_names=names)
            spec.example_weights.unweighted = True
        module, _, kind = metric.tfma.rpartition(".")
        added = spec.metrics.add(class_name=kind, module=module, config=json.dumps({"name": metric.name}))
        for threshold in (one for one in config.thresholds if one.name == metric.name):
            said = metric_threshold(threshold, with_baseline)
            if not said.ByteSize():
                continue
            if threshold.slice:
                added.per_slice_thresholds.add(slicing_specs=[_slicing(threshold.slice)], threshold=said)
            else:
                added.threshold.MergeFrom(said)
    return result


def _slicing(columns: Iterable[str]) -> Any:
    return config_pb2.SlicingSpec(feature_keys=columns)


def prediction_key(model: str) -> str:
    """The column of a model's predictions."""
    return f"__prediction_{model}"


def metric_threshold(threshold: Threshold, with_baseline: bool = True) -> Any:
    """The `MetricThreshold` proto; `max_drop` only where there is a baseline, and a direction that TFMA knows."""
    result = config_pb2.MetricThreshold()
    if threshold.min is not None:
        result.value_threshold.lower_bound.value = threshold.min
    if threshold.max is not None:
        result.value_threshold.upper_bound.value = threshold.max
    if threshold.max_drop is not None and with_baseline and BEST[threshold.metric] != "one":
        higher = BEST[threshold.metric] == "high"
        direction = config_pb2.MetricDirection
        result.change_threshold.direction = direction.HIGHER_IS_BETTER if higher else direction.LOWER_IS_BETTER
        result.change_threshold.absolute.value = -threshold.max_drop if higher else threshold.max_drop
    return result


def write_tfma_files(evaluation: Evaluation, config: EvaluationConfig, model_path: str, folder: str | Path) -> None:
    """Writes `eval_config.json`, metrics (of the slices that `evaluation` lists), plots (overall) and validations."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows = [evaluation.overall, *evaluation.slices]
    _write_records(folder / "metrics-00000-of-00001.tfrecord", (_metrics(row, evaluation.task) for row in rows))
    _write_records(folder / "plots-00000-of-00001.tfrecord", [_plots(evaluation)])
    _write_records(folder / "validations.tfrecord", [_validation(evaluation)])
    with_baseline = evaluation.overall.baseline is not None
    locations = {CANDIDATE: model_path} | ({BASELINE: evaluation.baseline_uri or ""} if with_baseline else {})
    run = config_pb2.EvalRun(
        eval_config=eval_config(config, with_baseline),
        version=version("tensorflow-model-analysis"),
        file_format="parquet",
        model_locations=locations,
    )
    (folder / "eval_config.json").write_text(json_format.MessageToJson(run), encoding="utf-8")


def _metrics(row: SliceResult, task: str) -> Any:
    result = metrics_for_slice_pb2.MetricsForSlice(slice_key=_slice_key(row.columns, row.values))
    found: list[tuple[str, bool, Metrics]] = [(CANDIDATE, False, row.candidate)]
    if row.baseline is not None:
        differences: Metrics = {
            name: None if value is None or other is None else value - other
            for (name, value), other in zip(row.candidate.items(), row.baseline.values(), strict=True)
        }
        found += [(BASELINE, False, row.baseline), (CANDIDATE, True, differences)]
    for model, is_diff, metrics in found:
        for name, value in metrics.items():
            entry = result.metric_keys_and_values.add()
            entry.key.name, entry.key.model_name, entry.key.is_diff = name, model, is_diff
            if task == "multiclass" and name == "auc":
                entry.key.aggregation_type.macro_average = True
            entry.value.double_value.value = float("nan") if value is None else value
    return result


def _slice_key(columns: list[str], values: Iterable[str | None]) -> Any:
    key = metrics_for_slice_pb2.SliceKey()
    for column, value in zip(columns, values, strict=True):
        key.single_slice_keys.add(column=column, bytes_value=(MISSING if value is None else value).encode())
    return key


def _plots(evaluation: Evaluation) -> Any:
    result = metrics_for_slice_pb2.PlotsForSlice(slice_key=_slice_key([], []))
    for name, curves in ((CANDIDATE, evaluation.curves), (BASELINE, evaluation.baseline_curves)):
        if curves is not None:
            entry = result.plot_keys_and_values.add()
            entry.key.model_name = name
            _fill_plot(entry.value, curves, evaluation.task)
    return result


def _fill_plot(plot: Any, curves: Curves, task: str) -> None:
    for one in curves.calibration:
        bucket = plot.calibration_histogram_buckets.buckets.add()
        bucket.lower_threshold_inclusive, bucket.upper_threshold_exclusive = one.lower, one.upper
        bucket.num_weighted_examples.value = one.examples
        bucket.total_weighted_label.value = one.mean_label * one.examples
        bucket.total_weighted_refined_prediction.value = one.mean_prediction * one.examples
    if task == "multiclass" and curves.confusion_matrix:
        matrix = plot.multi_class_confusion_matrix_at_thresholds.matrices.add(threshold=0)
        for actual, counts in enumerate(curves.confusion_matrix.counts):
            for predicted, count in enumerate(counts):
                matrix.entries.add(actual_class_id=actual, predicted_class_id=predicted, num_weighted_examples=count)
    if curves.roc and curves.confusion_matrix:
        negatives, positives = (sum(counts) for counts in curves.confusion_matrix.counts)
        points = zip(curves.roc.thresholds, curves.roc.false_positive_rate, curves.roc.true_positive_rate, strict=True)
        for threshold, false_rate, true_rate in sorted(points):
            hits, alarms = round(true_rate * positives, 6), round(false_rate * negatives, 6)
            plot.confusion_matrix_at_thresholds.matrices.add(
                threshold=threshold,
                true_positives=hits,
                false_negatives=positives - hits,
                false_positives=alarms,
                true_negatives=negatives - alarms,
                precision=hits / (hits + alarms) if hits + alarms else float("nan"),
                recall=true_rate,
                false_positive_rate=false_rate,
            )


def _validation(evaluation: Evaluation) -> Any:
    result = validation_result_pb2.ValidationResult(validation_ok=evaluation.verdict.blessed)
    failures: dict[str, Any] = {}
    for check in evaluation.verdict.checks:
        if check.outcome != "failed":
            continue
        if check.metric == "thresholds":
            result.missing_thresholds = True
        elif check.columns and check.values is None:
            result.missing_slices.add(feature_keys=check.columns)
        else:
            if check.slice not in failures:
                key = _slice_key(check.columns, check.values or [])
                failures[check.slice] = result.metric_validations_per_slice.add(slice_key=key)
            failure = failures[check.slice].failures.add(message=check.describe())
            failure.metric_key.name, failure.metric_key.model_name = check.metric, CANDIDATE
            failure.metric_key.is_diff = check.rule == "max_drop"
            failure.metric_value.double_value.value = float("nan") if check.value is None else check.value
            if check.rule in ("min", "max", "max_drop") and check.metric not in evaluation.own:
                threshold = Threshold.model_validate(
                    {"metric": check.metric.partition(" ")[0], check.rule: check.bound}
                )
                failure.metric_threshold.CopyFrom(metric_threshold(threshold))
    slices = Counter(tuple(row.columns) for row in [evaluation.overall, *evaluation.slices])
    slices.update({tuple(rest.columns): rest.slices for rest in evaluation.left_out})
    for columns, count in slices.items():
        details = result.validation_details.slicing_details.add(num_matching_slices=count)
        details.slicing_spec.feature_keys.extend(columns)
    return result


def _write_records(path: Path, records: Iterable[Any]) -> None:
    from tensorflow.io import TFRecordWriter

    with TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record.SerializeToString())
