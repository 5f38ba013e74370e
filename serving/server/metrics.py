"""TensorFlow Serving's metrics (`servables/tensorflow/util.cc`), in the text form of `util/prometheus_exporter.cc`.

prometheus-client cannot write them: it appends `_total` to the names of counters, and prints other bounds.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping
from itertools import accumulate

import grpc
from prometheus_client import CollectorRegistry, generate_latest

PATH = "/monitoring/prometheus/metrics"
_PREFIX = ":tensorflow:serving:"
# Microseconds: Buckets::Exponential(10, 1.8, 33).
_BOUNDS = tuple(accumulate(range(32), lambda bound, _: bound * 1.8, initial=10.0))
# Clients choose the names that are counted, so their number is limited; further ones count as model "".
_MAX_CELLS = 1000

Labels = tuple[str, ...]


class _Histogram:
    def __init__(self) -> None:
        self.counts = [0] * (len(_BOUNDS) + 1)
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        microseconds = seconds * 1e6
        self.counts[bisect_right(_BOUNDS, microseconds)] += 1
        self.sum += microseconds


class Metrics:
    """Counts inferences over both protocols; many threads may call it at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[Labels] = Counter()
        self._latencies: defaultdict[Labels, _Histogram] = defaultdict(_Histogram)
        self._runtimes: defaultdict[Labels, _Histogram] = defaultdict(_Histogram)
        self._registries: list[CollectorRegistry] = []

    def observe(
        self,
        model: str,
        api: str,
        entrypoint: str,
        code: grpc.StatusCode,
        seconds: float,
        runtime_seconds: float | None = None,
    ) -> None:
        """Counts one inference.

        Args:
            model: Name given by the client.
            api: `Predict`, `Classify`, `Regress`; in lower case over REST, as TensorFlow Serving has it.
            entrypoint: `REST` or `GRPC`.
            code: The latency is kept for OK only.
            seconds: Duration of the whole request.
            runtime_seconds: Duration of the model's run.
        """
        with self._lock:
            if len(self._requests) >= _MAX_CELLS and (model, code.name) not in self._requests:
                model = ""
            self._requests[model, code.name] += 1
            if code is not grpc.StatusCode.OK:
                return
            self._latencies[model, api, entrypoint].add(seconds)
            if runtime_seconds is not None:
                self._runtimes[model, api.capitalize(), "TF1"].add(runtime_seconds)

    def add_registry(self, registry: CollectorRegistry) -> None:
        """Adds other metrics to the page, such as the request log's."""
        self._registries.append(registry)

    def page(self) -> str:
        """All metrics in Prometheus's text form."""
        with self._lock:
            lines = [f"# TYPE {_PREFIX}request_count counter"]
            for values, count in self._requests.items():
                lines.append(f"{_PREFIX}request_count{{{_labels(('model_name', 'status'), values)}}} {count}")
            lines += _histograms("request_latency", ("model_name", "API", "entrypoint"), self._latencies)
            lines += _histograms("runtime_latency", ("model_name", "API", "runtime"), self._runtimes)
        others = [generate_latest(registry).decode() for registry in self._registries]
        return "\n".join([*lines, *others, ""])


def _histograms(name: str, label_names: Labels, cells: Mapping[Labels, _Histogram]) -> list[str]:
    whole = _PREFIX + name
    lines = [f"# TYPE {whole} histogram"]
    for values, histogram in cells.items():
        labels = _labels(label_names, values)
        for bound, count in zip((*_BOUNDS, None), accumulate(histogram.counts), strict=True):
            limit = "+Inf" if bound is None else f"{bound:g}"
            lines.append(f'{whole}_bucket{{{labels},le="{limit}"}} {count}')
        lines.append(f"{whole}_sum{{{labels}}} {histogram.sum:g}")
        lines.append(f"{whole}_count{{{labels}}} {sum(histogram.counts)}")
    return lines


def _labels(names: Labels, values: Labels) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
