"""Compares errors and latency of canary and stable, from TensorFlow Serving's own counters.

Its metrics (`:tensorflow:serving:request_count` and `request_latency`, a histogram in microseconds) only grow while a
server lives; the traffic of a window is the difference of two readings of each pod.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

from serving.rollout.chance import answers_needed, chance, smallest
from serving.rollout.policy import RolloutPolicy

PATH = "/monitoring/prometheus/metrics"
_COUNT, _LATENCY = ":tensorflow:serving:request_count", ":tensorflow:serving:request_latency_bucket"
# TensorFlow Serving writes the code's name; older versions wrote its number. Latencies are those of requests that ended
# well: most versions keep no others, and some give the histogram a `status` too.
_FINE = {"OK", "0"}
# The client's fault, by name and by number; docs/decisions/0013 says why no other is.
_CLIENTS = {"INVALID_ARGUMENT", "NOT_FOUND", "PERMISSION_DENIED", "UNAUTHENTICATED", "3", "5", "7", "16"}

# Share of rollouts in which equal versions may differ: half of it for errors, half for latencies.
_LEVEL = 0.001 / 2
# For looks before there are enough answers: so low that the last look keeps its level, however many. Haybittle,
# British Journal of Radiology 44 (1971), and Peto et al., British Journal of Cancer 34 (1976), take 0.001 beside 0.05.
_EARLY_LEVEL = 1e-9
# The worst of several percentiles is judged, so its excess over the allowed ratio must be beyond chance as well.
_EXCESS_LEVEL = 0.05
_SLOWEST = 0.01


@dataclass(frozen=True)
class Reading:
    """Requests of one model by status, and cumulative counts of latencies by their upper bound in microseconds."""

    by_status: Counter[str] = field(default_factory=Counter)
    at_most: Counter[float] = field(default_factory=Counter)

    @property
    def requests(self) -> int:
        """All requests."""
        return self.by_status.total()

    @property
    def mistakes(self) -> int:
        """Requests that failed by the client's fault, which do not count against the model."""
        return sum(count for status, count in self.by_status.items() if status in _CLIENTS)

    @property
    def judged(self) -> int:
        """Requests without clients' mistakes."""
        return self.requests - self.mistakes

    @property
    def errors(self) -> int:
        """Failed requests without clients' mistakes."""
        return sum(count for status, count in self.by_status.items() if status not in _FINE | _CLIENTS)

    @property
    def error_ratio(self) -> float:
        """Share of errors in the judged requests."""
        return self.errors / self.judged if self.judged else 0.0

    @property
    def timed(self) -> int:
        """Number of latencies."""
        return self._counts[-1] if self._counts else 0

    @cached_property
    def bounds(self) -> list[float]:
        """Upper bounds of the histogram in microseconds, ascending."""
        return sorted(self.at_most)

    @cached_property
    def _counts(self) -> list[int]:
        return [self.at_most[bound] for bound in self.bounds]

    def since(self, before: Reading | None) -> Reading:
        """Requests since an earlier reading; all of them, if the server was restarted in between."""
        if before is None or not (before.by_status <= self.by_status and before.at_most <= self.at_most):
            return self
        at_most = Counter({bound: count - before.at_most[bound] for bound, count in self.at_most.items()})
        return Reading(self.by_status - before.by_status, at_most)

    def quantile(self, share: float) -> float:
        """The quantile of the latencies in milliseconds, interpolated as Prometheus does; NaN without any."""
        if not self.timed:
            return math.nan
        rank = share * self.timed
        lower, below, bound, count = self._bucket(bisect_left(self._counts, rank))
        if math.isinf(bound):
            return lower / 1000
        return (lower + (bound - lower) * (rank - below) / (count - below)) / 1000

    def slower(self, microseconds: float) -> float:
        """Share of latencies above a value, interpolated in the same way."""
        lower, below, bound, count = self._bucket(bisect_left(self.bounds, microseconds))
        if microseconds == bound:  # which may be infinite
            return 1 - count / self.timed
        return 1 - (below + (count - below) * (microseconds - lower) / (bound - lower)) / self.timed

    def _bucket(self, place: int) -> tuple[float, int, float, int]:
        """Lower bound and the count up to it; upper bound and the count up to it."""
        lower, below = (self.bounds[place - 1], self._counts[place - 1]) if place else (0.0, 0)
        upper, count = (self.bounds[place], self._counts[place]) if place < len(self.bounds) else (math.inf, below)
        return lower, below, upper, count


class Judgement(NamedTuple):
    """The verdict of a comparison, and the reasons."""

    verdict: Literal["passed", "failed", "inconclusive"]
    reasons: list[str]


def parse_metrics(text: str, model: str) -> Reading:
    """One server's counters of a model; zeros before its first request.

    Raises:
        ValueError: the text is not Prometheus's format, or a counter is not a number.
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
    """The sum of several pods' readings."""
    whole = Reading()
    for reading in readings:
        whole.by_status.update(reading.by_status)
        whole.at_most.update(reading.at_most)
    return whole


def enough(canary: Reading, stable: Reading, policy: RolloutPolicy) -> bool:
    """Whether both have answered enough requests to be compared."""
    return min(canary.requests, stable.requests) >= policy.min_requests


