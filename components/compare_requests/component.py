"""The step that compares a window's requests with the training rows."""

from kfp import dsl

from components import component


@component()
def compare_requests(
    module: str,
    version: int,
    start: str,
    store_uri: str,
    log_uri: str,
    monitoring_uri: str,
    monitor_config: str,
    comparison: dsl.Output[dsl.Artifact],
    comparison_page: dsl.Output[dsl.HTML],
    drift: dsl.Output[dsl.Metrics],
) -> None:
    """Counts the requests of the window by version, and compares those of one version with its baseline. Never cached.

    `comparison` holds `window.json`; `drift` is the distance of each column, for Kubeflow's UI.
    """
    from components.scalars import log_scalars
    from slipway.monitoring.baseline import Baseline
    from slipway.monitoring.compare import compare_window, judge_traffic
    from slipway.monitoring.config import MonitorConfig
    from slipway.monitoring.history import RECENT, read_windows
    from slipway.monitoring.log_reader import LogReader
    from slipway.monitoring.page import window_page
    from slipway.monitoring.requests import count_requests
    from slipway.monitoring.result import write_result
    from slipway.monitoring.window import window_of
    from slipway.stores import storage
    from slipway.stores.model_store import open_store

    config, store = MonitorConfig.model_validate_json(monitor_config).monitoring, open_store(store_uri)
    watched = store.version(module, int(version))
    baseline = Baseline.model_validate_json(store.baseline(watched))
    window = window_of(start, config.window)
    earlier = read_windows(storage.join(monitoring_uri, module), window.name, RECENT)
    cells = {name: its.cells for name, its in {**baseline.features, **baseline.answers}.items()}
    log = LogReader(log_uri, module)
    found, damaged = count_requests(log, window, {int(version): cells}, {int(version): baseline.slices})
    previous = earlier[-1] if earlier else None
    result = compare_window(module, int(version), window, found, baseline, config, previous=previous, damaged=damaged)
    result = judge_traffic(result, earlier, config).model_copy(update={"data": watched.manifest.lineage.data_uri})
    write_result(result, comparison.path)
    storage.write_text(comparison_page.path, window_page(result, earlier))
    log_scalars(drift, {"requests": result.requests} | {one.name: one.baseline.distance for one in result.columns})
