"""Scalars of a step, which the UIs of Kubeflow and Vertex list and compare."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kfp import dsl


def log_scalars(metrics: dsl.Metrics, values: Mapping[str, Any]) -> None:
    """Logs all finite numbers among the values; those of a list or a dict under a name of their own: `hidden.0`.

    Null fails the step (`StructValueToMLMDValue`, backend/src/v2/metadata/converter.go), and so do NaN and infinity,
    which JSON lacks; a text or a boolean would reach MLflow as 0 (`FormatScalarMetricArtifacts`, client.go there).
    """
    for name, number in _numbers(values):
        metrics.log_metric(name, number)
    write_metadata(metrics)


def write_metadata(artifact: dsl.Artifact) -> None:
    """Writes an artifact that is all metadata: kfp.local caches a step only if all its outputs are files."""
    Path(artifact.path).write_text(json.dumps(artifact.metadata), encoding="utf-8")


def _numbers(values: Any, name: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(values, Mapping | list):
        inside = values.items() if isinstance(values, Mapping) else enumerate(values)
        for key, value in inside:
            yield from _numbers(value, f"{name}.{key}" if name else str(key))
    elif isinstance(values, bool | int | float) and math.isfinite(values):
        yield name, float(values)
