"""The step that scores the predictions whose labels have come."""

from kfp import dsl

from components import component


@component()
def score_predictions(
    comparison: dsl.Input[dsl.Artifact],
    store_uri: str,
    log_uri: str,
    monitoring_uri: str,
    monitor_config: str,
    metrics_uri: str,
    scored: dsl.Output[dsl.Artifact],
    performance: dsl.Output[dsl.Metrics],
) -> None:
    """Joins late labels to the newest requests; metrics with intervals, by version and slice. Never cached.

    `scored` is `window.json` with them; without labels it is that of `comparison`. `metrics_uri` is the code of the
    module's own metrics, or empty.
    """
    from components.scalars import log_scalars
    from slipway.evaluation.own import OwnMetric
    from slipway.evaluation.results import OVERALL
    from slipway.module_kit.loader import load_function
    from slipway.monitoring.baseline import Baseline
    from slipway.monitoring.config import MonitorConfig
    from slipway.monitoring.history import newest_window
    from slipway.monitoring.performance import score_labels
    from slipway.monitoring.result import read_result, write_result
    from slipway.monitoring.window import window_of
    from slipway.stores import storage
    from slipway.stores.model_store import open_store

    result, store = read_result(comparison.path), open_store(store_uri)
    config = MonitorConfig.model_validate_json(monitor_config)
    baseline = Baseline.model_validate_json(store.baseline(store.version(result.model, result.version)))
    previous = newest_window(storage.join(monitoring_uri, result.model), result.start)
    window = window_of(result.start, config.monitoring.window)
    own = {
        name: OwnMetric(name, better, load_function(metrics_uri, "metrics", name))
        for name, better in config.metrics.items()
    }
    result = score_labels(result, window, log_uri, baseline, config, previous, own)
    write_result(result, scored.path)
    served = [one for one in result.performance if one.version == result.version]
    metrics = {one.metric: one.value for its in served for one in its.scores if one.slice == OVERALL}
    log_scalars(performance, {"labels": sum(its.labels for its in served)} | metrics)
