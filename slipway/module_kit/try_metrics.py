"""Runs a module's own metrics on made-up rows, before hours of training end at one that fails."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from slipway.errors import ModuleError
from slipway.module_api import ModuleConfig
from slipway.module_kit.loader import load_function
from slipway.stores.module_store import publish_module

ROWS = 60


def try_metrics(folder: str | Path, config: ModuleConfig) -> None:
    """Calls each metric as an evaluation would.

    Raises:
        ModuleError: one fails, or answers something else than a finite number.
    """
    if not config.metrics:
        return
    import numpy as np

    from slipway.evaluation.own import OwnMetric

    random = np.random.default_rng(0)
    classes, many = len(config.class_names), config.task == "multiclass"
    labels = (np.arange(ROWS) % classes if classes else random.random(ROWS)).astype(np.int64 if many else np.float32)
    predictions = random.dirichlet(np.ones(classes), ROWS) if many else random.random(ROWS)
    with TemporaryDirectory(prefix="slipway-metrics-") as scratch:
        uri = publish_module(folder, scratch).metrics_uri
        for name, better in config.metrics.items():
            metric = OwnMetric(name, better, load_function(uri, "metrics", name))
            value = metric.of_rows(labels, predictions.astype(np.float32), np.ones(ROWS))
            if not np.isfinite(value):
                raise ModuleError(f"metrics.py: {name} answers no finite number on {ROWS} made-up rows of each class")
