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

    from slipway.errors import StoreError
    from slipway.monitoring.config import MonitorConfig
    from slipway.monitoring.log_reader import check_log
    from slipway.monitoring.result import FILE, read_result
    from slipway.monitoring.window import find_window, parse_length
    from slipway.stores import storage
    from slipway.stores.model_store import open_store

    production = open_store(store_uri).production(module)
    if production is None:
        raise StoreError(f"{module} has no version in {store_uri}: there is nothing to watch. Train and push one first")
    check_log(log_uri)
    length = parse_length(MonitorConfig.model_validate_json(monitor_config).monitoring.window)
    window = find_window(window_start, length, datetime.now(UTC))
    place = storage.join(monitoring_uri, module, window.name)
    version = read_result(place).version if storage.exists(storage.join(place, FILE)) else production.number
    print(f"Version {version} of {module} is watched from {window.name} on, for {length}")
    return version, window.name
