"""The configuration as TensorFlow Model Analysis's proto `EvalConfig`.

Its metrics get our names, so that the files of both engines are read alike. Our gate alone judges what the proto cannot
express: `min_examples`, `max_drop` of calibration, and metrics that TFMA does not compute.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from slipway.evaluation.metric import BASELINE, BEST, CANDIDATE, METRICS

if TYPE_CHECKING:
    from slipway.evaluation.config import EvaluationConfig
    from slipway.module_api import Threshold

PACKAGE = "tensorflow_model_analysis"


class Protos(NamedTuple):
    """TFMA's generated modules."""

    config: Any
    metrics: Any
    validation: Any


@cache
def protos() -> Protos:
    """TFMA's protos without TFMA, whose import takes seconds and brings Beam along.

    Empty modules take the place of the parent packages while the three modules load, and are removed afterwards, so
    that a later import of TFMA starts afresh.
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
        model_specs=[_model_spec(name, config) for name in (CANDIDATE, BASELINE)[: 1 + with_baseline]],
        slicing_specs=[proto.SlicingSpec(), *(proto.SlicingSpec(feature_keys=spec) for spec in config.slice_specs)],
    )
    names = [CANDIDATE, BASELINE] if with_baseline else []
    plain = result.metrics_specs.add(model_names=names)
    for metric in METRICS[config.task]:
        if metric.tfma:
            by_class = config.task == "multiclass" and metric.tfma == "AUC"
            spec = _add_macro_average(result, names, len(config.class_names)) if by_class else plain
            module, _, kind = metric.tfma.rpartition(".")
            added = spec.metrics.add(class_name=kind, module=module, config=json.dumps({"name": metric.name}))
            _add_thresholds(added, [t for t in config.thresholds if t.metric == metric.name], with_baseline)
    return result


def _add_macro_average(result: Any, names: list[str], classes: int) -> Any:
    spec = result.metrics_specs.add(model_names=names)
    spec.aggregate.macro_average = True
    spec.aggregate.class_weights.update(dict.fromkeys(range(classes), 1.0))
    spec.binarize.class_ids.values.extend(range(classes))
    return spec


def _model_spec(name: str, config: EvaluationConfig) -> Any:
    """One model; its predictions are in a column."""
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
    if threshold.max_drop is not None and with_baseline and BEST[threshold.metric] != "one":
        higher = BEST[threshold.metric] == "high"
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
