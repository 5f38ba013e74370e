"""The step that looks up which version is watched, and in which window."""

from typing import NamedTuple

from components import component


@component()
def resolve_window(
    module: str,
    store_uri: str,
    log_uri: str,
    monitoring_uri: str,
    monitor_config: str,
    window_start: str,
) -> NamedTuple("Watched", [("version", int), ("start", str)]):  # type: ignore[valid-type]
    """Finds the production version and the window, the newest that is over unless one is given. Never cached.

    A window that was watched before stays that of its version, though another one is in production since.
    `window_start` is its start in ISO 8601, or empty. `monitor_config` is a `MonitorConfig`.
    """
    from datetime import UTC, datetime

    from slipway.errors import ConfigError, StoreError
    from slipway.monitoring.bigquery_log import check_table, is_table
    from slipway.monitoring.config import MonitorConfig
    from slipway.monitoring.result import FILE, read_result
    from slipway.monitoring.window import find_window, parse_length
    from slipway.stores import storage
    from slipway.stores.model_store import open_store

    if is_table(log_uri):
        check_table(log_uri)
    elif not log_uri or not (log_uri.startswith("gs://") or "://" not in log_uri):
        raise ConfigError(
            f"request_log = {log_uri!r}: the monitor reads a log in a folder of this machine or in a bucket, or a "
            "table over one, bq://project.dataset.table; set request_log in settings/, or --log, to the place that the "
            "server's --request-log names"
        )
    production = open_store(store_uri).production(module)
    if production is None:
        raise StoreError(f"{module} has no version in {store_uri}: there is nothing to watch. Train and push one first")
    length = parse_length(MonitorConfig.model_validate_json(monitor_config).monitoring.window)
    window = find_window(window_start, length, datetime.now(UTC))
    place = storage.join(monitoring_uri, module, window.name)
    version = read_result(place).version if storage.exists(storage.join(place, FILE)) else production.number
    if not is_table(log_uri) and not storage.list_names(log_uri):
        print(f"warning: {log_uri} is empty, or is not there")
    print(f"Version {version} of {module} is watched from {window.name} on, for {length}")
    return version, window.name
