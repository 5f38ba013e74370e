"""Errors and latency of canary and stable, from TensorFlow Serving's own counters.

Its metrics (`:tensorflow:serving:request_count` and `request_latency`, a histogram in microseconds) only grow while a
server lives; what happened in a window is the difference of two readings of each pod.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from serving.rollout.policy import RolloutPolicy

PATH = "/monitoring/prometheus/metrics"
_COUNT, _LATENCY = ":tensorflow:serving:request_count", ":tensorflow:serving:request_latency_bucket"
# TensorFlow Serving writes the code's name; older versions wrote its number. Latencies are those of requests that ended
# well: most versions keep no others, and some give the histogram a `status` too.
_FINE = {"OK", "0"}


@dataclass(frozen=True)
class Reading:
    """Requests of one model by status, and how many took at most so many microseconds."""

    by_status: Counter[str] = field(default_factory=Counter)
    at_most: Counter[float] = field(default_factory=Counter)

    @property
    def requests(self) -> int:
        """All of them."""
        return self.by_status.total()

    @property
    def error_ratio(self) -> float:
        """Share of those that did not end well."""
        errors = sum(count for status, count in self.by_status.items() if status not in _FINE)
        return errors / self.requests if self.requests else 0.0

    def since(self, before: Reading | None) -> Reading:
        """What came since an earlier reading; all of it, where the server was started anew in between."""
        if before is None or not (before.by_status <= self.by_status and before.at_most <= self.at_most):
            return self
        at_most = Counter({bound: count - before.at_most[bound] for bound, count in self.at_most.items()})
        return Reading(self.by_status - before.by_status, at_most)

    def quantile(self, share: float) -> float:
        """Milliseconds below which this share of the requests stayed, interpolated as Prometheus does; NaN of none."""
        bounds = sorted(self.at_most)
        total = self.at_most[bounds[-1]] if bounds else 0
        if not total:
            return math.nan
        rank, below, lower = share * total, 0, 0.0
        for bound in bounds:
            if self.at_most[bound] >= rank:
                if math.isinf(bound):
                    return lower / 1000
                inside = self.at_most[bound] - below
                return (lower + (bound - lower) * (rank - below) / inside) / 1000
            below, lower = self.at_most[bound], bound
        return lower / 1000


@dataclass(frozen=True)
class Judgement:
    """What the comparison says, and why."""

    verdict: Literal["passed", "failed", "inconclusive"]
    reasons: list[str]


def parse_metrics(text: str, model: str) -> Reading:
    """One server's counters of a model; zeros where it has not counted anything yet.

    Raises:
        ValueError: this is not what Prometheus reads, or a counter is no number.
        OverflowError: a counter is infinite.
    """
    from prometheus_client.parser import text_string_to_metric_families

    reading = Reading()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.labels.get("model_name") != model:
                continue
            if sample.name in {_COUNT, f"{_COUNT}_total"}:
                reading.by_status[sample.labels.get("status", "")] += int(sample.value)
            elif sample.name == _LATENCY and sample.labels.get("status", "OK") in _FINE:
                reading.at_most[float(sample.labels["le"])] += int(sample.value)
    return reading


def total(readings: Iterable[Reading]) -> Reading:
    """Of several pods together."""
    by_status: Counter[str] = Counter()
    at_most: Counter[float] = Counter()
    for reading in readings:
        by_status.update(reading.by_status)
        at_most.update(reading.at_most)
    return Reading(by_status, at_most)


def enough(canary: Reading, stable: Reading, policy: RolloutPolicy) -> bool:
    """Whether both were asked often enough to be compared."""
    return min(canary.requests, stable.requests) >= policy.min_requests


def compare(canary: Reading, stable: Reading, policy: RolloutPolicy) -> Judgement:
    """Judges a window of traffic: the canary may not be worse than stable by more than the policy allows."""
    if not enough(canary, stable, policy):
        counts = f"the canary answered {canary.requests:,} requests and stable {stable.requests:,}"
        return Judgement("inconclusive", [f"too little traffic: {counts}, at least {policy.min_requests:,} are needed"])
    errors = (
        f"share of errors {canary.error_ratio:.2%} of {canary.requests:,} requests, stable {stable.error_ratio:.2%} of "
        f"{stable.requests:,}; allowed is {policy.max_error_increase:.2%} more"
    )
    slow, usual = canary.quantile(0.99), stable.quantile(0.99)
    latency = f"p99 {slow:.2f} ms, stable {usual:.2f} ms; allowed is {policy.max_p99_ratio:g} times as much"
    bad = []
    if canary.error_ratio - stable.error_ratio > policy.max_error_increase:
        bad.append(errors)
    if slow > usual * policy.max_p99_ratio:
        bad.append(latency)
    if bad:
        return Judgement("failed", bad)
    if math.isnan(slow) or math.isnan(usual):
        return Judgement("inconclusive", ["the servers report the latency of no request; did any of them succeed?"])
    return Judgement("passed", [errors, latency])