def compare(canary: Reading, stable: Reading, policy: RolloutPolicy) -> Judgement:
    """Judges the traffic of a window; the canary fails for its `faults`.

    While there are not enough requests, it fails only for errors that are beyond doubt; to be called repeatedly then.
    """
    if not enough(canary, stable, policy):
        if _errs_more(canary, stable, policy, _EARLY_LEVEL):
            return Judgement("failed", [_errors(canary, stable, policy)])
        counts = f"the canary answered {canary.requests:,} requests and stable {stable.requests:,}"
        return Judgement("inconclusive", [f"too little traffic: {counts}, at least {policy.min_requests:,} are needed"])
    if found := faults(canary, stable, policy):
        return Judgement("failed", found)
    if not _have_latencies(canary, stable):
        return Judgement("inconclusive", ["the servers report no latencies; did any request succeed?"])
    errors = _errors(canary, stable, policy) + _unseen_errors(canary, stable, policy)
    return Judgement("passed", [errors, _latency(canary, stable, policy) + _unseen_latency(canary, stable, policy)])


def faults(canary: Reading, stable: Reading, policy: RolloutPolicy) -> list[str]:
    """What the canary does worse than stable by more than the policy allows and by more than chance.

    Equal versions have faults in at most one of a thousand rollouts, whatever their errors and latencies are.
    """
    found = [_errors(canary, stable, policy)] if _errs_more(canary, stable, policy, _LEVEL) else []
    if _have_latencies(canary, stable) and (bound := _slower_at(canary, stable, policy)):
        share, allowed = canary.slower(bound), stable.slower(bound / policy.max_p99_ratio)
        found.append(
            f"{_latency(canary, stable, policy)}; {share:.1%} of the canary's answers took over {bound / 1000:.2f} ms, "
            f"and {allowed:.1%} of stable's would at {policy.max_p99_ratio:g} times the latency"
        )
    return found


def _errs_more(canary: Reading, stable: Reading, policy: RolloutPolicy, level: float) -> bool:
    by_chance = chance(canary.errors, canary.judged, stable.errors, stable.judged)
    return canary.error_ratio - stable.error_ratio > policy.max_error_increase and by_chance <= level


def _slower_at(canary: Reading, stable: Reading, policy: RolloutPolicy) -> float | None:
    """A bound between the canary's median and 99th percentile that too many of its latencies exceed.

    They are more than stable's, and more than stable's would be at `max_p99_ratio` times the latency: some percentile
    is that much higher. The bounds that the latencies of both reach share the level (Bonferroni).
    """
    bounds = [bound for bound in canary.bounds if 0 < canary.slower(bound) + stable.slower(bound) < 2]
    for bound in reversed(bounds):
        slow = round(canary.slower(bound) * canary.timed)
        usual, allowed = (round(stable.slower(one) * stable.timed) for one in (bound, bound / policy.max_p99_ratio))
        if (
            slow > _SLOWEST * canary.timed
            and chance(slow, canary.timed, allowed, stable.timed) <= _EXCESS_LEVEL / len(bounds)
            and chance(slow, canary.timed, usual, stable.timed) <= _LEVEL / len(bounds)
        ):
            return bound
        if slow >= canary.timed / 2:
            break
    return None


def _have_latencies(canary: Reading, stable: Reading) -> bool:
    return all((canary.timed, stable.timed, canary.judged, stable.judged))


def _errors(canary: Reading, stable: Reading, policy: RolloutPolicy) -> str:
    left_out = f" (without {canary.mistakes:,} and {stable.mistakes:,} that were the clients' mistakes)"
    return (
        f"share of errors {canary.error_ratio:.2%} of {canary.judged:,} requests, stable {stable.error_ratio:.2%} of "
        f"{stable.judged:,}{left_out if canary.mistakes or stable.mistakes else ''}; allowed is "
        f"{policy.max_error_increase:.2%} more"
    )


def _latency(canary: Reading, stable: Reading, policy: RolloutPolicy) -> str:
    slow, usual = canary.quantile(1 - _SLOWEST), stable.quantile(1 - _SLOWEST)
    return f"p99 {slow:.2f} ms, stable {usual:.2f} ms; allowed is {policy.max_p99_ratio:g} times as much"


def _unseen_errors(canary: Reading, stable: Reading, policy: RolloutPolicy) -> str:
    usual, ratio, allowed = stable.error_ratio, stable.judged / canary.judged, policy.max_error_increase

    def needed(rise: float) -> float:
        return answers_needed(usual + rise, usual, ratio, _LEVEL)

    least = smallest(needed, canary.judged, 1e-6, 1 - usual)
    text = f"; so few cannot show a rise of less than {100 * least:.3g}%"
    return text + (_would(f"{allowed:.2%}", needed(allowed), ratio) if allowed < least else "")


def _unseen_latency(canary: Reading, stable: Reading, policy: RolloutPolicy) -> str:
    ratio, allowed = stable.timed / canary.timed, policy.max_p99_ratio
    shares = [(bound, stable.slower(bound)) for bound in stable.bounds if stable.slower(bound) < 1]
    shares = shares[: sum(share > 0 for _, share in shares) + 1]  # bounds beyond show less
    level = _LEVEL / len(shares)

    def needed(times: float) -> float:
        return min(answers_needed(stable.slower(bound / times), share, ratio, level) for bound, share in shares)

    least = smallest(needed, canary.timed, 1.0, 100.0)
    text = f"; so few cannot show a uniform slowdown of less than {least:.4g} times"
    return text + (_would(f"{allowed:g} times", needed(allowed), ratio) if allowed < least else "")


def _would(allowed: str, needed: float, ratio: float) -> str:
    if math.isinf(needed):
        return ""
    return f": {allowed} takes {math.ceil(needed):,} of the canary and {math.ceil(needed * ratio):,} of stable"
