"""TensorFlow Serving's metrics (`servables/tensorflow/util.cc`), in the text form of `util/prometheus_exporter.cc`.

prometheus-client cannot write them: it appends `_total` to the names of counters, and prints other bounds.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from itertools import accumulate

import grpc
from prometheus_client import CollectorRegistry, generate_latest

METRICS_PATH = "/monitoring/prometheus/metrics"
_PREFIX = ":tensorflow:serving:"
# Microseconds: Buckets::Exponential(10, 1.8, 33).
_BOUNDS = tuple(accumulate(range(32), lambda bound, _: bound * 1.8, initial=10.0))
_LIMITS = (*(f"{bound:g}" for bound in _BOUNDS), "+Inf")
# Clients choose the names that are counted, so their number is limited; further ones count as model "".
_MAX_NAMES = 1000
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class _Histogram:
    def __init__(self) -> None:
        self.counts = [0] * len(_LIMITS)
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        microseconds = seconds * 1e6
        self.counts[bisect_right(_BOUNDS, microseconds)] += 1
        self.sum += microseconds

    def lines(self, name: str, labels: str) -> list[str]:
        counts = list(accumulate(self.counts))
        buckets = zip(_LIMITS, counts, strict=True)
        return [
            *(f'{name}_bucket{{{labels},le="{limit}"}} {count}' for limit, count in buckets),
            f"{name}_sum{{{labels}}} {self.sum:g}",
            f"{name}_count{{{labels}}} {counts[-1]}",
        ]


class Metrics:
    """Counts inferences over both protocols; many threads may call it at a time.

    `availability` says of each model whether a version of it is loaded, which TensorFlow Serving's metrics do not.
    """

    def __init__(self, availability: Callable[[], Mapping[str, bool]] = dict) -> None:
        self._availability = availability
        self._lock = threading.Lock()
        # Keys are labels in Prometheus's text form.
        self._requests: Counter[str] = Counter()
        self._latencies: defaultdict[str, _Histogram] = defaultdict(_Histogram)
        self._runtimes: defaultdict[str, _Histogram] = defaultdict(_Histogram)
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
        """Counts one inference of a model that the client named, and its latencies if it is OK.

        `api` is in lower case over REST, as TensorFlow Serving has it; the runtime is that of the model alone.
        """
        name = f'model_name="{model.translate(_ESCAPES)}"'
        request = f'{name},status="{code.name}"'
        with self._lock:
            if len(self._requests) >= _MAX_NAMES and request not in self._requests:
                name = 'model_name=""'
                request = f'{name},status="{code.name}"'
            self._requests[request] += 1
            if code is not grpc.StatusCode.OK:
                return
            self._latencies[f'{name},API="{api}",entrypoint="{entrypoint}"'].add(seconds)
            if runtime_seconds is not None:
                self._runtimes[f'{name},API="{api.capitalize()}",runtime="TF1"'].add(runtime_seconds)

    def add_registry(self, registry: CollectorRegistry) -> None:
        """Adds other metrics to the page, such as the request log's."""
        self._registries.append(registry)

    def page(self) -> str:
        """All metrics in Prometheus's text form."""
        with self._lock:
            lines = [f"# TYPE {_PREFIX}request_count counter"]
            lines += [f"{_PREFIX}request_count{{{labels}}} {count}" for labels, count in self._requests.items()]
            for name, histograms in (("request_latency", self._latencies), ("runtime_latency", self._runtimes)):
                lines.append(f"# TYPE {_PREFIX}{name} histogram")
                for labels, histogram in histograms.items():
                    lines += histogram.lines(_PREFIX + name, labels)
        lines.append("# TYPE slipway_model_available gauge")
        for model, is_available in self._availability().items():
            lines.append(f'slipway_model_available{{model_name="{model.translate(_ESCAPES)}"}} {int(is_available)}')
        return "\n".join([*lines, *(generate_latest(registry).decode() for registry in self._registries), ""])
