"""The same configuration in TensorFlow Model Analysis's own words: its `EvalConfig` proto.

TFMA's names of our metrics are set to ours, so that files of both engines are read alike. What its proto cannot say
is left out of it, and judged by our gate all the same: `min_examples`, `max_drop` of calibration, and metrics that
it does not compute.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from slipway.evaluation.config import HIGHER_IS_BETTER, METRICS

if TYPE_CHECKING:
    from slipway.evaluation.config import EvaluationConfig
    from slipway.module_api import Task, Threshold

CANDIDATE, BASELINE = "candidate", "baseline"
PACKAGE = "tensorflow_model_analysis"

MODULES = {"AveragePrecision": "slipway.evaluation.average_precision"}  # the others are TFMA's own
CLASSES: dict[Task, dict[str, str]] = {
    "binary": {
        "auc": "AUC",
        "auc_pr": "AveragePrecision",
        "log_loss": "BinaryCrossEntropy",
        "accuracy": "BinaryAccuracy",
        "balanced_accuracy": "BalancedAccuracy",
        "precision": "Precision",
        "recall": "Recall",
        "f1": "F1Score",
        "calibration": "Calibration",
        "mean_prediction": "MeanPrediction",
        "mean_label": "MeanLabel",
    },
    "multiclass": {
        "log_loss": "SparseCategoricalCrossentropy",
        "accuracy": "SparseCategoricalAccuracy",
    },
    "regression": {
        "mean_absolute_error": "MeanAbsoluteError",
        "mean_squared_error": "MeanSquaredError",
        "calibration": "Calibration",
        "mean_prediction": "MeanPrediction",
        "mean_label": "MeanLabel",
    },
}


class Protos(NamedTuple):
    """TFMA's generated modules."""

    config: Any
    metrics: Any
    validation: Any


@cache
def protos() -> Protos:
    """TFMA's protos without TFMA: importing the package itself takes seconds, and brings Beam along.

    Its parent packages are stood in for while the three modules load, and forgotten afterwards, so that a real
    import later in this process finds nothing half done.
    """
    names = (f"{PACKAGE}.proto.{name}_pb2" for name in ("config", "metrics_for_slice", "validation_result"))
    if PACKAGE in sys.modules:
        return Protos(*(importlib.import_module(name) for name in names))
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None
    for name, below in ((PACKAGE, ""), (f"{PACKAGE}.proto", "/proto")):
        stand_in = ModuleType(name)
        stand_in.__path__ = [place + below for place in spec.submodule_search_locations or ()]
        sys.modules[name] = stand_in
    try:
        importlib.import_module("google.protobuf.wrappers_pb2")
        return Protos(*(importlib.import_module(name) for name in names))
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE]:
            del sys.modules[name]


def eval_config(config: EvaluationConfig, with_baseline: bool) -> Any:
    """`EvalConfig` proto: models, slices, metrics and thresholds."""
    proto = protos().config
    result = proto.EvalConfig(
        model_specs=[model_spec(CANDIDATE, config)],
        slicing_specs=[proto.SlicingSpec(), *(proto.SlicingSpec(feature_keys=spec) for spec in config.slice_specs)],
    )
    if with_baseline:
        result.model_specs.append(model_spec(BASELINE, config))
    names = [] if not with_baseline else [CANDIDATE, BASELINE]
    spec = result.metrics_specs.add(model_names=names)
    spec.metrics.add(class_name="ExampleCount", config=json.dumps({"name": "example_count"}))
    for name in METRICS[config.task]:
        if name in CLASSES[config.task]:
            kind = CLASSES[config.task][name]
            metric = spec.metrics.add(class_name=kind, module=MODULES.get(kind), config=json.dumps({"name": name}))
            _add_thresholds(metric, [t for t in config.thresholds if t.metric == name], with_baseline)
    if config.task == "multiclass":
        classes = range(len(config.class_names))
        macro = result.metrics_specs.add(model_names=names)
        macro.aggregate.macro_average = True
        macro.aggregate.class_weights.update(dict.fromkeys(classes, 1.0))
        macro.binarize.class_ids.values.extend(classes)
        auc = macro.metrics.add(class_name="AUC", config=json.dumps({"name": "auc"}))
        _add_thresholds(auc, [t for t in config.thresholds if t.metric == "auc"], with_baseline)
    return result


def model_spec(name: str, config: EvaluationConfig) -> Any:
    """One model, whose predictions are materialised in a column."""
    return protos().config.ModelSpec(
        name=name, label_key=config.label.column, prediction_key=prediction_key(name), is_baseline=name == BASELINE
    )


def prediction_key(model: str) -> str:
    """The column of a model's predictions."""
    return f"__prediction_{model}"


def metric_threshold(threshold: Threshold, with_baseline: bool = True) -> Any:
    """The `MetricThreshold` proto; `max_drop` only where there is a baseline, and a direction that TFMA knows."""
    proto = protos().config
    result = proto.MetricThreshold()
    if threshold.min is not None:
        result.value_threshold.lower_bound.value = threshold.min
    if threshold.max is not None:
        result.value_threshold.upper_bound.value = threshold.max
    if threshold.max_drop is not None and with_baseline and threshold.metric != "calibration":
        higher = threshold.metric in HIGHER_IS_BETTER
        direction = proto.MetricDirection
        result.change_threshold.direction = direction.HIGHER_IS_BETTER if higher else direction.LOWER_IS_BETTER
        result.change_threshold.absolute.value = -threshold.max_drop if higher else threshold.max_drop
    return result


def _add_thresholds(metric: Any, thresholds: list[Threshold], with_baseline: bool) -> None:
    for threshold in thresholds:
        said = metric_threshold(threshold, with_baseline)
        if not said.ByteSize():
            continue
        if threshold.slice:
            spec = protos().config.SlicingSpec(feature_keys=threshold.slice)
            metric.per_slice_thresholds.add(slicing_specs=[spec], threshold=said)
        else:
            metric.threshold.MergeFrom(said)
